"""Plots of a study: BLEU by source length, and sentence vectors in two dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_attn_nmt import writing
from keras_attn_nmt.extras import extra
from keras_attn_nmt.pages.map_page import principal_components

with extra("train"):
    import matplotlib
    from matplotlib.figure import Figure

# Number of clusters, and of example sentences per cluster in the static plot.
GROUPS = 8
EXAMPLES = 2
EXAMPLE_LENGTH = 70
# One colour per cluster.
COLOURS = tuple(matplotlib.color_sequences["tab10"][:GROUPS])


def require_scikit_learn() -> None:
    """Raises `ImportError` if scikit-learn is not installed."""
    with extra("study"):
        import sklearn  # noqa: F401


def save(path: Path, figure: Figure) -> None:
    """Writes a figure atomically."""
    with writing.atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=150, bbox_inches="tight")


def plot_bleu_by_words(curves: Mapping[str, Mapping[int, float]]) -> Figure:
    """Plots BLEU against source length, one line per system (Bahdanau et al. 2015, figure 2).

    Args:
        curves: For each system, BLEU by the upper bound of each length bin.
    """
    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), marker="o", markersize=3, label=name)
    axes.set_xticks(sorted({words for curve in curves.values() for words in curve}))
    axes.set_xlabel("source length (words, up to)")
    axes.set_ylabel("BLEU, lower-cased")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def in_two_dimensions(vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Projects sentence vectors with PCA and t-SNE.

    Args:
        vectors: `(sentences, units)`, at least 5 sentences.

    Returns:
        `"PCA"` and `"t-SNE"`, each `(sentences, 2)`.
    """
    return {"PCA": principal_components(vectors), "t-SNE": t_sne(vectors)}


def t_sne(vectors: np.ndarray) -> np.ndarray:
    """Projects sentence vectors with t-SNE, `(sentences, 2)`.

    Args:
        vectors: `(sentences, units)`, at least 5 sentences.

    References:
        [van der Maaten & Hinton 2008](https://www.jmlr.org/papers/v9/vandermaaten08a.html)
    """
    from sklearn.manifold import TSNE

    perplexity = min(30, (len(vectors) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(vectors)


def groups_of(vectors: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Clusters sentence vectors with k-means in the original space.

    Args:
        vectors: `(sentences, units)`.

    Returns:
        The cluster of each sentence, `(sentences,)`, and for each cluster the indices of the
        sentences nearest to its centroid, nearest first.
    """
    from sklearn.cluster import KMeans

    means = KMeans(min(GROUPS, len(vectors)), n_init=10, random_state=0).fit(vectors)
    distances = means.transform(vectors)
    nearest = [
        rows[np.argsort(distances[rows, group])][:EXAMPLES]
        for group in range(means.n_clusters)
        for rows in [np.flatnonzero(means.labels_ == group)]
    ]
    return means.labels_, nearest


def plot_vectors(
    points: Mapping[str, np.ndarray], groups: np.ndarray, examples: Sequence[Sequence[str]]
) -> Figure:
    """Plots both projections side by side, with cluster colours and example sentences."""
    figure = Figure(figsize=(7 * len(points), 6.5))
    colours = [COLOURS[group] for group in groups]
    for column, (name, places) in enumerate(points.items(), 1):
        axes = figure.add_subplot(1, len(points), column)
        axes.scatter(places[:, 0], places[:, 1], s=9, c=colours, alpha=0.7, linewidths=0)
        axes.set_title(name)
        axes.set_xticks([])
        axes.set_yticks([])
    for group, texts in enumerate(examples):
        cut = [_shortened(text) for text in texts]
        height = 0.08 - 0.03 * group
        for place, text, colour in (
            (0.125, "●", COLOURS[group]),
            (0.14, "    |    ".join(cut), "black"),
        ):
            figure.text(place, height, text, color=colour, fontsize=8, parse_math=False, va="top")
    return figure


def _shortened(text: str) -> str:
    return text if len(text) <= EXAMPLE_LENGTH else text[: EXAMPLE_LENGTH - 2].rstrip() + " …"
