"""Word boundaries in texts and between pieces. Requires only the standard library."""

from __future__ import annotations

import unicodedata

from keras_attn_nmt.text.alignment import SPACE
from keras_attn_nmt.text.pieces import BYTE_PIECE

# First words of the Unicode names of letters whose script writes words without spaces or, as
# Korean, particles without a space before them.
_UNSPACED = frozenset(
    [
        *("CJK", "IDEOGRAPHIC", "BOPOMOFO", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL"),
        *("THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "JAVANESE", "BALINESE", "YI"),
    ]
)
# First bytes of U+3000 to U+DFFF: nearly all of them are of these scripts.
_UNSPACED_BYTES = range(0xE3, 0xEE)
# First bytes of U+00C0 to U+1FFF, nearly all letters; and all bytes of a character but the first.
_LETTER_BYTES, _LATER_BYTES = range(0xC3, 0xE2), range(0x80, 0xC0)


def is_unspaced(character: str) -> bool:
    """Whether a character belongs to a script that does not separate words by spaces."""
    name = unicodedata.name(character, "").removeprefix("HALFWIDTH ")
    return name.split(" ", 1)[0] in _UNSPACED


def is_word_character(character: str) -> bool:
    """Whether a character is part of words that are separated by spaces or punctuation."""
    return unicodedata.category(character)[0] in "LMN" and not is_unspaced(character)


def joins(left: str, right: str) -> bool:
    """Whether two neighbouring characters, or `""` at an end, belong to one word.

    A combining mark belongs to the character before it in every script.
    """
    if not left or not right:
        return False
    if unicodedata.category(right)[0] == "M":
        return True
    return is_word_character(left) and is_word_character(right)


def ends_in_word(piece: str) -> bool:
    """Whether the text after a piece may continue its word."""
    if byte := BYTE_PIECE.fullmatch(piece):
        # The last byte of a character is in doubt.
        code = int(byte[1], 16)
        return is_word_character(chr(code)) if code < 0x80 else code in _LATER_BYTES
    return is_word_character(piece[-1])


def continues_word(piece: str) -> bool:
    """Whether a piece continues a word before it."""
    if byte := BYTE_PIECE.fullmatch(piece):
        code = int(byte[1], 16)
        return is_word_character(chr(code)) if code < 0x80 else code in _LETTER_BYTES
    return is_word_character(piece[0])


def begins_unspaced(piece: str) -> bool:
    """Whether a piece begins with a character of a script without spaces."""
    if byte := BYTE_PIECE.fullmatch(piece):
        return int(byte[1], 16) in _UNSPACED_BYTES
    return is_unspaced(piece[0])


def without_space(piece: str) -> str | None:
    """The piece as it stands inside of a text of a script without spaces.

    Returns:
        `""` for a space alone, `None` for a piece that has no such form.

    Example:
        >>> without_space("▁家")
        '家'
    """
    rest = piece.removeprefix(SPACE)
    if rest == piece or (rest and not is_unspaced(rest[0])):
        return None
    return rest
