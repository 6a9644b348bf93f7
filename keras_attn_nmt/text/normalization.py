"""Unicode NFC as a SentencePiece normalization rule table.

A table maps character sequences to replacements; SentencePiece applies the longest match. It is
stored in the `.spm` file, so that all runtimes normalize identically.
"""

from __future__ import annotations

import functools
import itertools
import sys
import unicodedata

from keras_attn_nmt.text.blank import INVISIBLE

# Conjoining jamo and Hangul syllables, whose 22,000 rules take 140 KB in a vocabulary.
_HANGUL = ((0x1100, 0x11FF), (0xAC00, 0xD7A3))


def nfc_rules(hangul: bool) -> dict[str, str]:
    """Rules for Unicode NFC (UAX #15) that also remove `INVISIBLE` characters.

    The table contains every full or partial canonical decomposition of a character, with combining
    marks in all equivalent orders. It does not reorder marks that do not compose.

    Args:
        hangul: Whether to compose Hangul syllables.

    Returns:
        Replacement by character sequence.
    """
    rules = dict.fromkeys(INVISIBLE, "")
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        # Hangul syllables are decomposed algorithmically, other characters by a table.
        if not (unicodedata.decomposition(character) or (hangul and is_hangul(character))):
            continue
        composed = unicodedata.normalize("NFC", character)
        if composed != character:  # Singletons such as the Ångström sign.
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
    """Whether a character is a Hangul syllable or jamo."""
    return any(first <= ord(character) <= last for first, last in _HANGUL)


@functools.cache  # Shared by the two vocabularies of a run.
def nfc_tsv(hangul: bool) -> str:
    """`nfc_rules` in SentencePiece's `normalization_rule_tsv` format (hex code points)."""

    def points(text: str) -> str:
        return " ".join(f"{ord(character):X}" for character in text)

    rules = sorted(nfc_rules(hangul).items())
    return "".join(f"{points(old)}\t{points(new)}\n" for old, new in rules)
