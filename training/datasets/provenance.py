"""Gold word alignments of phrases, from the parts of the value that each word expresses.

One part of a value (a digit, the month, the currency) is changed and the value verbalised again:
the words that change express this part. The method is independent of the language.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import NamedTuple

from keras_attn_nmt.text.alignment import GoldAlignment
from keras_attn_nmt.training.datasets.values import Value, variants

Worded = Callable[[Value], str | None]


class WordParts(NamedTuple):
    """The parts of a value that a word expresses.

    Attributes:
        named: Parts that the word names: `two` in `two hundred` names a digit.
        needed: Parts that the word depends on, like `hundred`; includes `named`.
    """

    named: set[str]
    needed: set[str]


def parts_of_words(word: Worded, value: Value) -> list[WordParts]:
    """The parts of a value that each word of its text expresses.

    Args:
        word: Verbalises a value, or returns `None`.
        value: A value with a text.
    """
    words = _words(word(value))
    found = [WordParts(set(), set()) for _ in words]
    for part, others, replaced in variants(value):
        texts = [text for text in map(word, others) if text is not None]
        changes = [_changed(words, _words(text)) for text in texts]
        for index in set.intersection(*changes) if changes else ():
            # A group of parts is expressed by the words that no single part accounts for.
            if len(part) == 1 or not found[index].needed:
                found[index].needed.update(part)
            if replaced:
                found[index].named.update(part)
    return found


def _words(text: str | None) -> list[str]:
    # "two thousand, six" and "two thousand": ignore the comma when comparing words.
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
    """The gold alignment of the source and the target text of a value.

    A link is possible if both words express a common part, and sure if the source word is the only
    one to name a part that the target word names. Words without a part (`Uhr`, `of`) have no link.

    Args:
        source: Verbalises a value in the source language, or returns `None`.
        target: Same for the target language.
        value: A value with both texts.
    """
    sources, targets = parts_of_words(source, value), parts_of_words(target, value)
    possible, sure = set(), set()
    for j, target_word in enumerate(targets):
        possible |= {(i, j) for i, each in enumerate(sources) if each.needed & target_word.needed}
        named = [(i, j) for i, each in enumerate(sources) if each.named & target_word.named]
        if len(named) == 1:
            sure |= set(named)
    return GoldAlignment(sure, possible)
