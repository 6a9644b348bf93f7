"""Estimates the batches of an epoch from a sample of the corpus."""

from __future__ import annotations

import dataclasses
import hashlib
import math

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_attn_nmt.training.batch_plan import Counted, digested, plan_batches
from keras_attn_nmt.training.buckets import BatchPlan, BatchSizes, Bucket

# Standard errors by which the number of batches exceeds its estimate, so that an epoch has room for
# all of its pairs.
_ERRORS = 3.0
_STEPS_PER_BUCKET = 8


def estimate_plan(
    chunks: tf.data.Dataset,
    corpus_pairs: int,
    steps_per_epoch: int | None,
    max_length: int,
    batch_sizes: BatchSizes,
    max_padding: float,
    max_buckets: int,
) -> tuple[BatchPlan, str]:
    """Plans the batches of an epoch from a sample of the corpus.

    Args:
        chunks: The sample, a dataset of `token_chunks.Chunk`.
        corpus_pairs: Number of pairs in the corpus, as large as the sample or larger.
        steps_per_epoch: Batches per epoch; `None` for a pass over the corpus.
        max_length: See `plan_batches`.
        batch_sizes: See `plan_batches`.
        max_padding: See `plan_batches`.
        max_buckets: See `plan_batches`.

    Returns:
        The plan, and a digest of the tokenized sample and the size of the corpus. `pairs_read` is
        the number of pairs of the corpus that belong to an epoch; they fill almost `steps` batches.
        If the sample is the whole corpus and the epoch a pass, the plan is exact.

    Raises:
        ValueError: See `plan_batches`.
    """
    lengths: list[npt.NDArray[np.uint16]] = []
    outcomes: list[npt.NDArray[np.int64]] = []
    digest = hashlib.blake2b(str(corpus_pairs).encode(), digest_size=8)
    for chunk in digested(chunks, digest):
        pair = np.stack([chunk.source_lengths, chunk.target_lengths])
        lengths.append(pair.astype(np.uint16))
        outcomes.append(chunk.outcomes.astype(np.int64))
    histogram = np.zeros((max_length + 1, max_length + 1), np.int64)
    for source_lengths, target_lengths in lengths:
        np.add.at(histogram, (source_lengths, target_lengths), 1)
    counted = Counted(histogram, np.sum(outcomes, axis=0, dtype=np.int64))
    if steps_per_epoch is not None:
        # Each bucket ends an epoch with a batch that is not full.
        max_buckets = max(1, min(max_buckets, steps_per_epoch // _STEPS_PER_BUCKET))
    plan = plan_batches([counted], max_length, batch_sizes, max_padding, max_buckets)
    sample = plan.pairs_read
    if sample == corpus_pairs and steps_per_epoch is None:
        return plan, digest.hexdigest()

    if not any(bucket.shape == (max_length, max_length) for bucket in plan.buckets):
        longest = (max_length, max_length)
        size = int(batch_sizes(np.array(2 * max_length)))
        room = Bucket(longest, longest, pairs=0, batch_size=size)
        plan = dataclasses.replace(plan, buckets=(*plan.buckets, room))
    plan = dataclasses.replace(plan, sample=sample)
    table = plan.bucket_table()
    batches_per_pair = np.array([1 / bucket.batch_size for bucket in plan.buckets])
    batches = np.array([batches_per_pair[table[tuple(each)]].sum() for each in lengths])
    pairs = np.array([each.sum() for each in outcomes])
    estimate = _Estimate(batches, pairs, corpus_pairs, partial=len(plan.buckets))
    if steps_per_epoch is None:
        steps, epoch = estimate.steps(corpus_pairs), corpus_pairs
    else:
        steps, epoch = steps_per_epoch, estimate.pairs(steps_per_epoch)
    dropped = {name: round(each * epoch / sample) for name, each in plan.dropped.items()}
    kept = np.cumsum([bucket.pairs for bucket in plan.buckets])
    # Rounded so that they add up.
    by_bucket = np.diff(np.rint(kept * (epoch - sum(dropped.values())) / kept[-1]), prepend=0)
    plan = dataclasses.replace(
        plan,
        pairs_read=epoch,
        dropped=dropped,
        source_tokens=round(plan.source_tokens * epoch / sample),
        target_tokens=round(plan.target_tokens * epoch / sample),
        buckets=tuple(
            dataclasses.replace(bucket, pairs=int(pairs))
            for bucket, pairs in zip(plan.buckets, by_bucket, strict=True)
        ),
        steps=steps,
    )
    return plan, digest.hexdigest()


class _Estimate:
    """The number of batches that pairs of the corpus fill, with its standard error.

    Args:
        batches: Batches, as fractions, that each chunk of the sample fills.
        pairs: Pairs of each chunk, dropped ones included.
        corpus: Pairs of the corpus.
        partial: Maximum number of batches that are not full.
    """

    def __init__(
        self,
        batches: npt.NDArray[np.float64],
        pairs: npt.NDArray[np.int64],
        corpus: int,
        partial: int,
    ) -> None:
        self._rate = float(batches.sum() / pairs.sum())
        self._sample = int(pairs.sum())
        self._chunks = len(pairs)
        self._corpus = corpus
        self._partial = partial
        # Ratio estimator: the deviation of the chunks from the common rate.
        self._variance = float(np.mean((batches - self._rate * pairs) ** 2))

    def steps(self, pairs: int) -> int:
        """Batches for a number of pairs, with room for errors and batches that are not full."""
        return math.ceil(self._rate * pairs + self._margin(pairs)) + self._partial

    def pairs(self, steps: int) -> int:
        """Number of pairs for which there is room in a number of batches.

        In short epochs, where batches that are not full count, there may be more batches.
        """
        pairs = max(steps - self._partial, 1) / self._rate
        pairs = (steps - self._partial - self._margin(pairs)) / self._rate
        return max(1, int(max(pairs, 0.5 * steps / self._rate)))

    def _margin(self, pairs: float) -> float:
        unseen = 1 - self._sample / self._corpus
        of_rate = (pairs / self._sample) ** 2 * self._chunks * unseen
        of_choice = pairs / self._sample * self._chunks * max(0.0, 1 - pairs / self._corpus)
        return _ERRORS * math.sqrt(self._variance * (of_rate + of_choice))
