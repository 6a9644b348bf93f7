"""What a translation is, wherever it was made: by a model, by a server or on a device.

Needs nothing but NumPy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from keras_attn_nmt.text import alignment

# The piece of what is not in a vocabulary, by itself or as a word.
UNKNOWN = "<unk>"
# A whole piece that stands for one byte; the same characters in other pieces are text.
_BYTE = re.compile("<0x([0-9A-F]{2})>")
_DIGIT = re.compile("[0-9]")
# Tokens of a text, `</s>` included.
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

    def __post_init__(self) -> None:
        # Of its own size: a view would keep the padded arrays of a whole batch.
        for name in ("token_scores", "attention"):
            array = np.asarray(getattr(self, name), "float32")
            object.__setattr__(self, name, array if array.base is None else array.copy())

    @property
    def complete(self) -> bool:
        """Whether the translation ended by itself, and was not cut at its limit."""
        return not self.source_tokens or self.target_tokens[-1:] == [alignment.END]

    def word_attention(self) -> np.ndarray:
        """Weight on each source word for each target word, `(target words, source words)`.

        See `keras_attn_nmt.text.alignment.fold_attention`; words are what stands between spaces.
        """
        return alignment.fold_attention(self.attention, self.source_tokens, self.target_tokens)

    def alignment(self) -> set[alignment.Link]:
        """For each target word the source word it looked at most, as pairs (source, target)."""
        return alignment.hard_alignment(self.word_attention())

    def copying(self, source: str) -> Translation:
        """The translation with what is rare in it copied from the source word it is aligned to.

        A target word becomes its source word where an unknown piece is in it, or where both are
        spelled in bytes, as names in an unknown script (Luong et al. 2015, "Addressing the Rare
        Word Problem", section 3.3). Numbers take the digits of their source word, one by one, where
        both have as many. All other words stay. Words are what stands between spaces: a text in a
        language without any is one word, and has to be split before it is translated.

        Args:
            source: The text that was translated.

        References:
            [Luong et al. 2015](https://arxiv.org/abs/1410.8206)
        """
        sources, targets = _words(self.source_tokens), _words(self.target_tokens)
        texts = alignment.split_words(source)
        if len(texts) != len(sources):
            # A vocabulary that changes texts (`Tokenizer.load` takes any) has other words.
            texts = [_spelled(word) for word in sources]
        copied = {}
        for i, j in self.alignment():
            in_bytes = any(map(_BYTE.fullmatch, sources[i])) and any(
                map(_BYTE.fullmatch, targets[j])
            )
            text = _spelled(targets[j])
            copy = texts[i] if UNKNOWN in targets[j] or in_bytes else _with_digits(text, texts[i])
            if copy != text:
                copied[j] = copy
        if not copied:
            return self
        words = alignment.word_of_tokens(self.target_tokens)
        pieces = []
        for index, (word, token) in enumerate(zip(words, self.target_tokens, strict=True)):
            if word not in copied:
                pieces.append("" if token == alignment.END else token)
            elif index == 0 or words[index - 1] != word:
                pieces.append(alignment.SPACE + copied[word])
        return dataclasses.replace(self, text=_spelled(pieces))


def copying_rare(
    texts: Sequence[str], found: Sequence[Sequence[Translation]]
) -> list[list[Translation]]:
    """`Translation.copying` for all hypotheses of all texts."""
    return [
        [each.copying(text) for each in hypotheses]
        for text, hypotheses in zip(texts, found, strict=True)
    ]


def _words(tokens: list[str]) -> list[list[str]]:
    """The pieces of each word."""
    words = alignment.word_of_tokens(tokens)
    pieces: list[list[str]] = [[] for _ in range(max(words, default=-1) + 1)]
    for word, token in zip(words, tokens, strict=True):
        if word >= 0:
            pieces[word].append(token)
    return pieces


def _spelled(pieces: list[str]) -> str:
    """The text of SentencePiece pieces that stand one after another."""
    content = b""
    for piece in pieces:
        byte = _BYTE.fullmatch(piece)
        content += bytes.fromhex(byte[1]) if byte else piece.encode()
    text = content.decode(errors="replace")
    return text.replace(alignment.SPACE, " ").removeprefix(" ")


def _with_digits(word: str, source: str) -> str:
    """A word with the digits of another one, if that has as many."""
    digits = _DIGIT.findall(source)
    if len(digits) != len(_DIGIT.findall(word)):
        return word
    return _DIGIT.sub(lambda match: digits.pop(0), word)


class TextTooLong(ValueError):
    """A text has more tokens than can be translated.

    Attributes:
        index: Its place among the texts, from 0.
        kind: `"text"` or `"reference"`.
        reason: What is wrong with it, without its place.
    """

    def __init__(self, index: int, length: int, limit: int, kind: str = "text"):
        self.index = index
        self.kind = kind
        self.reason = f"has {length} tokens, the limit is {limit}: split it into sentences."
        super().__init__(f"{kind.capitalize()} {index + 1} {self.reason}")
