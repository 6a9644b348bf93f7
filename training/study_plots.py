"""Pictures of a study: BLEU by length, and sentence vectors in two dimensions."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from keras_attn_nmt import writing
from keras_attn_nmt.extras import extra

with extra("train"):
    import matplotlib
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

# Groups of sentences that lie together, and how many sentences of each the static picture says.
GROUPS = 8
EXAMPLES = 2
EXAMPLE_LENGTH = 70
# As many colours as groups.
COLOURS = tuple(matplotlib.color_sequences["tab10"][:GROUPS])
# Side of a plot in the hoverable picture, in pixels.
SIDE = 560


def require_scikit_learn() -> None:
    """Raises `ImportError` where there is no scikit-learn."""
    with extra("study"):
        import sklearn  # noqa: F401


def save(path: Path, figure: Figure) -> None:
    """Writes a figure, whole or not at all."""
    with writing.atomic_write(path) as temporary:
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
    axes.set_xticks(sorted({words for curve in curves.values() for words in curve}))
    axes.set_xlabel("source length (words, up to)")
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


def groups_of(vectors: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Sentences that lie together in the space of the vectors itself (k-means).

    Args:
        vectors: `(sentences, units)`.

    Returns:
        The group of each sentence, `(sentences,)`, and the sentences nearest to the centre of each
        group, from the nearest on.
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
    """Both pictures side by side, a colour for each group, which its examples explain below."""
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


def hoverable_vectors(
    points: Mapping[str, np.ndarray], groups: np.ndarray, texts: Sequence[str]
) -> str:
    """A page of its own in which a point shows its sentence: SVG with a title for each point."""
    plots = []
    for name, places in points.items():
        low, high = places.min(axis=0), places.max(axis=0)
        scaled = 10 + (SIDE - 20) * (places - low) / np.maximum(high - low, 1e-9)
        circles = "".join(
            f'<circle cx="{x:.1f}" cy="{SIDE - y:.1f}" r="4" fill="{to_hex(COLOURS[group])}">'
            f"<title>{html.escape(text)}</title></circle>"
            for (x, y), group, text in zip(scaled, groups, texts, strict=True)
        )
        plots.append(
            f'<figure><figcaption>{name}</figcaption><svg width="{SIDE}" height="{SIDE}" '
            f'viewBox="0 0 {SIDE} {SIDE}">{circles}</svg></figure>'
        )
    style = (
        "body{font-family:sans-serif;display:flex;flex-wrap:wrap}circle{opacity:.7}"
        "circle:hover{stroke:#000;opacity:1}svg{border:1px solid #ccc}"
    )
    return (
        '<!DOCTYPE html><html><head><meta charset="utf-8"><title>Sentence vectors</title>'
        f"<style>{style}</style></head><body>{''.join(plots)}</body></html>\n"
    )
