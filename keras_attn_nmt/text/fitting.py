"""Texts that are too long for a model: cropped, or in pieces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keras_attn_nmt.text.tokenizer import Tokenizer
    from keras_attn_nmt.text.words import Span

# Where a text may be cut, best first: after a sentence, after a clause, between words.
_CUTS = (
    re.compile(r"[.!?…。！？]['\"”’»)」』）]*\s*"),
    re.compile(r"[,;:，；：、]\s*"),
    re.compile(r"\s+"),
)
# No space is needed after these.
_WIDE = "。！？，；：、」』）"


def cropped(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of a token prefix, without an incomplete character at its end."""
    text = tokenizer.decode([ids])[0].rstrip("\ufffd")
    # The prefix alone may be segmented into more pieces than in its context.
    while len(tokenizer.encode([text])[0]) > len(ids):
        text = text[:-1]
    return text


def pieces_that_fit(tokenizer: Tokenizer, text: str, limit: int) -> list[Span]:
    """Start and end of consecutive pieces of a text, in characters, without white space around.

    A piece that does not fit is halved where a sentence ends near its middle, else a clause, else a
    word, else anywhere.

    Args:
        tokenizer: The model's tokeniser.
        text: A text of any length.
        limit: Maximum number of tokens of a piece, `</s>` included.
    """
    spans: list[Span] = []
    pending = [(0, len(text))]
    while pending:
        start, end = pending.pop()
        piece = text[start:end]
        start, end = start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
        if start >= end:
            continue
        piece = text[start:end]
        if len(tokenizer.encode([piece])[0]) < limit or len(piece) == 1:
            spans.append((start, end))
            continue
        cut = start + _cut(piece)
        pending += [(cut, end), (start, cut)]
    return spans


def _cut(text: str) -> int:
    """The best place to cut a text into two, inside its middle half."""
    middle = len(text) / 2
    for pattern in _CUTS:
        ends = [match.end() for match in pattern.finditer(text)]
        ends = [end for end in ends if len(text) / 4 <= end <= 3 * len(text) / 4]
        if ends := [end for end in ends if _is_between_words(text, end)]:
            return min(ends, key=lambda end: abs(end - middle))
    return max(1, int(middle))


def _is_between_words(text: str, place: int) -> bool:
    """Whether a mark or space before this place separates words: not in 3.5, 12,000 or URLs."""
    # With NumPy, which the parser of the command line need not import.
    from keras_attn_nmt.text.word_boundaries import is_unspaced

    last, following = text[place - 1], text[place]
    return last.isspace() or last in _WIDE or is_unspaced(following)
