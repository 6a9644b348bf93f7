"""Attention plots as in figure 3 of Bahdanau et al. 2015."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_attn_nmt.extras import extra
from keras_attn_nmt.plot_fonts import choose_fonts, is_control, spell_out, warn_of_missing
from keras_attn_nmt.text.alignment import (
    SPACE,
    GoldAlignment,
    Link,
    fold_attention,
    word_of_tokens,
)
from keras_attn_nmt.text.pieces import BYTE_PIECE, pieces_of_words, spelled
from keras_attn_nmt.translation import Translation

with extra("train"):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

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

COLORBAR_GAP = 0.12
COLORBAR_WIDTH = 0.14
COLORBAR_FONT = 9.0
SMALLEST_COLORBAR_WITH_MIDDLE = 0.8
# Visible on black, grey and white.
LINK_COLOUR = "#ff5a1f"


def plot_attention(
    attention: npt.ArrayLike,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    *,
    title: str | None = None,
    words: bool = False,
    alignment: GoldAlignment | Iterable[Link] = (),
    colorbar: bool = False,
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
        words: Plot attention between words, see `fold_attention`; `</s>` is left out.
        alignment: Word alignment to outline, links (source word, target word) as in
            `Translation.alignment`. Without `words`, a link outlines all pieces of its words;
            tokens without any "▁" are taken as words. The outlines of links that a
            `GoldAlignment` has as possible but not sure are dashed.
        colorbar: Add a colour bar.

    Returns:
        A figure without pyplot state, whose size depends on the number of tokens.
        `figure.savefig("heat.png")` writes it (also `.pdf`, `.svg`).

    Raises:
        ValueError: There are no tokens, the weights have the wrong shape or are outside [0, 1], or
            a link is out of range.

    Warns:
        UserWarning: No installed font has some of the characters; they are shown as "U+65E5".

    Example:
        >>> figure = plot_attention([[0.1, 0.9], [0.8, 0.2]], ["▁ein", "und"], ["▁and", "▁one"])
        >>> figure.savefig("heat.png")

    Reference:
        Bahdanau, Cho & Bengio 2015 (arXiv:1409.0473), section 5.2.1 and figure 3.
    """
    weights = _validated(attention, source_tokens, target_tokens)
    if words:
        weights = fold_attention(weights, source_tokens, target_tokens)
        source_tokens, target_tokens = _spelled_words(source_tokens), _spelled_words(target_tokens)
        weights = _validated(weights, source_tokens, target_tokens)
    rows, columns = weights.shape
    outlines = _outlines(alignment, source_tokens, target_tokens)
    title = title or ""
    source_texts, target_texts = _token_texts(source_tokens), _token_texts(target_tokens)
    families, missing = choose_fonts(set().union(title, *source_texts, *target_texts))
    if missing:
        warn_of_missing(missing)
    # No TeX or mathtext: dollar signs in tokens are literal.
    style: dict[str, Any] = {"family": families, "parse_math": False, "usetex": False}

    cell = _cell_size(max(rows, columns))
    label_every = math.ceil(SMALLEST_CELL / cell)
    label_size = min(LARGEST_FONT, 0.75 * 72 * cell * label_every)

    figure = Figure(figsize=(columns * cell, rows * cell), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    image = axes.imshow(
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
    for outline in outlines:
        axes.add_patch(outline)
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
    if colorbar:
        _add_colorbar(figure, image)
    if title:
        lines = [
            textwrap.fill(spell_out(line, missing), TITLE_WIDTH) for line in title.splitlines()
        ]
        axes.set_title("\n".join(lines), fontsize=LARGEST_FONT, **style)
    _fit_figure(figure)
    return figure


def plot_translation(
    translation: Translation,
    *,
    words: bool = False,
    alignment: GoldAlignment | Iterable[Link] = (),
) -> Figure:
    """Plots the attention of a translation, with source, translation and score as the title.

    `plot_attention` with a title and a colour bar.

    Args:
        translation: The translation; not of an empty text.
        words: Plot attention between words instead of pieces.
        alignment: Word alignment to outline, such as `translation.alignment()` or a gold
            alignment.

    Example:

        (found,) = translator(["am Mittwoch, 3. Oktober 1990"])
        plot_translation(found, words=True, alignment=found.alignment()).savefig("heat.png")
    """
    source = spelled(translation.source_tokens)
    score = f"{translation.score:.2f}".replace("-", "\N{MINUS SIGN}")
    return plot_attention(
        translation.attention,
        translation.source_tokens,
        translation.target_tokens,
        # A line each: a text that runs from right to left would also reorder what is beside it.
        title=f"{source}\n{translation.text}\nscore {score}",
        words=words,
        alignment=alignment,
        colorbar=True,
    )


def _spelled_words(tokens: Sequence[str]) -> list[str]:
    return [spelled(pieces) for pieces in pieces_of_words(tokens)]


def _outlines(
    alignment: GoldAlignment | Iterable[Link],
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
) -> list[Rectangle]:
    """A rectangle around the cells of each link of an alignment."""
    if not isinstance(alignment, GoldAlignment):
        links = set(alignment)
        alignment = GoldAlignment(links, links)
    across, down = _word_spans(source_tokens), _word_spans(target_tokens)
    rectangles = []
    for source, target in sorted(alignment.possible | alignment.sure):
        if not (0 <= source < len(across) and 0 <= target < len(down)):
            raise ValueError(
                f"alignment has the link {(source, target)}, which is out of range for "
                f"{len(across)} source and {len(down)} target words (counted from 0)."
            )
        (left, right), (top, bottom) = across[source], down[target]
        rectangles.append(
            Rectangle(
                (left, top),
                right - left,
                bottom - top,
                fill=False,
                edgecolor=LINK_COLOUR,
                linewidth=1.5,
                linestyle="-" if (source, target) in alignment.sure else (0, (2, 1.5)),
                clip_on=False,
                zorder=3,
            )
        )
    return rectangles


def _word_spans(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """The first token of each word, and the token after its last."""
    words = np.array(word_of_tokens(tokens))
    if not any(SPACE in token for token in tokens):
        words = np.arange(len(tokens))
    places = [np.flatnonzero(words == word) for word in range(words.max(initial=-1) + 1)]
    return [(int(place[0]), int(place[-1]) + 1) for place in places]


def _add_colorbar(figure: Figure, image: AxesImage) -> None:
    """Adds a colour bar at the right of the only axes of a figure."""
    width, height = figure.get_size_inches()
    axes = figure.add_axes((1 + COLORBAR_GAP / width, 0, COLORBAR_WIDTH / width, 1))
    ticks = [0, 0.5, 1] if height > SMALLEST_COLORBAR_WITH_MIDDLE else [0, 1]
    bar = figure.colorbar(image, cax=axes, ticks=ticks)
    bar.ax.tick_params(labelsize=COLORBAR_FONT, length=2)


def _fit_figure(figure: Figure) -> None:
    """Grows the figure to its labels; axes keep their size in inches."""
    width, height = figure.get_size_inches()
    box = figure.get_tightbbox().padded(MARGIN)
    figure.set_size_inches(box.width, box.height)
    for axes in figure.axes:
        place = axes.get_position(original=True)
        axes.set_position(
            (
                (place.x0 * width - box.x0) / box.width,
                (place.y0 * height - box.y0) / box.height,
                place.width * width / box.width,
                place.height * height / box.height,
            )
        )


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
        if is_control(character):
            texts.extend(pieces[len(texts) : len(texts) + length])
        elif length == 1:
            texts.append(character)
        else:
            texts.extend(f"{character} {part}/{length}" for part in range(1, length + 1))
    return texts


def _label(text: str, missing: Collection[str]) -> str:
    label = spell_out(text, missing)
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1] + "…"
