"""Punctuation marks of all scripts. Requires only the standard library."""

from __future__ import annotations

import unicodedata

# Marks of East Asian scripts, whose glyphs include the space around them.
WIDE_CLOSING, WIDE_OPENING = "、。，！？：；）」』", "（「『"
# No space before these: Latin, Arabic, Armenian, Hebrew, Indic, Ethiopic, N'Ko, Myanmar, Khmer,
# Tibetan, Mongolian.
CLOSING = (
    ",.;:!?…)]}%»”’،؛؟۔٪՛՜՝՞։׃।॥፣።፤፥፦፧፨߸߹၊။។៕៖།༎᠂᠃᠈᠉" + WIDE_CLOSING
)  # fmt: skip
# No space after these.
OPENING = "([{«“„‘¿¡" + WIDE_OPENING
# All marks and invisible format characters beyond ASCII.
_MARKS = {"Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Cf"}
BEYOND_ASCII = "".join(
    character
    for character in map(chr, range(0x80, 0x1F000))
    if unicodedata.category(character) in _MARKS
)
