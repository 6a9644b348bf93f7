"""Fonts that cover the characters of a plot, and what is shown where none does."""

from __future__ import annotations

import contextlib
import re
import unicodedata
import warnings
from collections.abc import Collection

from keras_attn_nmt.extras import extra

with extra("train"):
    import matplotlib
    from matplotlib import font_manager

CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
# Fonts of Matplotlib that are not text fonts: mathematical ones with special encodings, and
# one with placeholder glyphs.
UNSUITABLE_FONTS = re.compile("Last Resort|STIX|cm[a-z]+10")


def choose_fonts(characters: Collection[str]) -> tuple[list[str], set[str]]:
    """Font families that together cover the characters, and the uncovered characters."""
    families: list[str] = []
    missing = {character for character in characters if not is_control(character)}
    for family in matplotlib.rcParams["font.family"]:
        path = font_manager.findfont(font_manager.FontProperties(family=[family]))
        families.append(font_manager.get_font(path).family_name)
        missing -= _coverage(path, missing)
    if missing:
        _register_new_fonts()
    while missing:
        found = {
            (entry.fname, entry.name): _coverage(entry.fname, missing)
            for entry in font_manager.fontManager.ttflist
            if not UNSUITABLE_FONTS.match(entry.name)
        }
        # Ties: prefer "Noto Sans" to "Noto Serif" and "Noto Sans Display".
        best = max(found, key=lambda font: (len(found[font]), "Sans" in font[1], -len(font[1])))
        if not found[best]:
            break
        families.append(best[1])
        missing -= found[best]
    return families, missing


def _coverage(path: str, characters: Collection[str]) -> set[str]:
    """The characters covered by a font file."""
    charmap = font_manager.get_font(path).get_charmap()
    return {character for character in characters if ord(character) in charmap}


def _register_new_fonts() -> None:
    """Adds fonts that were installed after Matplotlib built its font cache."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():
        if path not in known:
            # Skip damaged and unsupported (colour emoji) fonts.
            with contextlib.suppress(Exception):
                font_manager.fontManager.addfont(path)


def warn_of_missing(missing: Collection[str]) -> None:
    shown = "".join(sorted(missing)[:20]) + ("…" if len(missing) > 20 else "")
    warnings.warn(
        f"No installed font has {len(missing)} of the characters: {shown} They are shown as "
        "code points (U+...). Install a font that covers them, such as Noto Sans CJK for Chinese, "
        "Japanese and Korean or the Noto font of another script (Debian and Ubuntu: apt-get "
        "install fonts-noto-cjk fonts-noto-core), and plot again.",
        stacklevel=3,
    )


def is_control(character: str) -> bool:
    return unicodedata.category(character) in CONTROL_CATEGORIES


def spell_out(text: str, missing: Collection[str]) -> str:
    """Replaces characters without glyph by their code point, "U+65E5"."""
    undrawable = {character for character in text if character in missing or is_control(character)}
    if not undrawable:
        return text
    words = "".join(
        f" U+{ord(character):04X} " if character in undrawable else character for character in text
    )
    return " ".join(words.split())
