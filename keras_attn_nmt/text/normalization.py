"""Normalizations that SentencePiece does not know by name, as tables of replacements for it.

A table maps sequences of characters to sequences; SentencePiece replaces the longest one that it
finds at each place. It lies inside of the `.spm` file, so that every runtime normalizes alike.
"""

from __future__ import annotations

import functools
import itertools
import sys
import unicodedata

from keras_attn_nmt.text.blank import INVISIBLE

# Conjoining jamo and syllables of Korean, whose 22,000 rules are 140 KB of a vocabulary.
_HANGUL = ((0x1100, 0x11FF), (0xAC00, 0xD7A3))


def nfc_rules(hangul: bool) -> dict[str, str]:
    """Unicode normalization form C (UAX #15), without characters that nobody sees (`INVISIBLE`).

    A table holds every canonical decomposition of one character, whole or in part, its combining
    marks in any order that is equivalent. What it cannot do is to sort marks that compose with
    nothing: such sequences stay as they are.

    Args:
        hangul: Whether to compose Korean syllables, too.

    Returns:
        Replacements by what they replace.
    """
    rules = dict.fromkeys(INVISIBLE, "")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        # Korean syllables are decomposed by rule, all others by a table that most are not in.
        if not (unicodedata.decomposition(character) or (hangul and is_hangul(character))):
            continue
        composed = unicodedata.normalize("NFC", character)
        if composed != character:  # Such as the sign for Ångström, which is the letter.
            rules[character] = composed
            continue
        decomposed = unicodedata.normalize("NFD", character)
        base, marks = decomposed[0], decomposed[1:]
        if not marks:
            continue
        for order in set(itertools.permutations(marks)):
            if unicodedata.normalize("NFC", base + "".join(order)) != character:
                continue
            for count in range(len(order)):
                begun = unicodedata.normalize("NFC", base + "".join(order[:count]))
                if len(begun) == 1:
                    rules[begun + "".join(order[count:])] = character
    return rules


def is_hangul(character: str) -> bool:
    """Whether a character is a Korean syllable or a part of one."""
    return any(first <= ord(character) <= last for first, last in _HANGUL)


@functools.cache  # It is the same for every vocabulary, and a training learns two.
def nfc_tsv(hangul: bool) -> str:
    """`nfc_rules` as SentencePiece's `normalization_rule_tsv` has them: code points in hex."""

    def points(text: str) -> str:
        return " ".join(f"{ord(character):X}" for character in text)

    rules = sorted(nfc_rules(hangul).items())
    return "".join(f"{points(old)}\t{points(new)}\n" for old, new in rules)
