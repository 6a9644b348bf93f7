"""The bucket plan: covers every length once, pads little, and counts exactly."""

import numpy as np
import pytest

from keras_attn_nmt.training.buckets import (
    BatchPlan,
    Bucket,
    Counts,
    by_sentences,
    by_tokens,
    plan_buckets,
)


def histogram_of(lengths: np.ndarray) -> Counts:
    histogram = np.zeros(lengths.max(axis=0) + 1, np.int64)
    np.add.at(histogram, tuple(lengths.T), 1)
    return histogram


@pytest.fixture
def lengths(rng: np.random.Generator) -> np.ndarray:
    """Source and target lengths of 5,000 pairs, shape (5000, 2), long ones rare."""
    source = 2 + rng.gamma(4, 4, 5000)
    target = source * rng.normal(1, 0.15, 5000)
    return np.clip(np.stack([source, target], axis=1), 2, 80).astype(np.int64)


def plan_of(lengths: np.ndarray, buckets: tuple[Bucket, ...]) -> BatchPlan:
    source, target = (int(total) for total in lengths.sum(axis=0))
    return BatchPlan(100, len(lengths), {}, source, target, buckets)


def test_every_pair_fits_its_bucket(lengths: np.ndarray) -> None:
    buckets = plan_buckets(histogram_of(lengths), by_tokens(1024), max_padding=0.06, max_buckets=48)
    plan = plan_of(lengths, buckets)
    indices = plan.bucket_table()[tuple(lengths.T)]
    assert indices.min() >= 0
    for index, bucket in enumerate(buckets):
        inside = lengths[indices == index]
        assert len(inside) == bucket.pairs
        # Padded to the longest of them and no further.
        assert tuple(inside.max(axis=0)) == bucket.shape
        assert bucket.batch_size * sum(bucket.shape) <= 1024
        assert bucket.batch_size % 8 == 0 or bucket.batch_size < 8
    padded = np.array([bucket.shape for bucket in buckets])[indices]
    assert plan.padding == pytest.approx(1 - lengths.sum() / padded.sum())
    assert plan.padding <= 0.06
    assert plan.pairs == len(lengths)


def test_bucketing_stops_at_the_padding_target(lengths: np.ndarray) -> None:
    histogram = histogram_of(lengths)
    counts = [
        len(plan_buckets(histogram, by_tokens(4096), max_padding=padding, max_buckets=48))
        for padding in (0.9, 0.2, 0.1, 0.05)
    ]
    assert counts[0] == 1
    assert counts == sorted(set(counts))
    assert len(plan_buckets(histogram, by_tokens(4096), max_padding=0, max_buckets=7)) == 7


@pytest.mark.parametrize("batch_sizes", [by_tokens(2048), by_sentences(64)])
def test_every_bucket_fills_at_least_one_batch(lengths: np.ndarray, batch_sizes) -> None:  # type: ignore[no-untyped-def]
    buckets = plan_buckets(histogram_of(lengths), batch_sizes, max_padding=0, max_buckets=1000)
    assert len(buckets) > 10
    assert all(bucket.pairs >= bucket.batch_size for bucket in buckets)


def test_first_split_is_optimal() -> None:
    lengths = np.array([[4, 4]] * 10 + [[4, 20]] * 10 + [[20, 20]] * 10)
    buckets = plan_buckets(histogram_of(lengths), by_sentences(5), max_padding=0, max_buckets=9)
    assert [(bucket.shape, bucket.pairs, bucket.batches) for bucket in buckets] == [
        ((4, 4), 10, 2),
        ((4, 20), 10, 2),
        ((20, 20), 10, 2),
    ]
    assert plan_of(lengths, buckets).padding == 0


def test_single_pair() -> None:
    [bucket] = plan_buckets(
        histogram_of(np.array([[3, 5]])), by_tokens(512), max_padding=0.06, max_buckets=48
    )
    assert (bucket.shape, bucket.pairs, bucket.batch_size, bucket.batches) == ((3, 5), 1, 64, 1)


def test_report() -> None:
    dropped = {"empty": 2, "source_too_long": 0, "target_too_long": 10}
    buckets = (Bucket((2, 10), (2, 10), 900, 64), Bucket((2, 20), (11, 30), 100, 32))
    plan = BatchPlan(50, 1012, dropped, 9000, 12000, buckets)
    assert plan.report().splitlines() == [
        "sentence pairs: 1,000 kept, dropped 12 of 1,012 pairs (1.19%): 2 with an empty side, "
        "10 with a target longer than 50 tokens",
        "tokens per epoch: 9,000 source, 12,000 target; 8.7% of all positions are padding",
        "batches per epoch: 19 in 2 length buckets, batch sizes 32 to 64 pairs",
        "buckets (source length x target length: pairs by batch size):",
        "  10x10: 900 by 64, 20x30: 100 by 32",
    ]
