"""Definition of blank text: white space and invisible characters."""

from __future__ import annotations

# Soft hyphen, zero-width space, word joiner, byte order mark, and the marks of direction: Unicode's
# Bidi_Control. Not the zero-width (non-)joiners U+200C and U+200D, which change words of Persian
# and Indic languages, and emoji.
INVISIBLE = (
    "\u00ad\u200b\u2060\ufeff"
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
# As `str.isspace`; all of these are in the Basic Multilingual Plane.
WHITE_SPACE = "".join(filter(str.isspace, map(chr, range(0x10000))))
BLANK = WHITE_SPACE + INVISIBLE
# A full-match pattern for TensorFlow's regular expressions (RE2).
BLANK_PATTERN = "[" + "".join(f"\\x{{{ord(character):x}}}" for character in BLANK) + "]*"


def is_blank(text: str) -> bool:
    """Whether a text consists of white space and invisible characters."""
    return not text.strip(BLANK)
