"""Attention plots as in figure 3 of Bahdanau et al. 2015."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_attn_nmt.extras import extra
from keras_attn_nmt.text.alignment import SPACE

with extra("train"):
    import matplotlib
    from matplotlib import font_manager
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

# In inches. With increasing length, first cells shrink, then the figure grows, then labels are
# thinned out.
LARGEST_CELL = 0.3
SMALLEST_CELL = 0.12
COMFORTABLE_SIZE = 12.0
LARGEST_SIZE = 40.0
MARGIN = 0.1
DOTS_PER_INCH = 150

LARGEST_FONT = 12.0
LONGEST_LABEL = 32
TITLE_WIDTH = 60

BYTE_PIECE = re.compile("<0x[0-9A-Fa-f]{2}>")
CONTROL_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")
# Fonts of Matplotlib that are not text fonts: mathematical ones with special encodings, and
# one with placeholder glyphs.
UNSUITABLE_FONTS = re.compile("Last Resort|STIX|cm[a-z]+10")


def plot_attention(
    attention: npt.ArrayLike,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    *,
    title: str | None = None,
) -> Figure:
    """Plots attention weights as a grey-scale heat map, black for 0 and white for 1.

    Columns are source tokens, rows are target tokens. SentencePiece's word boundary is shown as an
    underscore, and byte pieces as parts of their character: "日 1/3", "日 2/3", ...
    Needs the extra `train`.

    The font is `rcParams["font.family"]`, with installed fonts as fallback for missing characters.
    Before Matplotlib 3.11, right-to-left scripts are rendered left to right, and letters are not
    joined.

    Args:
        attention: Weights from 0 to 1, shape `(len(target_tokens), len(source_tokens))`.
        source_tokens: Source pieces, in order.
        target_tokens: Target pieces, in order.
        title: Title of the plot.

    Returns:
        A figure without pyplot state, whose size depends on the number of tokens.
        `figure.savefig("heat.png")` writes it (also `.pdf`, `.svg`).

    Raises:
        ValueError: There are no tokens, or the weights have the wrong shape or are outside [0, 1].

    Warns:
        UserWarning: No installed font has some of the characters; they are shown as "U+65E5".

    Example:
        >>> figure = plot_attention([[0.1, 0.9], [0.8, 0.2]], ["▁ein", "und"], ["▁and", "▁one"])
        >>> figure.savefig("heat.png")

    Reference:
        Bahdanau, Cho & Bengio 2015 (arXiv:1409.0473), section 5.2.1 and figure 3.
    """
    weights = _validated(attention, source_tokens, target_tokens)
    rows, columns = weights.shape
    title = title or ""
    source_texts, target_texts = _token_texts(source_tokens), _token_texts(target_tokens)
    families, missing = _choose_fonts(set().union(title, *source_texts, *target_texts))
    if missing:
        _warn_of_missing(missing)
    # No TeX or mathtext: dollar signs in tokens are literal.
    style: dict[str, Any] = {"family": families, "parse_math": False, "usetex": False}

    cell = _cell_size(max(rows, columns))
    label_every = math.ceil(SMALLEST_CELL / cell)
    label_size = min(LARGEST_FONT, 0.75 * 72 * cell * label_every)

    figure = Figure(figsize=(columns * cell, rows * cell), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(
        weights,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="none",
        aspect="auto",
        extent=(0, columns, rows, 0),
    )
    axes.hlines(range(1, rows), 0, columns, colors="0.4", linewidth=0.3)
    axes.vlines(range(1, columns), 0, rows, colors="0.4", linewidth=0.3)
    axes.grid(False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(
        np.arange(0, columns, label_every) + 0.5,
        [_label(text, missing) for text in source_texts[::label_every]],
        rotation=90,
        fontsize=label_size,
        **style,
    )
    axes.set_yticks(
        np.arange(0, rows, label_every) + 0.5,
        [_label(text, missing) for text in target_texts[::label_every]],
        fontsize=label_size,
        **style,
    )
    if title:
        lines = textwrap.fill(_spell_out(title, missing), TITLE_WIDTH)
        axes.set_title(lines, fontsize=LARGEST_FONT, **style)

    # Fixed cell size: fit the figure to cells and labels.
    box = figure.get_tightbbox().padded(MARGIN)
    figure.set_size_inches(box.width, box.height)
    axes.set_position(
        (
            -box.x0 / box.width,
            -box.y0 / box.height,
            columns * cell / box.width,
            rows * cell / box.height,
        )
    )
    return figure


def _validated(
    attention: npt.ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Validates the weights and returns them, `(len(target_tokens), len(source_tokens))`."""
    weights = np.asarray(attention, dtype=np.float64)
    expected = (len(target_tokens), len(source_tokens))
    if 0 in expected:
        raise ValueError(
            "An attention plot needs at least one source and one target token, got "
            f"{len(source_tokens)} source and {len(target_tokens)} target tokens."
        )
    if weights.shape != expected:
        raise ValueError(
            f"attention has shape {weights.shape}, but {expected[0]} target tokens and "
            f"{expected[1]} source tokens require (target, source) = {expected}. Pass the weights "
            "of one sentence without padding; include '</s>' in both lists if the weights do."
        )
    tolerance = 1e-3
    # Written so that NaN fails too.
    if not np.all((weights >= -tolerance) & (weights <= 1 + tolerance)):
        raise ValueError(
            f"attention ranges from {weights.min():.4g} to {weights.max():.4g}; expected weights "
            "in [0, 1], after the softmax."
        )
    return weights


def _cell_size(tokens: int) -> float:
    """Cell size in inches for a plot of this many tokens."""
    comfortable = min(LARGEST_CELL, max(SMALLEST_CELL, COMFORTABLE_SIZE / tokens))
    return min(comfortable, LARGEST_SIZE / tokens)


def _token_texts(tokens: Sequence[str]) -> list[str]:
    """The label of each token; byte pieces are shown as their character."""
    texts: list[str] = []
    for are_bytes, group in itertools.groupby(
        tokens, lambda token: BYTE_PIECE.fullmatch(token) is not None
    ):
        run = list(group)
        texts.extend(_byte_texts(run) if are_bytes else run)
    return [text.replace(SPACE, "_") for text in texts]


def _byte_texts(pieces: Sequence[str]) -> list[str]:
    """Labels of consecutive byte pieces: "<0xC3>", "<0xA9>" become "é 1/2", "é 2/2"."""
    encoded = bytes(int(piece[3:5], 16) for piece in pieces)
    texts: list[str] = []
    # Invalid bytes decode to lone surrogates, which encode to one byte.
    for character in encoded.decode("utf-8", "surrogateescape"):
        length = len(character.encode("utf-8", "surrogateescape"))
        if _is_control(character):
            texts.extend(pieces[len(texts) : len(texts) + length])
        elif length == 1:
            texts.append(character)
        else:
            texts.extend(f"{character} {part}/{length}" for part in range(1, length + 1))
    return texts


def _choose_fonts(characters: Collection[str]) -> tuple[list[str], set[str]]:
    """Font families that together cover the characters, and the uncovered characters."""
    families: list[str] = []
    missing = {character for character in characters if not _is_control(character)}
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


def _warn_of_missing(missing: Collection[str]) -> None:
    shown = "".join(sorted(missing)[:20]) + ("…" if len(missing) > 20 else "")
    warnings.warn(
        f"No installed font has {len(missing)} of the characters: {shown} They are shown as "
        "code points (U+...). Install a font that covers them, such as Noto Sans CJK for Chinese, "
        "Japanese and Korean or the Noto font of another script (Debian and Ubuntu: apt-get "
        "install fonts-noto-cjk fonts-noto-core), and plot again.",
        stacklevel=3,
    )


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in CONTROL_CATEGORIES


def _spell_out(text: str, missing: Collection[str]) -> str:
    """Replaces characters without glyph by their code point, "U+65E5"."""
    undrawable = {character for character in text if character in missing or _is_control(character)}
    if not undrawable:
        return text
    words = "".join(
        f" U+{ord(character):04X} " if character in undrawable else character for character in text
    )
    return " ".join(words.split())


def _label(text: str, missing: Collection[str]) -> str:
    label = _spell_out(text, missing)
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
