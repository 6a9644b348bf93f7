"""Which words of a phrase say which part of its value: the gold alignment of two wordings of it.

A value is worded again with one part of it changed, another digit, month or currency: words that
are no longer there say that part. So it works for any language, without knowing any.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import NamedTuple

from keras_attn_nmt.text.alignment import GoldAlignment
from keras_attn_nmt.training.datasets.values import Value, variants

Worded = Callable[[Value], str | None]


class WordParts(NamedTuple):
    """What a word says.

    Attributes:
        named: Parts that it names: `two` in `two hundred` is a digit.
        needed: Parts that it would not be there without, as `hundred`; those named are among them.
    """

    named: set[str]
    needed: set[str]


def parts_of_words(word: Worded, value: Value) -> list[WordParts]:
    """The parts of a value that each word of its text says.

    Args:
        word: Gives the text of a value, or None.
        value: A value that has one.
    """
    words = _words(word(value))
    found = [WordParts(set(), set()) for _ in words]
    for part, others, replaced in variants(value):
        texts = [text for text in map(word, others) if text is not None]
        changes = [_changed(words, _words(text)) for text in texts]
        for index in set.intersection(*changes) if changes else ():
            # What several parts share is said by the words that none of them takes away alone.
            if len(part) == 1 or not found[index].needed:
                found[index].needed.update(part)
            if replaced:
                found[index].named.update(part)
    return found


def _words(text: str | None) -> list[str]:
    # "two thousand, six" and "two thousand": the comma makes no other word of it.
    return [word.rstrip(",") for word in (text or "").split()]


def _changed(words: list[str], others: list[str]) -> set[int]:
    if len(words) == len(others):
        different = {
            index
            for index, (word, other) in enumerate(zip(words, others, strict=True))
            if word != other
        }
        # The usual case, without the slow matcher.
        if len(different) <= 1:
            return different
    matcher = difflib.SequenceMatcher(None, words, others, autojunk=False)
    return {
        index
        for operation, begin, end, _, _ in matcher.get_opcodes()
        if operation != "equal"
        for index in range(begin, end)
    }


def gold_alignment(source: Worded, target: Worded, value: Value) -> GoldAlignment:
    """How the words of two wordings of a value belong together.

    A link is possible where both words say the same part, and sure where the source word is the
    only one that names what the target word names. Words that say none (`Uhr`, `of`) have no link.

    Args:
        source: Gives the source text of a value, or None.
        target: Likewise.
        value: A value that has both.
    """
    sources, targets = parts_of_words(source, value), parts_of_words(target, value)
    possible, sure = set(), set()
    for j, target_word in enumerate(targets):
        possible |= {(i, j) for i, each in enumerate(sources) if each.needed & target_word.needed}
        named = [(i, j) for i, each in enumerate(sources) if each.named & target_word.named]
        if len(named) == 1:
            sure |= set(named)
    return GoldAlignment(sure, possible)
