"""Places in a translation for what was taken out of its source, by attention.

A pair of tags encloses the target words that attend most to the words that it enclosed. Everything
else stands between the target words that attend most to its neighbours. Requires only NumPy.
"""

from __future__ import annotations

import dataclasses
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
    masses = {each.order: attention.mass(*each.source) for each in pairs}
    scores = {order: best_range(mass, within)[1] for order, mass in masses.items()}
    free = [within]
    for each in sorted(pairs, key=lambda each: (-scores[each.order], each.order)):
        if each.source[0] >= each.source[1]:
            each.target = _best_gap(each.source[0], attention, around, within, free)
        elif each.source == around and len(pairs) == 1:
            each.target = within
        else:
            each.target = _best_free(masses[each.order], free)
        free = _without(free, each.target)
        place(each.children or [], attention, each.source, each.target)
    for each in items:
        if each.children is None:
            each.target = _best_gap(each.source[0], attention, around, within, free)
    items.sort(key=lambda each: (*each.target, each.order))


def best_range(mass: np.ndarray, within: Span) -> tuple[Span, float]:
    """The contiguous target words that are most inside, with their score.

    The range has the largest sum of `mass - INSIDE` (Kadane's algorithm), and at least one word
    where there is one.

    Args:
        mass: Attention of each target word to the source words in question.
        within: Target words that are available, start and end.

    Returns:
        `((start, end), sum)`. Without target words, an empty range and minus infinity.
    """
    best, best_sum = (within[0], within[0]), -np.inf
    start, total = within[0], 0.0
    for word in range(*within):
        if total <= 0:
            start, total = word, 0.0
        total += float(mass[word]) - INSIDE
        if total > best_sum:
            best, best_sum = (start, word + 1), total
    return best, best_sum


def _best_free(mass: np.ndarray, free: list[Span]) -> Span:
    """The best range of the free words, or the free place that is nearest to the best word."""
    found, score = max((best_range(mass, span) for span in free), key=lambda known: known[1])
    if score > -np.inf or not len(mass):
        return found
    word = int(mass.argmax())
    places = (place for span in free for place in span)
    place = min(places, key=lambda place: (abs(place - word - 0.5), -place))
    return place, place


def _best_gap(
    source: int, attention: WordAttention, around: Span, within: Span, free: list[Span]
) -> Span:
    """The place between target words that fits a place between source words best."""
    start, end = within
    here = slice(start, end)
    before, after = np.zeros(end - start + 1), np.zeros(end - start + 1)
    if source > around[0]:
        before[1:] = attention.mass(source - 1, source)[here]
    else:
        before[0] = 1
    if source < around[1]:
        after[:-1] = attention.mass(source, source + 1)[here]
    else:
        after[-1] = 1
    # Attention of the words before to source words before, and of those after to those after.
    left = attention.mass(around[0], source)[here].cumsum()
    right = attention.mass(source, around[1])[here][::-1].cumsum()[::-1]
    score = before + after + _FAR * (np.append(0.0, left) + np.append(right, 0.0))
    allowed = np.zeros(len(score), bool)
    for low, high in free:
        allowed[low - start : high - start + 1] = True
    gap = start + int(np.where(allowed, score, -np.inf).argmax())
    return gap, gap


def _without(free: list[Span], taken: Span) -> list[Span]:
    """What is left of spans; an end of the taken one stays a place, if an empty one."""
    result = []
    for low, high in free:
        if taken[1] < low or high < taken[0] or taken[0] == taken[1]:
            result.append((low, high))
            continue
        result += [(low, max(low, taken[0])), (min(high, taken[1]), high)]
    return result
