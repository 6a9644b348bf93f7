"""Numbers of protected text: which are whole, and how a word gets those that it should have."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from keras_attn_nmt.text.placement import Mark

_DIGITS = "[0-9]+(?:[.,:/’'-][0-9]+)*"
_PART = re.compile(_DIGITS)
_IN_NUMBERS = "0123456789.,:/’'-"
# None in 3.5mm, A4 or x1/2: an atomic group does not settle for the 3 of 3.5mm.
WHOLE = re.compile(rf"(?<![\w.,])(?<![0-9][:/’'-])(?>{_DIGITS})(?!\w)")
# Of any script, also within a word.
_ANY = re.compile(r"\d+(?:[.,:/’'-]\d+)*")


def is_of_number(mark: Mark) -> bool:
    """Whether a mark is of a number, which stays in the text for the model."""
    return mark.kind == "kept" and mark.raw == mark.form and bool(WHOLE.fullmatch(mark.raw))


def numbers_in(word: str) -> list[re.Match[str]]:
    """The whole numbers in a word, else its other ones: the 5 of 5km."""
    return list(WHOLE.finditer(word)) or list(_ANY.finditer(word))


def holds(word: str, numbers: Sequence[str]) -> bool:
    """Whether a word has all of these numbers, also as parts of one: 3 and 5 in 3-5."""
    for number in sorted(numbers, key=len, reverse=True):
        word, found = re.subn(rf"(?<!\w){re.escape(number)}(?!\w)", "\0", word, count=1)
        if not found:
            return False
    return True


def with_numbers(word: str, numbers: Sequence[str]) -> str | None:
    """A word with these numbers instead of its own; `None` if it has fewer or more.

    Example:
        >>> with_numbers("COVID-18", ["19"])
        'COVID-19'
    """
    if holds(word, numbers) or not Counter(numbers) - Counter(_ANY.findall(word)):
        return word
    found = numbers_in(word)
    if len(found) != len(numbers):
        return None
    for match, number in reversed(list(zip(found, numbers, strict=True))):
        word = word[: match.start()] + number + word[match.end() :]
    return word


def with_whole_numbers(text: str, marks: Sequence[Mark]) -> list[Mark]:
    """Extends the marks of numbers that tags divide: of <b>19</b>.99, 19 becomes 19.99.

    Args:
        text: The text for the model, without tags.
        marks: Its marks, in order.
    """
    if not any(map(is_of_number, marks)):
        return list(marks)
    characters = list(text)
    for mark in marks:
        if mark.kind == "kept" and not is_of_number(mark):
            # No number continues in a stand-in.
            start, end = mark.span
            characters[start:end] = "\0" * (end - start)
    known = "".join(characters)
    found: list[Mark] = []
    done = 0
    for mark in marks:
        if not is_of_number(mark):
            found.append(mark)
            continue
        span = _enclosing(known, *mark.span)
        if span and span[0] >= done:
            number = known[slice(*span)]
            found.append(mark._replace(raw=number, span=span, form=number))
            done = span[1]
    # Tags where a number starts come before it.
    return sorted(found, key=lambda mark: (mark.span[0], mark.span[1] > mark.span[0]))


def _enclosing(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The span of the number that a number is a part of, or `None` if that one is not whole."""
    first = start
    while first and text[first - 1] in _IN_NUMBERS:
        first -= 1
    for match in _PART.finditer(text, first):
        if match.end() >= end:
            span = match.span()
            whole = WHOLE.match(text, match.start())
            return span if span == (start, end) or (whole and whole.end() == span[1]) else None
    return start, end
