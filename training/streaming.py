"""From a function that yields rows of bytes to a `tf.data.Dataset`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

# Passing single lines from Python to tf.data is 60 times as slow as chunks of this size.
_CHUNK = 1024


def stream(
    rows: Callable[[], Iterator[tuple[bytes, ...]]], count: int | None, columns: int = 2
) -> tf.data.Dataset:
    """Creates a dataset that streams in constant memory.

    Args:
        rows: Returns a new iterator of rows, each a tuple of UTF-8 texts.
        count: Number of rows, if known; it becomes the cardinality.
        columns: Number of texts in a row.

    Returns:
        Dataset of `columns` scalar `tf.string` tensors.
    """

    def chunks() -> Iterator[tuple[np.ndarray, ...]]:
        iterator = rows()
        while chunk := list(itertools.islice(iterator, _CHUNK)):
            yield tuple(np.array(texts, dtype=object) for texts in zip(*chunk, strict=True))

    texts = tf.TensorSpec((None,), tf.string)
    dataset = tf.data.Dataset.from_generator(chunks, output_signature=(texts,) * columns).unbatch()
    if count is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset
