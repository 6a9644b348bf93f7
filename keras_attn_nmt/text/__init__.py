"""Text processing: line reading, normalization, tokenization and word alignment."""
