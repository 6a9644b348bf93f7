"""`Translation`, the result type shared by `Translator`, server client and device runner.

Requires only NumPy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from keras_attn_nmt.pages.attention_page import attention_page, notebook_frame
from keras_attn_nmt.text import alignment
from keras_attn_nmt.text.alignment import Link
from keras_attn_nmt.text.pieces import BYTE_PIECE, pieces_of_words, spelled

# The piece of unknown characters or words.
UNKNOWN = "<unk>"
_DIGIT = re.compile("[0-9]")
# In tokens, `</s>` included.
MAX_SOURCE_LENGTH = 1000
# Log-probability of an impossible event; finite, so that its product with 0 is 0.
IMPOSSIBLE = -1e9


@dataclasses.dataclass(frozen=True, eq=False)
class Translation:
    """A translation with scores and attention.

    Attributes:
        text: The translation.
        score: Log-probability divided by the length penalty, in nats, plus the coverage penalty if
            there is one.
        source_tokens: Pieces of the source, `</s>` last.
        target_tokens: Pieces of the translation, `</s>` last unless it reached the maximum length.
        token_scores: Log-probability of each target token, float32, `(len(target_tokens),)`.
        attention: Attention weights, float32, `(len(target_tokens), len(source_tokens))`. Rows sum
            to 1, or are zeros for a model without attention or exported without it.
    """

    text: str
    score: float
    source_tokens: list[str]
    target_tokens: list[str]
    token_scores: np.ndarray
    attention: np.ndarray

    def __post_init__(self) -> None:
        # Copy views, which would keep the padded arrays of a whole batch in memory.
        for name in ("token_scores", "attention"):
            array = np.asarray(getattr(self, name), "float32")
            object.__setattr__(self, name, array if array.base is None else array.copy())

    @property
    def complete(self) -> bool:
        """Whether the translation ends in `</s>`, i.e. was not cut at the maximum length."""
        return not self.source_tokens or self.target_tokens[-1:] == [alignment.END]

    @property
    def log_probability(self) -> float:
        """Log-probability of the translation in nats, without length penalty."""
        # Adding 0.0 removes the sign of a negative zero.
        return float(self.token_scores.sum(dtype="float64")) + 0.0

    def word_attention(self) -> np.ndarray:
        """Attention between space-separated words, `(target words, source words)`.

        See `keras_attn_nmt.text.alignment.fold_attention`.
        """
        return alignment.fold_attention(self.attention, self.source_tokens, self.target_tokens)

    def alignment(self) -> set[Link]:
        """Word alignment: each target word with its most attended source word, (source, target)."""
        return alignment.hard_alignment(self.word_attention())

    def token_alignment(self) -> set[Link]:
        """Links each target token to its most attended source token, (source, target).

        Indices are those of `source_tokens` and `target_tokens`; both ends (`</s>`) are left out.
        With vocabularies of characters and words, letters are linked to phones.
        """
        sources, targets = (
            len(tokens) - (tokens[-1:] == [alignment.END])
            for tokens in (self.source_tokens, self.target_tokens)
        )
        return alignment.hard_alignment(self.attention[:targets, :sources])

    def to_html(
        self,
        source: str | None = None,
        *,
        title: str = "Attention",
        source_language: str = "",
        target_language: str = "",
    ) -> str:
        """An HTML page that shows words, scores and attention, in one file and without a network.

        Args:
            source: The source text. By default it is spelled from its tokens.
            title: Title of the page.
            source_language: Language code of the source, such as `"de"`.
            target_language: Language code of the translation.
        """
        return attention_page(
            [self],
            [spelled(self.source_tokens) if source is None else source],
            title=title,
            source_language=source_language,
            target_language=target_language,
        )

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks."""
        return notebook_frame(self.to_html(), len(pieces_of_words(self.target_tokens)))

    def copying(self, source: str) -> Translation:
        """Copies rare words and digits from the aligned source words.

        A target word is replaced by its aligned source word if it contains an unknown piece, or if
        both consist of byte pieces, such as names in an unknown script (Luong et al. 2015,
        "Addressing the Rare Word Problem", section 3.3). In numbers, digits are replaced by those
        of the source word if both have equally many. Words are separated by spaces; text in a
        language without spaces must be segmented before translation.

        Args:
            source: The source text.

        References:
            [Luong et al. 2015](https://arxiv.org/abs/1410.8206)
        """
        sources, targets = pieces_of_words(self.source_tokens), pieces_of_words(self.target_tokens)
        texts = alignment.split_words(source)
        if len(texts) != len(sources):
            # Fallback for vocabularies whose normalization changes word boundaries.
            texts = [spelled(word) for word in sources]
        copied = {}
        for i, j in self.alignment():
            in_bytes = any(map(BYTE_PIECE.fullmatch, sources[i])) and any(
                map(BYTE_PIECE.fullmatch, targets[j])
            )
            text = spelled(targets[j])
            copy = texts[i] if UNKNOWN in targets[j] or in_bytes else _with_digits(text, texts[i])
            if copy != text:
                copied[j] = copy
        if not copied:
            return self
        words = alignment.word_of_tokens(self.target_tokens)
        pieces = []
        for index, (word, token) in enumerate(zip(words, self.target_tokens, strict=True)):
            if word not in copied:
                pieces.append(token)
            elif index == 0 or words[index - 1] != word:
                pieces.append(alignment.SPACE + copied[word])
        return dataclasses.replace(self, text=spelled(pieces))


def copying_rare(
    texts: Sequence[str], found: Sequence[Sequence[Translation]]
) -> list[list[Translation]]:
    """`Translation.copying` for all hypotheses of all texts."""
    return [
        [each.copying(text) for each in hypotheses]
        for text, hypotheses in zip(texts, found, strict=True)
    ]


def _with_digits(word: str, source: str) -> str:
    """Replaces the digits of a word by those of another with equally many."""
    digits = _DIGIT.findall(source)
    if len(digits) != len(_DIGIT.findall(word)):
        return word
    return _DIGIT.sub(lambda match: digits.pop(0), word)


class TextTooLong(ValueError):
    """A text exceeds the maximum number of tokens.

    Attributes:
        index: 0-based index of the text.
        length: Its number of tokens.
        limit: The maximum.
        kind: `"text"` or `"reference"`.
        reason: The error message without the index.
    """

    def __init__(self, index: int, length: int, limit: int, kind: str = "text"):
        self.index = index
        self.length = length
        self.limit = limit
        self.kind = kind
        self.reason = f"has {length} tokens, the limit is {limit}: split it into sentences."
        # Pickling creates it again from its arguments, in the parent of a worker process.
        super().__init__(index, length, limit, kind)

    def __str__(self) -> str:
        return f"{self.kind.capitalize()} {self.index + 1} {self.reason}"


def check_lengths(ids: list[list[int]], kind: str) -> list[list[int]]:
    """Returns the ids; raises `TextTooLong` for the first text that has too many."""
    for index, each in enumerate(ids):
        if len(each) > MAX_SOURCE_LENGTH:
            raise TextTooLong(index, len(each), MAX_SOURCE_LENGTH, kind)
    return ids
