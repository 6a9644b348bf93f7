"""Counts the pairs of all corpora by length and plans the batches of an epoch."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_attn_nmt.training import token_chunks
from keras_attn_nmt.training.buckets import BatchPlan, BatchSizes, Bucket, Counts, Share
from keras_attn_nmt.training.buckets import plan_buckets as _plan_buckets

_logger = logging.getLogger(__name__)

_PROGRESS_PAIRS = 1_000_000


class Counted(NamedTuple):
    """A counted corpus.

    Attributes:
        histogram: Number of kept pairs by [source length, target length].
        outcomes: Number of pairs by outcome, see `token_chunks`.
        ratio: Pairs per epoch and pair of the first corpus; `None` takes each pair once.
        digest: BLAKE2 of the tokenized pairs, in hexadecimal.
    """

    histogram: Counts
    outcomes: Counts
    ratio: float | None = None
    digest: str = ""

    @property
    def kept(self) -> int:
        return int(self.outcomes[token_chunks.KEPT])


def count_lengths(chunks: tf.data.Dataset, max_length: int, ratio: float | None) -> Counted:
    """Reads a corpus of `token_chunks.Chunk` and counts its pairs by length and by outcome."""
    histogram = np.zeros((max_length + 1, max_length + 1), np.int64)
    outcomes = np.zeros(5, np.int64)
    progress, digest = _PROGRESS_PAIRS, hashlib.blake2b(digest_size=8)
    for chunk in digested(chunks, digest):
        np.add.at(histogram, (chunk.source_lengths, chunk.target_lengths), 1)
        outcomes += chunk.outcomes
        if outcomes.sum() >= progress:
            _logger.info("%s sentence pairs tokenized and counted", f"{outcomes.sum():,}")
            progress += _PROGRESS_PAIRS
    return Counted(histogram, outcomes, ratio, digest.hexdigest())


def digested(chunks: tf.data.Dataset, digest: hashlib.blake2b) -> Iterator[token_chunks.Chunk]:
    """Yields each chunk as arrays of NumPy, after adding it to a digest."""
    for chunk in chunks.as_numpy_iterator():
        for each in chunk:
            digest.update(each.tobytes())
        yield chunk


def plan_batches(
    corpora: Sequence[Counted],
    max_length: int,
    batch_sizes: BatchSizes,
    max_padding: float,
    max_buckets: int,
) -> BatchPlan:
    """Plans the batches of an epoch.

    Args:
        corpora: The counted corpora; the first one has no ratio.
        max_length: Maximum source and target length in tokens, EOS included.
        batch_sizes: Batch size as a function of the width.
        max_padding: See `BatchedPairs`.
        max_buckets: See `BatchedPairs`.

    Raises:
        ValueError: A corpus is empty, misaligned, or has only pairs that are dropped.
    """
    for number, corpus in enumerate(corpora):
        _check(corpus, max_length, f" of mixed corpus {number}" if number else "")
    first, *others = corpora
    wanted = [_wanted(other, first.kept) for other in others]
    # Expected number of pairs per epoch.
    histogram: npt.NDArray[Any] = first.histogram
    for other, pairs in zip(others, wanted, strict=True):
        histogram = histogram + other.histogram * (pairs / other.kept)
    buckets = _plan_buckets(
        histogram, batch_sizes, max_padding=max_padding, max_buckets=max_buckets
    )
    per_bucket = [[_pairs_in(bucket, each.histogram) for bucket in buckets] for each in corpora]
    shares = [
        Share(pairs, _apportion(pairs, total), dropped=sum(_dropped(other).values()))
        for other, pairs, total in zip(others, map(tuple, per_bucket[1:]), wanted, strict=True)
    ]
    lengths = np.arange(max_length + 1)
    tokens = [
        float(first.histogram.sum(axis=axis) @ lengths)
        + sum(
            _tokens(bucket, other.histogram, axis) * taken / max(pairs, 1)
            for other, share in zip(others, shares, strict=True)
            for bucket, pairs, taken in zip(
                buckets, share.pairs_by_bucket, share.taken_by_bucket, strict=True
            )
        )
        for axis in (1, 0)
    ]
    return BatchPlan(
        max_length=max_length,
        pairs_read=sum(int(corpus.outcomes.sum()) for corpus in corpora),
        dropped={
            reason: sum(_dropped(corpus)[reason] for corpus in corpora)
            for reason in _dropped(first)
        },
        source_tokens=round(tokens[0]),
        target_tokens=round(tokens[1]),
        buckets=tuple(
            dataclasses.replace(
                bucket,
                pairs=per_bucket[0][index] + sum(each.taken_by_bucket[index] for each in shares),
            )
            for index, bucket in enumerate(buckets)
        ),
        shares=tuple(shares),
    )


def _dropped(corpus: Counted) -> dict[str, int]:
    return {
        "empty": int(corpus.outcomes[token_chunks.EMPTY]),
        "source_too_long": int(corpus.outcomes[token_chunks.SOURCE_TOO_LONG]),
        "target_too_long": int(corpus.outcomes[token_chunks.TARGET_TOO_LONG]),
    }


def _check(corpus: Counted, max_length: int, which: str) -> None:
    outcomes = corpus.outcomes
    if not outcomes.sum():
        raise ValueError(f"the data set{which} is empty: expected at least one sentence pair")
    if outcomes[token_chunks.MISALIGNED]:
        raise ValueError(
            f"{outcomes[token_chunks.MISALIGNED]:,} sentence pairs{which} have alignment links to "
            "words that do not exist (words are separated by spaces and counted from 0), or words "
            "that the vocabulary's normalization divides, joins or leaves out, such as those with "
            "no-break spaces or of invisible characters only: check that the alignment belongs to "
            "this text, and normalize the text before it is aligned"
        )
    if not corpus.kept:
        raise ValueError(
            f"all {outcomes.sum():,} sentence pairs{which} were dropped: they are empty or longer "
            f"than max_length={max_length} tokens ({_dropped(corpus)}); raise max_length or check "
            "the data"
        )


def _wanted(other: Counted, first: int) -> int:
    return other.kept if other.ratio is None else max(1, round(other.ratio * first))


def _part(bucket: Bucket, histogram: Counts) -> Counts:
    (first_source, last_source), (first_target, last_target) = (
        bucket.source_lengths,
        bucket.target_lengths,
    )
    return histogram[first_source : last_source + 1, first_target : last_target + 1]


def _pairs_in(bucket: Bucket, histogram: Counts) -> int:
    return int(_part(bucket, histogram).sum())


def _tokens(bucket: Bucket, histogram: Counts, axis: int) -> float:
    """Source (`axis` 1) or target (`axis` 0) tokens of the pairs of a bucket."""
    first = (bucket.target_lengths, bucket.source_lengths)[axis][0]
    counts = _part(bucket, histogram).sum(axis=axis)
    return float(counts @ (first + np.arange(len(counts))))


def _apportion(pairs: tuple[int, ...], total: int) -> tuple[int, ...]:
    """Divides `total` in proportion to `pairs` (largest remainders), at least 1 each.

    Without this minimum, a rare length might never have its turn.
    """
    exact = [total * each / sum(pairs) for each in pairs]
    parts = [int(each) for each in exact]
    by_remainder = sorted(range(len(pairs)), key=lambda i: parts[i] - exact[i])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return tuple(max(part, int(each > 0)) for part, each in zip(parts, pairs, strict=True))
