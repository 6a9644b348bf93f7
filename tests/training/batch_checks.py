"""Batches as plain values that can be compared, and the texts that are in them."""

import collections

import numpy as np
import tensorflow as tf

from keras_attn_nmt.text.tokenizer import Tokenizer

Texts = list[tuple[str, str]]
# A batch as (source, target, labels), a hashable form of its arrays.
Batch = tuple[tuple, tuple, tuple]


def dataset(texts: Texts) -> tf.data.Dataset:
    sources, targets = zip(*texts, strict=True)
    return tf.data.Dataset.from_tensor_slices((list(sources), list(targets)))


def batches_of(batches: tf.data.Dataset) -> list[Batch]:
    def hashable(ids: np.ndarray) -> tuple:
        return tuple(map(tuple, ids.tolist()))

    return [
        (hashable(inputs["source"]), hashable(inputs["target"]), hashable(outputs["logits"]))
        for inputs, outputs in batches.as_numpy_iterator()
    ]


def texts_of(batches: list[Batch], tokenizer: Tokenizer) -> collections.Counter:
    sources = tokenizer.decode(row for batch in batches for row in batch[0])
    labels = tokenizer.decode(row for batch in batches for row in batch[2])
    return collections.Counter(zip(sources, labels, strict=True))
