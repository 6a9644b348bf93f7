"""Special ids, shared by all vocabularies."""

PAD, BOS, EOS, UNK = 0, 1, 2, 3
