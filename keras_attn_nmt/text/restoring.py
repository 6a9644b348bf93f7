"""Writes a translation with everything that was protected in its source."""

from __future__ import annotations

import bisect
import operator
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from keras_attn_nmt.text.markup import escape
from keras_attn_nmt.text.numbers import holds, is_of_number, numbers_in, with_numbers
from keras_attn_nmt.text.placement import INSIDE, Item, Mark, place
from keras_attn_nmt.text.punctuation import CLOSING, OPENING, WIDE_CLOSING
from keras_attn_nmt.text.word_boundaries import is_spaceless, needs_space
from keras_attn_nmt.text.words import (
    Block,
    Span,
    WordAttention,
    WordFinder,
    is_word,
    piece_spans,
    word_block,
    word_spans,
)

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation


class _Text(NamedTuple):
    """A source and its translation, divided into words, with their attention."""

    source: str
    source_words: list[Span]
    target: str
    target_words: list[Span]
    attention: WordAttention


def restored_text(
    source: str,
    marks: Sequence[Mark],
    sentences: Sequence[tuple[Span, Translation]],
    markup: bool = False,
) -> str:
    """The text of a translation with marks.

    Args:
        source: The text for the model.
        marks: The marks, in order.
        sentences: Start and end of each sentence in `source`, and its translation.
        markup: Escape the text between tags.

    Raises:
        ValueError: There are marks, but the model has no attention.
    """
    if not marks:
        text = joined_sentences(source, sentences)
        return escape(text) if markup else text
    merged: list[Span] = []
    while True:
        known = _divided(source, sentences, merged)
        kept = [mark for mark in marks if mark.kind == "kept"]
        found = _find_kept(kept, known)
        ranges = [span for span in found.places.values() if span[1] - span[0] > 1]
        if merged or not ranges:
            break
        # Something in several words is one word: no tag may divide it.
        merged = sorted((known.target_words[a][0], known.target_words[b - 1][1]) for a, b in ranges)
    words = [known.target[start:end] for start, end in known.target_words]
    words = [escape(word) if markup else word for word in words]
    gaps = _gaps(known.target, known.target_words)
    for start, marks_of_word in found.by_word(kept).items():
        words[start] = _with_kept(words[start], marks_of_word)
    for start, end in found.surplus:
        words[start:end] = [""] * (end - start)
    present = found.places.keys() | found.divided
    missing = {id(mark) for number, mark in enumerate(kept) if number not in present}
    items = _tree([mark for mark in marks if mark.kind != "kept" or id(mark) in missing], known)
    every = 0, len(known.source_words)
    place(items, known.attention, every, (0, len(words)))
    return "".join(_written(list(_events(items, words, (0, len(words)))), gaps))


def joined_sentences(source: str, sentences: Sequence[tuple[Span, Translation]]) -> str:
    """The translations of the sentences, with what is between the sentences in the source."""
    return "".join(text for text, _ in _joined(source, sentences))


def _joined(
    source: str, sentences: Sequence[tuple[Span, Translation]]
) -> Iterator[tuple[str, int | None]]:
    """The texts of a translation, and the number of the sentence that each is of, if any."""
    last, text = 0, ""
    for number, ((start, end), translation) in enumerate(sentences):
        between = source[last:start]
        if number and not between and text and translation.text:
            # From a script without spaces to one with them.
            spaceless = is_spaceless(text[-1]) or text[-1] in WIDE_CLOSING
            between = "" if spaceless or is_spaceless(translation.text[0]) else " "
        yield between, None
        text = translation.text
        yield text, number
        last = end
    yield source[last:], None


def _divided(
    source: str, sentences: Sequence[tuple[Span, Translation]], merged: Sequence[Span]
) -> _Text:
    """Divides a text into words; `merged`, in order, are spans of the translation of one word."""
    target = ""
    source_words: list[Span] = []
    target_words: list[Span] = []
    blocks: list[Block] = []
    for text, number in _joined(source, sentences):
        place = len(target)
        target += text
        if number is None:
            continue
        (start, end), translation = sentences[number]
        if translation.target_tokens and not np.any(translation.attention):
            raise ValueError(
                "This model has no attention, which says where protected text and tags belong, or "
                "was exported without it: use a model with attention (export it with --attention "
                "float32), or protect nothing."
            )
        sides = (translation.target_tokens, text), (translation.source_tokens, source[start:end])
        pieces = [piece_spans(*side) for side in sides]
        words = [
            word_spans(side[1], (end for _, end in spans))
            for side, spans in zip(sides, pieces, strict=True)
        ]
        first, last = (bisect.bisect_left(merged, (each,)) for each in (place, len(target)))
        words[0] = _merge(words[0], [(a - place, b - place) for a, b in merged[first:last]])
        offsets = len(target_words), len(source_words)
        blocks.append(
            word_block(translation.attention, (pieces[0], pieces[1]), (words[0], words[1]), offsets)
        )
        target_words += [(a + place, b + place) for a, b in words[0]]
        source_words += [(a + start, b + start) for a, b in words[1]]
    return _Text(source, source_words, target, target_words, WordAttention(blocks))


def _merge(words: list[Span], merged: Sequence[Span]) -> list[Span]:
    for start, end in merged:
        inside = [word for word in words if start <= word[0] and word[1] <= end]
        if inside:
            index = words.index(inside[0])
            words[index : index + len(inside)] = [(start, end)]
    return words


class _Found(NamedTuple):
    """Where the model's translation has kept text.

    Attributes:
        places: Target words, start and end, by the number of the mark.
        surplus: Target words that are there once too often.
        divided: The numbers of marks whose parts are words of the translation: 3-5 as 3 to 5.
    """

    places: dict[int, Span]
    surplus: list[Span]
    divided: set[int]

    def by_word(self, kept: Sequence[Mark]) -> dict[int, list[Mark]]:
        """The marks of each target word, in order of the source."""
        marks: dict[int, list[Mark]] = {}
        for number, (start, _) in sorted(self.places.items()):
            marks.setdefault(start, []).append(kept[number])
        return marks


def _find_kept(kept: Sequence[Mark], text: _Text) -> _Found:
    """Assigns kept text to words of the translation: the same ones, else by attention."""
    places: dict[int, Span] = {}
    surplus: list[Span] = []
    sources = [_words_of(mark.span, text.source_words) for mark in kept]
    reaches = [text.attention.reach(each) for each in sources]
    by_form: dict[str, list[int]] = {}
    for number, mark in enumerate(kept):
        by_form.setdefault(mark.form, []).append(number)
    in_target = WordFinder(text.target, text.target_words)
    for form, numbers in by_form.items():
        spans = in_target.occurrences(form)
        is_stand_in = kept[numbers[0]].raw != form
        own = _own_words(form, [kept[number] for number in numbers], text) if is_stand_in else []
        attended = {
            span: max((float(text.attention.mass(each, span).mean()) for each in own), default=0)
            for span in spans
        }
        ranked = sorted(
            (-float(text.attention.mass(sources[number], span).mean()), number, span)
            for number in numbers
            for span in spans[slice(*(bisect.bisect_left(spans, (at,)) for at in reaches[number]))]
        )
        free = dict.fromkeys(spans)
        most: dict[Span, float] = {}
        for score, number, span in ranked:
            most.setdefault(span, -score)
            if number not in places and span in free and -score >= attended[span]:
                places[number] = span
                del free[span]
        if is_stand_in:
            surplus += sorted(free, key=lambda span: most.get(span, 0))[len(own) :]
        else:
            surplus += [span for span in free if most.get(span, 0) > INSIDE]
    found = _Found(places, surplus, set())
    left = [n for n in range(len(kept)) if n not in places and reaches[n][0] < reaches[n][1]]
    if left:
        _find_others(found, left, kept, sources, text)
    return found


def _own_words(form: str, marks: Sequence[Mark], text: _Text) -> list[Span]:
    """The words of the source that are a stand-in without standing for a mark."""
    stood_for = {mark.span[0] for mark in marks}
    words = WordFinder(text.source, text.source_words).occurrences(form)
    return [word for word in words if text.source_words[word[0]][0] not in stood_for]


def _find_others(
    found: _Found, left: Sequence[int], kept: Sequence[Mark], sources: Sequence[Span], text: _Text
) -> None:
    """Adds the marks that are no words of the translation: within one, divided, or changed."""
    places, surplus, divided = found
    words = [text.target[start:end] for start, end in text.target_words]
    # The marks of each target word; none of those that are removed.
    taken: dict[int, list[int]] = {word: [] for span in surplus for word in range(*span)}
    for number, span in places.items():
        for word in range(*span):
            taken.setdefault(word, []).append(number)

    def put(number: int, word: int) -> None:
        places[number] = word, word + 1
        taken.setdefault(word, []).append(number)

    # First what the translation has within a word, or as several.
    for number in filter(lambda each: is_of_number(kept[each]), left):
        reach, raw = text.attention.reach(sources[number]), kept[number].raw
        mass = text.attention.mass(sources[number], reach).tolist()
        with_digits = [word for word in range(*reach) if any(map(str.isdigit, words[word]))]
        best = max(with_digits, key=lambda word: mass[word - reach[0]], default=-1)
        there = [kept[each].raw for each in taken.get(best, ())]
        if best >= 0 and taken.get(best) != [] and holds(words[best], [raw, *there]):
            put(number, best)
        elif "-" in raw and set(raw.split("-")) <= set(words[slice(*reach)]):
            divided.add(number)
    for number in left:
        if number in places or number in divided:
            continue
        first, last = text.attention.reach(sources[number])
        mass = text.attention.mass(sources[number], (first, last))
        for word in range(first, last):
            if word in taken and not _has_room(words[word], number, taken[word], kept, sources):
                mass[word - first] = 0
        best = first + int(mass.argmax())
        share = mass[best - first]
        if share > 0 and (
            any(map(str.isdigit, words[best])) or (is_word(words[best]) and share > INSIDE)
        ):
            put(number, best)


def _has_room(
    word: str, number: int, there: Sequence[int], kept: Sequence[Mark], sources: Sequence[Span]
) -> bool:
    """Whether a word with other numbers of the same source word has one more: 3-in-1."""
    if not there or not all(is_of_number(kept[each]) for each in (number, *there)):
        return False
    same = all(sources[each] == sources[number] for each in there)
    return same and len(there) < len(numbers_in(word))


def _with_kept(word: str, marks: Sequence[Mark]) -> str:
    """Kept text instead of a word, or instead of the numbers in it: COVID-18 becomes COVID-19."""
    if all(map(is_of_number, marks)):
        changed = with_numbers(word, [mark.raw for mark in marks])
        return marks[0].raw if changed is None else changed
    return marks[0].raw


def _words_of(span: Span, words: Sequence[Span]) -> Span:
    """The words that a span of characters has a part of; between words, the place there."""
    start = bisect.bisect_right(words, span[0], key=operator.itemgetter(1))
    return start, max(start, bisect.bisect_left(words, span[1], key=operator.itemgetter(0)))


def _tree(marks: Sequence[Mark], text: _Text) -> list[Item]:
    """Nests marks: those between two tags are children of the pair."""
    children: list[Item] = []
    outer: list[tuple[list[Item], Item]] = []
    for order, mark in enumerate(marks):
        if mark.kind == "close":
            siblings, item = outer.pop()
            span = item.mark.span[0], mark.span[0]
            item.source = _words_of(span, text.source_words)
            item.children, item.closing = children, mark.raw
            children = siblings
            continue
        item = Item(order, mark, _words_of((mark.span[0],) * 2, text.source_words))
        children.append(item)
        if mark.kind == "open":
            outer.append((children, item))
            children = []
    return children


class _Event(NamedTuple):
    """A word, a single mark or a tag, in order of the translation."""

    kind: str
    text: str
    word: int = 0
    sides: tuple[str, str] = ("", "")


def _events(items: Sequence[Item], words: Sequence[str], within: Span) -> Iterator[_Event]:
    done = within[0]
    for item in items:
        for word in range(done, item.target[0]):
            yield _Event("word", words[word], word)
        done = max(done, item.target[0])
        if item.children is None:
            sides = (" ", " ") if item.mark.kind == "kept" else item.mark.sides
            yield _Event("single", item.mark.raw, done, sides)
            continue
        yield _Event("open", item.mark.raw)
        yield from _events(item.children, words, item.target)
        yield _Event("close", item.closing)
        done = item.target[1]
    for word in range(done, within[1]):
        yield _Event("word", words[word], word)


def _written(events: Sequence[_Event], gaps: Sequence[str]) -> Iterator[str]:
    """The texts of events with white space; that before a word is outside of its tags."""
    last: _Event | None = None
    tags: list[_Event] = []
    yield gaps[0]
    for event in events:
        if event.kind in ("open", "close"):
            tags.append(event)
            continue
        if not event.text:
            continue
        space = _space(last, event, gaps) if last else ""
        first = next((place for place, tag in enumerate(tags) if tag.kind == "open"), len(tags))
        yield from (tag.text for tag in tags[:first])
        yield space
        yield from (tag.text for tag in tags[first:])
        tags = []
        yield event.text
        last = event
    yield from (tag.text for tag in tags)
    if last is None or last.kind == "word":
        yield gaps[-1] if len(gaps) > 1 else ""


def _space(left: _Event, right: _Event, gaps: Sequence[str]) -> str:
    """The white space between two words, or between words and single marks."""
    if left.kind == right.kind == "word":
        return gaps[right.word]
    gap = gaps[right.word]
    if left.kind == right.kind:
        spaced = left.sides[1].isspace() or right.sides[0].isspace()
        return (gap or " ") if spaced else ""
    if right.kind == "single":
        side, beside, natural = right.sides[0], left.text[-1], OPENING
    else:
        side, beside, natural = left.sides[1], right.text[0], CLOSING
    glued = side and not side.isspace() and not needs_space(beside, side)
    if glued and is_word(side) == is_word(beside):
        return ""
    if not gap and (beside in natural or is_spaceless(beside)):
        return ""
    return (right.kind == "single" and gap) or " "


def _gaps(text: str, words: Sequence[Span]) -> list[str]:
    """The white space before each word and after the last."""
    places = [0, *(place for word in words for place in word), len(text)]
    return [text[a:b] for a, b in zip(places[::2], places[1::2], strict=True)]
