"""Length bucketing: padded shapes and batch sizes from the histogram of sentence lengths.

The joint histogram of source and target lengths determines the number of batches, their shapes and
the share of padding before training starts.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
BatchSizes = Callable[[Counts], Counts]


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Sentence pairs of similar length, padded to the same shape.

    Attributes:
        source_lengths: Minimum and maximum source length in tokens, EOS included.
        target_lengths: Minimum and maximum target length in tokens, EOS included.
        pairs: Number of pairs per epoch.
        batch_size: Pairs per batch; the last batch of an epoch may be smaller.
    """

    source_lengths: tuple[int, int]
    target_lengths: tuple[int, int]
    pairs: int
    batch_size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Padded source and target length."""
        return self.source_lengths[1], self.target_lengths[1]

    @property
    def batches(self) -> int:
        """Batches per epoch, independent of the order of the pairs."""
        return -(-self.pairs // self.batch_size)


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of a mixed corpus in every epoch, see `keras_attn_nmt.training.mixing`.

    Attributes:
        pairs_by_bucket: Kept pairs of the corpus in each bucket.
        taken_by_bucket: How many of them an epoch takes.
        dropped: Dropped pairs of the corpus.
    """

    pairs_by_bucket: tuple[int, ...]
    taken_by_bucket: tuple[int, ...]
    dropped: int = 0

    @property
    def pairs(self) -> int:
        """Kept pairs of the corpus."""
        return sum(self.pairs_by_bucket)

    @property
    def pairs_per_epoch(self) -> int:
        """Pairs in an epoch; a pair that is taken several times counts as often."""
        return sum(self.taken_by_bucket)

    @property
    def epochs(self) -> int:
        """Number of epochs after which every pair has occurred."""
        counts = zip(self.pairs_by_bucket, self.taken_by_bucket, strict=True)
        return max(-(-pairs // taken) for pairs, taken in counts if pairs)

    def summary(self) -> dict[str, int]:
        """The numbers of pairs, for `training.json`."""
        return {
            "pairs": self.pairs,
            "pairs_per_epoch": self.pairs_per_epoch,
            "epochs_for_all": self.epochs,
            "dropped": self.dropped,
        }

    def report(self, number: int) -> str:
        """One line with the numbers of pairs of the mixed corpus with this number."""
        corpus = f"mixed corpus {number}: "
        if self.taken_by_bucket == self.pairs_by_bucket:
            return f"{corpus}all {self.pairs:,} pairs in every epoch"
        if self.pairs_per_epoch > self.pairs:
            return f"{corpus}{self.pairs:,} pairs, repeated to {self.pairs_per_epoch:,} per epoch"
        return (
            f"{corpus}{self.pairs_per_epoch:,} of {self.pairs:,} pairs per epoch, other ones each "
            f"time, all within {self.epochs:,} epochs"
        )


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """Statistics of an epoch: pairs, tokens, padding and buckets.

    Attributes:
        max_length: Maximum source and target length in tokens, EOS included.
        pairs_read: Sentence pairs read. Here and below, every sampled segmentation of a pair
            counts as one pair.
        dropped: Dropped pairs by reason: `"empty"` (blank source or target), `"source_too_long"`
            and `"target_too_long"`. Each pair counts once, for the first reason that applies.
        source_tokens: Source tokens per epoch, including EOS, without padding. Of mixed corpora,
            which each epoch takes another part of, the average over epochs.
        target_tokens: Same for target tokens.
        buckets: The length buckets.
        shares: The parts of the mixed corpora.
        sample: Number of pairs that were counted to estimate all other figures; 0 if all were.
        steps: Batches per epoch if they are estimated or given.
    """

    max_length: int
    pairs_read: int
    dropped: Mapping[str, int]
    source_tokens: int
    target_tokens: int
    buckets: tuple[Bucket, ...]
    shares: tuple[Share, ...] = ()
    sample: int = 0
    steps: int = 0

    @property
    def pairs(self) -> int:
        """Pairs per epoch."""
        return sum(bucket.pairs for bucket in self.buckets)

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch."""
        return self.steps or sum(bucket.batches for bucket in self.buckets)

    @property
    def padding(self) -> float:
        """Share of padding among all source and target positions, in [0, 1]."""
        positions = sum(bucket.pairs * sum(bucket.shape) for bucket in self.buckets)
        return 1 - (self.source_tokens + self.target_tokens) / positions

    def dropped_report(self) -> str:
        """One line with the number of dropped pairs by reason."""
        reasons = {
            "empty": "with an empty side",
            "source_too_long": f"with a source longer than {self.max_length} tokens",
            "target_too_long": f"with a target longer than {self.max_length} tokens",
        }
        parts = [f"{count:,} {reasons[name]}" for name, count in self.dropped.items() if count]
        total = sum(self.dropped.values())
        share = f" ({total / self.pairs_read:.2%})" if total else ""
        return f"dropped {total:,} of {self.pairs_read:,} pairs{share}" + (
            f": {', '.join(parts)}" if parts else ""
        )

    def report(self) -> str:
        """A multi-line summary of the plan."""
        sizes = [bucket.batch_size for bucket in self.buckets]
        buckets = ", ".join(
            f"{bucket.shape[0]}x{bucket.shape[1]}: {bucket.pairs:,} by {bucket.batch_size}"
            for bucket in sorted(self.buckets, key=lambda bucket: bucket.shape)
        )
        pairs = f"{self.pairs:,} kept, {self.dropped_report()}"
        if self.shares:
            mixed = sum(share.pairs_per_epoch for share in self.shares)
            pairs = (
                f"{self.pairs:,} per epoch, {self.pairs - mixed:,} of the first corpus and "
                f"{mixed:,} mixed in; of all corpora, {self.dropped_report()}"
            )
        estimated = [f"estimated from a sample of {self.sample:,} pairs:"] if self.sample else []
        return "\n".join(
            (
                *estimated,
                f"sentence pairs: {pairs}",
                *(share.report(number) for number, share in enumerate(self.shares, 1)),
                f"tokens per epoch: {self.source_tokens:,} source, {self.target_tokens:,} target; "
                f"{self.padding:.1%} of all positions are padding",
                f"batches per epoch: {self.steps_per_epoch:,} in {len(self.buckets)} length "
                f"buckets, batch sizes {min(sizes)} to {max(sizes)} pairs",
                "buckets (source length x target length: pairs by batch size):",
                *textwrap.wrap(buckets, 96, initial_indent="  ", subsequent_indent="  "),
            )
        )

    def bucket_table(self) -> Counts:
        """Bucket index by [source length, target length], int64; -1 where there is no bucket.

        Lengths that an estimated plan never saw get the narrowest bucket with room for them.
        """
        longest_source = max(bucket.shape[0] for bucket in self.buckets)
        longest_target = max(bucket.shape[1] for bucket in self.buckets)
        table = np.full((longest_source + 1, longest_target + 1), -1, np.int64)
        if self.sample:
            widest_first = sorted(enumerate(self.buckets), key=lambda each: -sum(each[1].shape))
            for index, bucket in widest_first:
                table[: bucket.shape[0] + 1, : bucket.shape[1] + 1] = index
        for index, bucket in enumerate(self.buckets):
            (first_source, last_source), (first_target, last_target) = (
                bucket.source_lengths,
                bucket.target_lengths,
            )
            table[first_source : last_source + 1, first_target : last_target + 1] = index
        return table


def by_tokens(tokens_per_batch: int) -> BatchSizes:
    """Batch sizes that limit the number of source plus target positions, padding included.

    Sizes of 8 and more are multiples of 8, which GPUs multiply fastest.
    """

    def sizes(width: Counts) -> Counts:
        pairs = np.maximum(tokens_per_batch // width, 1)
        return np.where(pairs >= 8, pairs // 8 * 8, pairs)

    return sizes


def by_sentences(sentences_per_batch: int) -> BatchSizes:
    """A constant batch size, independent of the width."""
    return lambda width: np.full_like(width, sentences_per_batch)


def plan_buckets(
    histogram: npt.NDArray[Any], batch_sizes: BatchSizes, *, max_padding: float, max_buckets: int
) -> tuple[Bucket, ...]:
    """Partitions the plane of source and target lengths into rectangles with little padding.

    Starts from a single bucket and greedily applies the split that saves the most padding, until
    `max_padding` or `max_buckets` is reached. A split must leave at least one full batch on each
    side, so that rare lengths do not cause many small batches.

    Args:
        histogram: Number of pairs by [source length, target length], whole or expected numbers; not
            empty.
        batch_sizes: Batch size as a function of the width (source plus target length).
        max_padding: Share of padding at which splitting stops, in [0, 1).
        max_buckets: Maximum number of buckets.
    """
    regions = [_Region(0, 0, histogram)]
    cuts = [regions[0].best_cut(batch_sizes)]
    lengths = np.add.outer(np.arange(histogram.shape[0]), np.arange(histogram.shape[1]))
    tokens = int((histogram * lengths).sum())
    while len(regions) < max_buckets:
        if 1 - tokens / sum(region.positions for region in regions) <= max_padding:
            break
        best = max(range(len(cuts)), key=lambda i: cuts[i].saved)
        if cuts[best].saved <= 0:
            break
        first, second = regions[best].split(cuts[best])
        regions[best : best + 1] = [first, second]
        cuts[best : best + 1] = [first.best_cut(batch_sizes), second.best_cut(batch_sizes)]
    return tuple(
        Bucket(
            source_lengths=(region.source_start, region.source_last),
            target_lengths=(region.target_start, region.target_last),
            pairs=region.pairs,
            batch_size=int(batch_sizes(np.array(region.width))),
        )
        for region in regions
    )


@dataclasses.dataclass(frozen=True)
class _Cut:
    """A split after the first `lines` lines along `axis`, saving `saved` padded positions."""

    saved: int
    axis: int = 0
    lines: int = 0


class _Region:
    """A rectangle of the histogram: its cells and the lengths of its first cell."""

    def __init__(self, source_start: int, target_start: int, cells: npt.NDArray[Any]) -> None:
        occupied = cells > 0
        self.source_start = source_start
        self.target_start = target_start
        self.source_last = source_start + int(np.flatnonzero(occupied.any(axis=1))[-1])
        self.target_last = target_start + int(np.flatnonzero(occupied.any(axis=0))[-1])
        self.cells = cells
        self.pairs = int(cells.sum())
        self.width = self.source_last + self.target_last
        self.positions = self.pairs * self.width

    def best_cut(self, batch_sizes: BatchSizes) -> _Cut:
        return max(
            (self._best_cut_along(axis, batch_sizes) for axis in (0, 1)),
            key=lambda cut: cut.saved,
        )

    def _best_cut_along(self, axis: int, batch_sizes: BatchSizes) -> _Cut:
        cells = self.cells if axis == 0 else self.cells.T
        if len(cells) < 2:
            return _Cut(saved=0)
        start, last, other_start = (
            (self.source_start, self.source_last, self.target_start)
            if axis == 0
            else (self.target_start, self.target_last, self.source_start)
        )
        # Per line: number of pairs and the maximum length of the other side (0 if empty).
        pairs = cells.sum(axis=1)
        longest = cells.shape[1] - 1 - np.argmax(cells[:, ::-1] > 0, axis=1)
        longest = np.where(pairs > 0, other_start + longest, 0)
        lengths = np.where(pairs > 0, start + np.arange(len(cells)), 0)
        # Element i is the split between lines i and i + 1.
        near_pairs = np.cumsum(pairs)[:-1]
        near_width = np.maximum.accumulate(lengths)[:-1] + np.maximum.accumulate(longest)[:-1]
        far_pairs = self.pairs - near_pairs
        far_width = last + np.maximum.accumulate(longest[::-1])[::-1][1:]
        full = (near_pairs > 0) & (far_pairs > 0)
        full &= near_pairs >= batch_sizes(np.maximum(near_width, 1))
        full &= far_pairs >= batch_sizes(np.maximum(far_width, 1))
        saved = self.positions - near_pairs * near_width - far_pairs * far_width
        saved = np.where(full, saved, 0)
        best = int(np.argmax(saved))
        return _Cut(saved=int(saved[best]), axis=axis, lines=best + 1)

    def split(self, cut: _Cut) -> tuple[_Region, _Region]:
        if cut.axis == 0:
            near, far = self.cells[: cut.lines], self.cells[cut.lines :]
            far_start = (self.source_start + cut.lines, self.target_start)
        else:
            near, far = self.cells[:, : cut.lines], self.cells[:, cut.lines :]
            far_start = (self.source_start, self.target_start + cut.lines)
        return _Region(self.source_start, self.target_start, near), _Region(*far_start, far)
