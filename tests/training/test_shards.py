"""Batches cut for several processes: together they are the batch, and so is their loss."""

import numpy as np
import pytest
import tensorflow as tf
from batch_checks import Texts, dataset

from keras_attn_nmt.layers.losses import MaskedCrossentropy, RDropCrossentropy
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.data import BatchedPairs

Batches = list[list[np.ndarray]]


@pytest.fixture(scope="module")
def batched(texts: Texts, tokenizer: Tokenizer) -> BatchedPairs:
    return BatchedPairs(dataset(texts[:300]), tokenizer, tokenizer, tokens_per_batch=512)


@pytest.fixture(scope="module")
def twice(texts: Texts, tokenizer: Tokenizer) -> BatchedPairs:
    return BatchedPairs(
        dataset(texts[:50]), tokenizer, tokenizer, sentences_per_batch=7, dropout_passes=2
    )


def arrays(batches: tf.data.Dataset) -> Batches:
    """Source, decoder input and labels of each batch."""
    return [tf.nest.flatten(each) for each in batches.as_numpy_iterator()]


@pytest.mark.parametrize(("count", "devices"), [(3, 1), (2, 2)])
def test_shards_together_are_the_batch(batched: BatchedPairs, count: int, devices: int) -> None:
    parts = [
        arrays(batched.shard(count, index, devices).epochs(1, seed=3)) for index in range(count)
    ]
    shapes = set()
    for batch, *shards in zip(arrays(batched.epochs(1, seed=3)), *parts, strict=True):
        for full, *rows in zip(batch, *shards, strict=True):
            assert len({each.shape for each in rows}) == 1
            assert len(rows[0]) % devices == 0
            together = np.concatenate(rows)
            np.testing.assert_array_equal(together[: len(full)], full)
            assert not together[len(full) :].any()
        shapes.add(shards[0][0].shape + shards[0][1].shape)
    assert len(shapes) == len(batched.plan.buckets)


def test_passes_and_loss_of_shards_are_those_of_the_batch(
    twice: BatchedPairs, tokenizer: Tokenizer, rng: np.random.Generator
) -> None:
    # Logits of each pass by label.
    table = rng.normal(size=(2, tokenizer.vocabulary_size, tokenizer.vocabulary_size))

    def logits(labels: np.ndarray, devices: int) -> np.ndarray:
        halves = np.split(labels, 2 * devices)
        return np.concatenate([table[i % 2][each] for i, each in enumerate(halves)])

    shards = [arrays(twice.shard(2, index, devices=2).in_order()) for index in range(2)]
    whole = arrays(twice.in_order())
    for batch, *parts in zip(whole, *shards, strict=True):
        for full, *rows in zip(batch, *parts, strict=True):
            one, other = np.split(np.concatenate([np.split(each, 2) for each in rows]), 2, axis=1)
            np.testing.assert_array_equal(one, other)
            sentences = len(full) // 2
            np.testing.assert_array_equal(np.concatenate(one)[:sentences], full[:sentences])
    labels, rows = whole[-1][-1], np.concatenate([each[-1][-1] for each in shards])
    expected = float(RDropCrossentropy(0.1)(labels, logits(labels, 1)))
    loss = RDropCrossentropy(0.1, shards=4)
    assert float(loss(rows, logits(rows, 4))) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(float(RDropCrossentropy(0.1, shards=2)(rows, logits(rows, 4))))


@pytest.mark.parametrize("kind", [MaskedCrossentropy, RDropCrossentropy])
def test_losses_of_shards_weighed_by_tokens_are_that_of_the_batch(
    twice: BatchedPairs, tokenizer: Tokenizer, rng: np.random.Generator, kind: type
) -> None:
    table = rng.normal(size=(tokenizer.vocabulary_size, tokenizer.vocabulary_size))
    (labels,) = (each[-1] for each in arrays(twice.in_order().take(1)))
    rows = [arrays(twice.shard(2, index).in_order().take(1))[0][-1] for index in range(2)]
    tokens = np.array([np.count_nonzero(each) for each in rows])
    losses = [float(kind(0.1)(each, table[each])) for each in rows]
    expected = float(kind(0.1)(labels, table[labels]))
    assert tokens / tokens.sum() @ losses == pytest.approx(expected, rel=1e-5)


def test_bad_shards(batched: BatchedPairs) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, got 2"):
        batched.shard(2, 2)
    with pytest.raises(ValueError, match=r"at least 1, got 0 and 1"):
        batched.shard(0, 0)
    with pytest.raises(ValueError, match=r"fewer than the 64 devices.*tokens_per_batch to at"):
        batched.shard(32, 0, 2)
