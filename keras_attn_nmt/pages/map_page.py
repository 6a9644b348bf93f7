"""A page with a map of sentence vectors: similar sentences lie side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_attn_nmt.pages.document import ATTENTION_STYLES, html_document

# Neighbours that are shown of each sentence.
NEIGHBOURS = 5
# Rows of the similarity matrix at a time, to bound its memory.
_ROWS = 1024


def principal_components(vectors: np.ndarray) -> np.ndarray:
    """Projects vectors on their two principal components (PCA), `(sentences, 2)`.

    Args:
        vectors: `(sentences, units)`.
    """
    centred = np.asarray(vectors, "float64") - np.mean(vectors, axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    components = components[:2]
    # The sign of a component is arbitrary: make its largest weight positive.
    largest = np.abs(components).argmax(axis=1)
    components = components * np.sign(components[np.arange(len(components)), largest])[:, None]
    points = centred @ components.T
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def nearest_neighbours(vectors: np.ndarray, count: int = NEIGHBOURS) -> list[list[int]]:
    """For each vector the indices of those with the highest cosine similarity, best first.

    Args:
        vectors: `(sentences, units)`.
        count: Number of neighbours.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.asarray(vectors, "float32") / np.maximum(lengths, 1e-12)
    found: list[list[int]] = []
    for start in range(0, len(units), _ROWS):
        similarities = units[start : start + _ROWS] @ units.T
        rows = np.arange(len(similarities))
        similarities[rows, start + rows] = -np.inf
        order = np.argsort(-similarities, axis=1, kind="stable")[:, : min(count, len(units) - 1)]
        found.extend(order.tolist())
    return found


def map_page(
    projections: Mapping[str, np.ndarray],
    texts: Sequence[str],
    neighbours: Sequence[Sequence[int]],
    *,
    groups: Sequence[int] | np.ndarray | None = None,
    title: str = "Sentence vectors",
    language: str = "",
) -> str:
    """An HTML page with a map of sentences, which shows each sentence and its neighbours.

    Args:
        projections: Points by the name of their projection (`"PCA"`), each `(sentences, 2)`.
        texts: The sentences.
        neighbours: See `nearest_neighbours`.
        groups: The cluster of each sentence, from 0 to 7, shown as its colour.
        title: Title of the page.
        language: Language code of the sentences.

    Raises:
        ValueError: There are no sentences, or not as many points, neighbours or groups.
    """
    given = {**projections, "neighbours": neighbours}
    if groups is not None:
        given["groups"] = groups
    lengths = {name: len(each) for name, each in given.items()}
    if not texts or not projections or set(lengths.values()) != {len(texts)}:
        raise ValueError(
            "A map needs a projection, and one point, list of neighbours and group for each of its "
            f"{len(texts)} sentences, got {lengths}."
        )
    data: dict[str, Any] = {
        "title": title,
        "language": language,
        "projections": {name: _scaled(points) for name, points in projections.items()},
        "texts": list(texts),
        "neighbours": [list(each) for each in neighbours],
        "groups": [0] * len(texts) if groups is None else [int(group) for group in groups],
    }
    return html_document(
        title,
        data,
        ("elements.js", "map_page.js"),
        (*ATTENTION_STYLES, "page.css", "map_page.css"),
    )


def _scaled(points: np.ndarray) -> list[list[float]]:
    """Points from 0 to 1, with the same scale on both axes and y downwards, as in SVG."""
    points = np.asarray(points, "float64") * (1, -1)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = max(float((high - low).max()), 1e-9)
    return (0.5 + (points - (low + high) / 2) / scale).round(4).tolist()
