"""Pictures of a study: BLEU by length, and sentence vectors in two dimensions."""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from keras_attn_nmt import writing

# Sentences that are written beside their points in the static picture.
LABELS = 12
LABEL_LENGTH = 40
# Side of a plot in the hoverable picture, in pixels.
SIDE = 560


def require_scikit_learn() -> None:
    """Raises `ImportError` where there is no scikit-learn."""
    if importlib.util.find_spec("sklearn") is None:
        raise ImportError(
            "A study needs scikit-learn: pip install scikit-learn, or install this package with "
            "its extra 'study'."
        )


def save(path: Path, figure: Figure) -> None:
    """Writes a figure, whole or not at all."""
    with writing.replacing(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")


def plot_bleu_by_words(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """BLEU against source length, a line for each system (Bahdanau et al. 2015, figure 2).

    Args:
        curves: For each system BLEU by the largest number of words of a class of length.
    """
    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", markersize=3, label=name)
    axes.set_xlabel("source length (words)")
    axes.set_ylabel("BLEU, lower-cased")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def in_two_dimensions(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Sentence vectors by principal components and by t-SNE (van der Maaten & Hinton 2008).

    Args:
        vectors: `(sentences, units)`, at least 5 of them.

    Returns:
        `"PCA"` and `"t-SNE"`, each `(sentences, 2)`.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    return {
        "PCA": PCA(2, random_state=0).fit_transform(vectors),
        "t-SNE": tsne.fit_transform(vectors),
    }


def plot_vectors(points: Mapping[str, np.ndarray], texts: Sequence[str]) -> Figure:
    """Both pictures side by side, with some of the sentences written beside their points."""
    figure = Figure(figsize=(7 * len(points), 6.5))
    labelled = np.linspace(0, len(texts) - 1, min(LABELS, len(texts))).astype(int)
    for place, (name, places) in enumerate(points.items(), 1):
        axes = figure.add_subplot(1, len(points), place)
        axes.scatter(places[:, 0], places[:, 1], s=6, alpha=0.5, linewidths=0)
        for index in labelled:
            text = texts[index][:LABEL_LENGTH]
            axes.annotate(text, places[index], fontsize=7, parse_math=False)
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def hoverable_vectors(points: Mapping[str, np.ndarray], texts: Sequence[str]) -> str:
    """A page of its own in which a point shows its sentence: SVG with a title for each point."""
    plots = []
    for name, places in points.items():
        low, high = places.min(axis=0), places.max(axis=0)
        scaled = 10 + (SIDE - 20) * (places - low) / np.maximum(high - low, 1e-9)
        circles = "".join(
            f'<circle cx="{x:.1f}" cy="{SIDE - y:.1f}" r="4">'
            f"<title>{html.escape(text)}</title></circle>"
            for (x, y), text in zip(scaled, texts, strict=True)
        )
        plots.append(
            f'<figure><figcaption>{name}</figcaption><svg width="{SIDE}" height="{SIDE}" '
            f'viewBox="0 0 {SIDE} {SIDE}">{circles}</svg></figure>'
        )
    style = (
        "body{font-family:sans-serif;display:flex;flex-wrap:wrap}circle{fill:#1f77b4;opacity:.5}"
        "circle:hover{fill:#d62728;opacity:1}svg{border:1px solid #ccc}"
    )
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Sentence vectors</title>'
        f"<style>{style}</style></head><body>{''.join(plots)}</body></html>\n"
    )
