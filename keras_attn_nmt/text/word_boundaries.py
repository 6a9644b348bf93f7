"""Word boundaries in texts and between pieces. Requires only NumPy and the standard library."""

from __future__ import annotations

import re
import unicodedata

from keras_attn_nmt.text.alignment import SPACE
from keras_attn_nmt.text.pieces import BYTE_PIECE

# Scripts without spaces between words: Thai and Lao, Myanmar (three blocks), Khmer, Tai Le, New Tai
# Lue, Tai Tham, Balinese, kana and Han with their punctuation, Bopomofo, Yi, Javanese, Tai Viet,
# half-width kana.
_SPACELESS_RANGES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f"
    "\u3001-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf"
    "\uf900-\ufaff\uff01\uff0c\uff1a\uff1b\uff1f\uff66-\uff9f\U00020000-\U0003ffff"
)
_SPACELESS = re.compile(f"[{_SPACELESS_RANGES}]")
# Scripts with spaces, but not at every boundary: Tibetan (syllables), Korean (particles).
_FEW_SPACES_RANGES = (
    "\u0f00-\u0fff\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"
)
_FEW_SPACES = re.compile(f"[{_FEW_SPACES_RANGES}]")
# Of all of these scripts, for a character class of a regular expression.
UNSPACED_RANGES = _SPACELESS_RANGES + _FEW_SPACES_RANGES
# Zero-width (non-)joiners, which stand within words of Persian and Indic languages.
JOINERS = "\u200c\u200d"
# First bytes of U+3000 to U+DFFF: nearly all of them are of these scripts.
_UNSPACED_BYTES = range(0xE3, 0xEE)
# First bytes of U+00C0 to U+1FFF, nearly all letters; and all bytes of a character but the first.
_LETTER_BYTES, _LATER_BYTES = range(0xC3, 0xE2), range(0x80, 0xC0)


def is_spaceless(text: str) -> bool:
    """Whether a text has characters of a script that is written without spaces."""
    return bool(_SPACELESS.search(text))


def is_unspaced(character: str) -> bool:
    """Whether a word may begin or end beside a character without a space, as before particles."""
    return bool(_SPACELESS.match(character) or _FEW_SPACES.match(character))


def needs_space(character: str, neighbour: str) -> bool:
    """Whether words end beside a character with a space, but beside `neighbour` without one.

    So no space beside a Thai word does not mean that there is none beside its translation.
    """
    return is_spaceless(neighbour) > is_spaceless(character) or (
        is_unspaced(neighbour) > is_unspaced(character)
    )


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
    last = piece.rstrip(JOINERS)[-1:]
    # What is before a joiner alone is unknown.
    return not last or is_word_character(last)


def continues_word(piece: str) -> bool:
    """Whether a piece continues a word before it."""
    if byte := BYTE_PIECE.fullmatch(piece):
        code = int(byte[1], 16)
        return is_word_character(chr(code)) if code < 0x80 else code in _LETTER_BYTES
    first = piece.lstrip(JOINERS)[:1]
    # What follows a joiner alone is unknown.
    return not first or is_word_character(first)


def begins_with_mark(piece: str) -> bool:
    """Whether a piece begins with a combining mark, which belongs to any character before it."""
    return unicodedata.category(piece[0])[0] == "M"


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
