"""Places in a translation for what was taken out of its source, by attention.

A pair of tags encloses the target words that attend most to the words that it enclosed. Everything
else stands between the target words that attend most to its neighbours. Requires only NumPy.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_attn_nmt.text.words import Span, WordAttention

# A target word is inside of a pair of tags if more than this attention is.
INSIDE = 0.5
# Weight of all words before and after a place, relative to the words next to it.
_FAR = 0.05


class Mark(NamedTuple):
    """Protected text or a tag, at its place in the text for the model.

    Attributes:
        kind: `"single"`, `"open"` or `"close"` (of a pair of tags), or `"kept"`: the model's text
            has a form of it.
        raw: As it has to be in the translation.
        span: Start and end in the model's text, in characters; empty unless it is kept.
        form: Of kept text: what the model sees.
        sides: The characters before and after in the source, which decide about spaces.
    """

    kind: str
    raw: str
    span: Span
    form: str = ""
    sides: tuple[str, str] = ("", "")


@dataclasses.dataclass
class Item:
    """A single mark or a pair of tags, with its place.

    Attributes:
        order: Order in the source.
        mark: The mark, or the opening tag.
        source: Its source words, start and end; of a single mark, the place between two words.
        children: The items in a pair of tags; `None` for a single mark.
        closing: The closing tag.
        target: Its target words, start and end; filled in by `place`.
    """

    order: int
    mark: Mark
    source: Span
    children: list[Item] | None = None
    closing: str = ""
    target: Span = (0, 0)


def place(items: list[Item], attention: WordAttention, around: Span, within: Span) -> None:
    """Fills in the places of items and of their children.

    Pairs stay within the pair that they are in, and do not overlap. What finds no word of its own
    is empty.

    Args:
        items: The items; sorted by place afterwards.
        attention: Attention of the text.
        around: Source words of the pair that they are in, start and end.
        within: Target words of the pair that they are in, start and end.
    """
    pairs = [each for each in items if each.children is not None]
    ranked = []
    for each in pairs:
        window = _clipped(attention.reach(each.source), within)
        mass = attention.mass(each.source, window)
        ranked.append((-best_range(mass, window[0])[1], each.order, each, window, mass))
    free = [within]
    for _, _, each, window, mass in sorted(ranked, key=lambda known: known[:2]):
        if each.source[0] >= each.source[1]:
            each.target = _best_gap(each.source[0], attention, around, within, free)
        elif each.source == around and len(pairs) == 1:
            each.target = within
        else:
            each.target = _best_free(mass, window, free)
        _take(free, each.target)
        place(each.children or [], attention, each.source, each.target)
    for each in items:
        if each.children is None:
            each.target = _best_gap(each.source[0], attention, around, within, free)
    items.sort(key=lambda each: (*each.target, each.order))


def best_range(mass: np.ndarray, first: int) -> tuple[Span, float]:
    """The contiguous target words that are most inside, with their score.

    The range has the largest sum of `mass - INSIDE` (Kadane's algorithm), and at least one word
    where there is one.

    Args:
        mass: Attention of target words to the source words in question.
        first: The first of these target words.

    Returns:
        `((start, end), sum)`. Without target words, an empty range and minus infinity.
    """
    best, best_sum = (first, first), -np.inf
    start, total = first, 0.0
    for word, share in enumerate(mass.tolist(), first):
        if total <= 0:
            start, total = word, 0.0
        total += share - INSIDE
        if total > best_sum:
            best, best_sum = (start, word + 1), total
    return best, best_sum


def _best_free(mass: np.ndarray, window: Span, free: Sequence[Span]) -> Span:
    """The best range of the free words, or the free place that is nearest to the best word."""
    best, best_sum = window, -np.inf
    for span in _near(free, window):
        start, end = _clipped(span, window)
        found, score = best_range(mass[start - window[0] : end - window[0]], start)
        if score > best_sum:
            best, best_sum = found, score
    if best_sum > -np.inf:
        return best
    return _nearest(free, window, window[0] + (int(mass.argmax()) if len(mass) else 0))


def _best_gap(
    source: int, attention: WordAttention, around: Span, within: Span, free: Sequence[Span]
) -> Span:
    """The place between target words that fits a place between source words best."""
    neighbours = max(around[0], source - 1), min(around[1], source + 1)
    start, end = _clipped(attention.reach(neighbours), within)
    start = within[0] if source <= around[0] else start
    end = within[1] if source >= around[1] else end
    window = start, end
    before, after = np.zeros(end - start + 1), np.zeros(end - start + 1)
    if source > around[0]:
        before[1:] = attention.mass((source - 1, source), window)
    else:
        before[0] = 1
    if source < around[1]:
        after[:-1] = attention.mass((source, source + 1), window)
    else:
        after[-1] = 1
    # Attention of the words before to source words before, and of those after to those after.
    left = attention.mass((around[0], source), window).cumsum()
    right = attention.mass((source, around[1]), window)[::-1].cumsum()[::-1]
    score = before + after + _FAR * (np.append(0.0, left) + np.append(right, 0.0))
    allowed = np.zeros(len(score), bool)
    for span in [*_near(free, window), *((place, place) for place in within)]:
        low, high = max(span[0], start), min(span[1], end)
        allowed[low - start : max(low, high + 1) - start] = True
    gap = start + int(np.where(allowed, score, -np.inf).argmax())
    return (gap, gap) if allowed.any() else _nearest(free, window, start)


def _clipped(span: Span, within: Span) -> Span:
    start = min(max(span[0], within[0]), within[1])
    return start, max(start, min(span[1], within[1]))


def _near(free: Sequence[Span], window: Span) -> Sequence[Span]:
    """The free spans that touch a window, and one more on each side."""
    start = bisect.bisect_left(free, window[0], key=lambda span: span[1])
    end = bisect.bisect_right(free, window[1], key=lambda span: span[0])
    return free[max(0, start - 1) : end + 1]


def _nearest(free: Sequence[Span], window: Span, word: int) -> Span:
    """The free place that is nearest to a word, as an empty span; rather after it than before."""
    places = (place for span in _near(free, window) for place in span)
    place = min(places, key=lambda place: (abs(place - word - 0.5), -place))
    return place, place


def _take(free: list[Span], taken: Span) -> None:
    """Removes words from the span that they are in; an end of them stays a place, if an empty one.

    Args:
        free: Free spans in order, changed.
        taken: Words, start and end.
    """
    if taken[0] == taken[1]:
        return
    index = bisect.bisect_right(free, taken[0], key=lambda span: span[0]) - 1
    start, end = free[index]
    free[index : index + 1] = [(start, taken[0]), (taken[1], end)]
