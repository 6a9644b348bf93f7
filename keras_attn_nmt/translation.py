"""What a translation is, wherever it was made: by a model, by a server or on a device.

Needs nothing but NumPy.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_attn_nmt import alignment

# Tokens of a text, `</s>` included.
# Far more than what helps (5 to 12), and still a graph that runs.
MAX_EXPORTED_BEAM = 100
MAX_SOURCE_LENGTH = 1000
# Stands for the log-probability of what cannot happen; finite, as a product with 0 has to be 0.
IMPOSSIBLE = -1e9


@dataclasses.dataclass(frozen=True, eq=False)
class Translation:
    """One translation, and what the model looked at.

    Attributes:
        text: The translation.
        score: Log-probability divided by the length penalty, in nats.
        source_tokens: Pieces of the source, `</s>` last.
        target_tokens: Pieces of the translation, `</s>` last unless it was cut at its limit.
        token_scores: Log-probability of each target token, float32, `(len(target_tokens),)`.
        attention: Weight on each source token when each target token was written, float32,
            `(len(target_tokens), len(source_tokens))`; rows sum to 1, or are zeros where the model
            has no attention.
    """

    text: str
    score: float
    source_tokens: list[str]
    target_tokens: list[str]
    token_scores: np.ndarray
    attention: np.ndarray

    @property
    def complete(self) -> bool:
        """Whether the translation ended by itself, and was not cut at its limit."""
        return not self.source_tokens or self.target_tokens[-1:] == ["</s>"]

    def word_attention(self) -> np.ndarray:
        """Weight on each source word for each target word, `(target words, source words)`.

        See `keras_attn_nmt.alignment.fold_attention`; words are what stands between spaces.
        """
        return alignment.fold_attention(self.attention, self.source_tokens, self.target_tokens)

    def alignment(self) -> set[alignment.Link]:
        """For each target word the source word it looked at most, as pairs (source, target)."""
        return alignment.hard_alignment(self.word_attention())


class TextTooLong(ValueError):
    """A text has more tokens than can be translated.

    Attributes:
        index: Its place among the texts, from 0.
        reason: What is wrong with it, without its place.
    """

    def __init__(self, index: int, length: int, limit: int):
        self.index = index
        self.reason = f"has {length} tokens, the limit is {limit}: split it into sentences."
        super().__init__(f"Text {index + 1} {self.reason}")


def check_positive(name: str, value: Any) -> None:
    """Raises `ValueError` for what is no whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def check_beam(value: Any) -> None:
    """Raises `ValueError` for what is no beam that is exported."""
    check_positive("beam_size", value)
    if value > MAX_EXPORTED_BEAM:
        raise ValueError(
            f"beam_size must be at most {MAX_EXPORTED_BEAM} in what is exported, got {value}."
        )


def check_penalty(value: Any) -> None:
    """Raises `ValueError` for what is no exponent of the length penalty."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ValueError(f"length_penalty must be a number of at least 0, got {value!r}.")
