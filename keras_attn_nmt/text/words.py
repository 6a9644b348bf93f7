"""Words and punctuation marks of a text with their attention, for text in any script.

In `alignment` and `links_of_texts`, words are separated by spaces. Elsewhere here, punctuation
marks are words of their own, and scripts without spaces are divided at the pieces of the
vocabulary. Requires only NumPy.
"""

from __future__ import annotations

import bisect
import codecs
import difflib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from keras_attn_nmt.text.alignment import END, SPACE, Link, word_of_tokens
from keras_attn_nmt.text.pieces import BYTE_PIECE
from keras_attn_nmt.text.word_boundaries import JOINERS, is_spaceless, is_word_character

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

Span = tuple[int, int]

# Between two word characters, these continue the word: don't, forty-one.
_JOINING = "'’-\u00ad"
# Between two letters, these continue the word: Armenian marks of emphasis and question, Hebrew
# geresh and gershayim, the Catalan middle dot.
_IN_LETTERS = "՚՛՜՝՞՟׳״·"
# Between two digits, these continue the number: 3.50, 9:30, 1/2.
_IN_NUMBERS = ".,:/"
# Characters.
_LONG = 2000


class Block(NamedTuple):
    """The attention of one sentence, a block of the attention of the whole text.

    Attributes:
        targets: Its target words, start and end.
        sources: Its source words, start and end.
        sums: Cumulative attention, float64, `(target words, source words + 1)`.
    """

    targets: Span
    sources: Span
    sums: np.ndarray


class WordAttention:
    """Attention between the words of a text of one or more sentences.

    Each target word attends only to the source words of its own sentence, so that memory grows
    with the length of the text, not with its square.

    Args:
        blocks: The sentences, in order.
    """

    def __init__(self, blocks: Sequence[Block]):
        self._blocks = blocks

    def reach(self, sources: Span) -> Span:
        """The target words of the sentences that source words are in, start and end."""
        blocks = self._overlapping(sources, 1)
        return (blocks[0].targets[0], blocks[-1].targets[1]) if blocks else (0, 0)

    def mass(self, sources: Span, targets: Span) -> np.ndarray:
        """Attention of each target word to all of some source words, float64.

        Args:
            sources: Source words, start and end.
            targets: Target words, start and end.
        """
        result = np.zeros(max(0, targets[1] - targets[0]))
        for (first, last), (low, high), sums in self._overlapping(targets, 0):
            left, right = (min(max(place, low), high) - low for place in sources)
            start, end = max(first, targets[0]), min(last, targets[1])
            if left < right and start < end:
                rows = sums[start - first : end - first]
                result[start - targets[0] : end - targets[0]] = rows[:, right] - rows[:, left]
        return result

    def _overlapping(self, words: Span, side: int) -> Sequence[Block]:
        """The sentences of target (0) or source (1) words."""
        start = bisect.bisect_right(self._blocks, words[0], key=lambda block: block[side][1])
        end = bisect.bisect_left(self._blocks, words[1], key=lambda block: block[side][0])
        return self._blocks[start:end] if words[0] < words[1] else ()


class WordFinder:
    """Index of the words of a text: to find the occurrences of a string, no scan of the text.

    Args:
        text: The text.
        words: Its words.
    """

    def __init__(self, text: str, words: Sequence[Span]):
        self._text, self._words = text, words
        self._ends = {end: index + 1 for index, (_, end) in enumerate(words)}
        self._places: dict[str, list[int]] = {}
        for index, (start, end) in enumerate(words):
            self._places.setdefault(text[start:end], []).append(index)

    def occurrences(self, form: str) -> list[Span]:
        """The words that spell a string, as starts and ends, in order and without overlaps."""
        found: list[Span] = []
        # The first word is the whole form or its beginning.
        begun = (self._places.get(form[:length], ()) for length in range(1, len(form) + 1))
        for first in sorted(itertools.chain.from_iterable(begun)):
            start = self._words[first][0]
            last = self._ends.get(start + len(form), 0)
            if (not found or first >= found[-1][1]) and last and self._text.startswith(form, start):
                found.append((first, last))
        return found


def is_word(text: str) -> bool:
    """Whether a text has a letter or a digit."""
    return any(unicodedata.category(character)[0] in "LN" for character in text)


def word_spans(text: str, boundaries: Iterable[int] = ()) -> list[Span]:
    """Start and end of each word and punctuation mark, in characters.

    Args:
        text: The text.
        boundaries: Piece boundaries, at which words in scripts without spaces are divided.

    Example:
        >>> text = "Don't pay 3.50 (yet)..."
        >>> [text[start:end] for start, end in word_spans(text)]
        ["Don't", 'pay', '3.50', '(', 'yet', ')', '...']
    """
    known = set(boundaries)
    spans: list[Span] = []
    start = 0
    for place in range(1, len(text) + 1):
        if place < len(text) and _continues(text, place, place in known):
            continue
        if not text[start].isspace():
            spans.append((start, place))
        start = place
    return spans


def _continues(text: str, place: int, boundary: bool) -> bool:
    """Whether the character at `place` belongs to the word of the character before."""
    before, here = text[place - 1], text[place]
    if before.isspace() or here.isspace():
        return before.isspace() == here.isspace()
    if here in JOINERS or before in JOINERS or unicodedata.category(here)[0] == "M":
        return True
    if _in_word(before) and _in_word(here):
        divided = boundary and (is_spaceless(before) or is_spaceless(here))
        return not divided or (before.isdecimal() and here.isdecimal())
    if _in_word(here) and place > 1 and _joins(text[place - 2], before, here):
        return True
    if _in_word(before) and place + 1 < len(text) and _joins(before, here, text[place + 1]):
        return True
    return before == here and not _in_word(here)


def _in_word(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNM"


def _joins(before: str, mark: str, after: str) -> bool:
    if mark in _IN_NUMBERS:
        return before.isdecimal() and after.isdecimal()
    if mark in _IN_LETTERS:
        return all(is_word_character(each) and not each.isdecimal() for each in (before, after))
    return mark in _JOINING and _in_word(before) and _in_word(after)


def piece_spans(pieces: Sequence[str], text: str) -> list[Span]:
    """Start and end of each piece in a text, in characters; empty for `</s>`.

    Args:
        pieces: The pieces of the text. Normalization may have changed some characters.
        text: The text.

    Example:
        >>> piece_spans(["▁ein", "und", "vierzig", "▁Jahre", "</s>"], "einundvierzig Jahre")
        [(0, 3), (3, 6), (6, 13), (13, 19), (19, 19)]
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    texts = []
    for piece in pieces:
        byte = BYTE_PIECE.fullmatch(piece)
        content = bytes.fromhex(byte[1]) if byte else b"" if piece == END else piece.encode()
        texts.append(decoder.decode(content).replace(SPACE, " "))
    spelled = "".join(texts)
    # SentencePiece puts a space before the first word.
    added = spelled[:1] == " " and not (text[:1] == " " and spelled[:2] != "  ")
    ends = [max(0, end - added) for end in itertools.accumulate(map(len, texts))]
    places = _mapped(spelled[added:], text)
    ends = [places[min(end, len(places) - 1)] for end in ends]
    return list(zip([0, *ends], ends, strict=False))


def links_of_texts(found: Translation, source: str, target: str) -> set[Link]:
    """The word alignment of a translation, with the words of its texts, divided at spaces.

    The words of `Translation.alignment` are those of the tokens: normalization may have divided or
    joined some, as at no-break spaces.

    Args:
        found: The translation.
        source: Its source text.
        target: Its text, without protected text.
    """
    sides = (source, found.source_tokens), (target, found.target_tokens)
    sources, targets = (_words_in_text(*side) for side in sides)
    return {(sources[i], targets[j]) for i, j in found.alignment()}


def _words_in_text(text: str, tokens: Sequence[str]) -> Sequence[int]:
    """The word of a text, divided at spaces, that each word of its tokens begins in."""
    words = word_of_tokens(tokens)
    starts = [match.start() for match in re.finditer(f"[^ {SPACE}]+", text)]
    if len(starts) == max(words, default=-1) + 1:
        return range(len(starts))
    places: dict[int, int] = {}
    for word, (start, end) in zip(words, piece_spans(tokens, text), strict=True):
        part = text[start:end]
        first = start + len(part) - len(part.lstrip(f" {SPACE}"))
        place = max(0, bisect.bisect_right(starts, first) - 1)
        # That of the first piece which is in the text.
        if word not in places or (first < end and places[word] < 0):
            places[word] = place if first < end else ~place
    return [max(place, ~place) for word, place in sorted(places.items()) if word >= 0]


def _mapped(known: str, text: str) -> Sequence[int]:
    """The place in `text` of each place in `known`, which differs little from it."""
    if known == text:
        return range(len(text) + 1)
    shorter = min(len(known), len(text))
    same = (place for place in range(shorter) if known[place] != text[place])
    first = next(same, shorter)
    changes = [(first, len(known), first, len(text))]
    # Its time grows with the square of the length, if not worse.
    if len(known) - first < _LONG:
        matcher = difflib.SequenceMatcher(None, known[first:], text[first:], autojunk=False)
        changes = [
            (a + first, b + first, c + first, d + first) for _, a, b, c, d in matcher.get_opcodes()
        ]
    places = [*range(first), *[len(text)] * (len(known) - first + 1)]
    for start, end, low, high in changes:
        for place in range(start, end):
            places[place] = low + (place - start) * (high - low) // (end - start)
    return places


def word_block(
    attention: npt.ArrayLike,
    pieces: tuple[Sequence[Span], Sequence[Span]],
    words: tuple[Sequence[Span], Sequence[Span]],
    offsets: Span,
) -> Block:
    """Converts the attention of a sentence between pieces to attention between words.

    Weights are summed over the pieces of a source word, by characters where a piece belongs to
    several words, and taken from the first piece of a target word, which decides what word it is (a
    space that is a piece by itself decides nothing). Then they are normalized over the target words
    and again over the source words: attention to words that many target words attend to says less.

    Args:
        attention: `(target pieces, source pieces)`.
        pieces: Spans of the target and of the source pieces.
        words: Spans of the target and of the source words.
        offsets: Number of target and source words before this sentence.
    """
    weights = np.asarray(attention, "float64")
    target, source = (_overlaps(*each) for each in zip(pieces, words, strict=True))
    if target.size and source.size:
        weights = weights[(target > 0).argmax(axis=1)] @ _shares(source, pieces[1], words[1]).T
    else:
        weights = np.zeros((len(target), len(source)))
    for axis in (0, 1):
        weights = weights / np.maximum(weights.sum(axis=axis, keepdims=True), 1e-9)
    sums = np.concatenate([np.zeros((len(weights), 1)), weights.cumsum(axis=1)], axis=1)
    ends = tuple(offset + len(each) for offset, each in zip(offsets, words, strict=True))
    return Block((offsets[0], ends[0]), (offsets[1], ends[1]), sums)


def _overlaps(pieces: Sequence[Span], words: Sequence[Span]) -> np.ndarray:
    """The number of characters of each piece in each word, float64, `(words, pieces)`."""
    overlaps = np.zeros((len(words), len(pieces)))
    word = 0
    for column, (start, end) in enumerate(pieces):
        while word < len(words) and words[word][1] <= start:
            word += 1
        row = word
        while row < len(words) and words[row][0] < end:
            overlaps[row, column] = min(end, words[row][1]) - max(start, words[row][0])
            row += 1
    return overlaps


def _shares(overlaps: np.ndarray, pieces: Sequence[Span], words: Sequence[Span]) -> np.ndarray:
    """The share of each piece in each word; a piece between two words belongs to the second."""
    shares = overlaps / np.maximum(overlaps.sum(axis=0), 1)
    for column in np.flatnonzero(overlaps.sum(axis=0) == 0).tolist():
        start, end = pieces[column]
        word = bisect.bisect_right(words, start, key=lambda each: each[1])
        if word < len(words) and start < end:
            shares[word, column] = 1
    return shares
