"""Texts to batches of ids, and the hypotheses of a search to translations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from keras_attn_nmt.decoding.batches import batches, pad, to_numpy
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.special_ids import EOS
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import IMPOSSIBLE, Translation, check_lengths, copying_rare

# From padded ids, int32, `(batch, source_length)`, and the indices of their texts.
Search = Callable[[np.ndarray, Sequence[int]], Hypotheses]


class TokenizerPair(NamedTuple):
    """The tokenisers of both languages."""

    source: Tokenizer
    target: Tokenizer

    def searched(
        self,
        texts: Sequence[str],
        search: Search,
        batch_size: int,
        copy: bool,
        kinds: Sequence[bool] | None = None,
    ) -> list[list[Translation]]:
        """The translations of texts that a search finds.

        Args:
            texts: Sentences.
            search: Of padded ids and the indices of their texts.
            batch_size: Sentences per batch.
            copy: Copy rare words, see `Translation.copying`.
            kinds: Kind of each text; the texts of a batch are of one kind.
        """
        texts = texts if isinstance(texts, (str, bytes)) else list(texts)
        ids = self.source_ids(texts)
        results: list[list[Translation]] = [[] for _ in ids]
        for batch in batches(ids, batch_size, kinds):
            found = to_numpy(search(pad([ids[i] for i in batch], batch_size), batch))
            for row, i in enumerate(batch):
                results[i] = self.translations(ids[i], found, row)
        return copying_rare(texts, results) if copy else results

    def source_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of source texts, `EOS` last; raises `TextTooLong`."""
        # A blank text is all padding, which the search leaves empty.
        texts = texts if isinstance(texts, (str, bytes)) else list(texts)
        ids = _ids(self.source, texts, "text")
        ids = [[] if is_blank(text) else each for each, text in zip(ids, texts, strict=True)]
        return check_lengths(ids, "text")

    def target_ids(self, references: Sequence[str]) -> list[list[int]]:
        """The ids of references, `EOS` last."""
        return _ids(self.target, references, "reference")

    def translations(self, source: list[int], found: Hypotheses, row: int) -> list[Translation]:
        """The hypotheses of a row as translations; unfilled positions of the beam are left out.

        Args:
            source: Ids of the source text.
            found: Hypotheses as arrays.
            row: Index of the text in its batch.

        Raises:
            ValueError: There is none, as the model's logits are NaN or far too large.
        """
        results = []
        source_tokens = self.source.pieces(source)
        for beam, score in enumerate(found.scores[row]):
            if not score > IMPOSSIBLE / 1000:  # Nor NaN.
                continue
            length = int(found.lengths[row, beam])
            tokens = found.tokens[row, beam, :length].tolist()
            results.append(
                Translation(
                    text=self.target.decode([tokens])[0],
                    score=float(score),
                    source_tokens=source_tokens,
                    target_tokens=self.target.pieces(tokens),
                    token_scores=found.token_scores[row, beam, :length],
                    attention=found.attention[row, beam, :length, : len(source)],
                )
            )
        if not results:
            raise ValueError(
                "No translation has a probability: the logits of the model are NaN or far too "
                "large. Its weights are damaged, or diverged in training: restore or train them "
                "again."
            )
        return results


def _ids(tokenizer: Tokenizer, texts: Sequence[str], kind: str) -> list[list[int]]:
    if isinstance(texts, (str, bytes)):
        raise ValueError(f"Expected a list of strings, got one string: wrap the {kind} in a list.")
    return [[*each, EOS] for each in tokenizer.encode(texts)]
