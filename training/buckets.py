"""Length buckets: which sentence pairs are padded to one shape, and in batches of how many.

A corpus is known here by its joint histogram of lengths alone, from which everything about an
epoch follows before it begins: batches, shapes, padding.
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
BatchSizes = Callable[[Counts], Counts]


@dataclasses.dataclass(frozen=True)
class Bucket:
    """Sentence pairs of about one length, all padded to the same shape.

    Attributes:
        source_lengths: Shortest and longest source of the bucket, in tokens with eos.
        target_lengths: Shortest and longest target of the bucket, in tokens with eos.
        pairs: Number of pairs in an epoch.
        batch_size: Pairs in a batch; the last batch of an epoch may hold fewer.
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
        """Batches per epoch, whatever the order of the pairs."""
        return -(-self.pairs // self.batch_size)


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """What an epoch over a corpus consists of.

    Attributes:
        max_length: Longest source and target that was kept, in tokens with eos.
        pairs_read: Sentence pairs of the corpus; here and everywhere below, each as often as it is
            sampled.
        dropped: Pairs left out, by reason: `"empty"` (a side without text), `"source_too_long"`
            and `"target_too_long"`. A pair counts once, for the first reason that holds.
        source_tokens: Source tokens per epoch, eos included and padding not.
        target_tokens: Target tokens per epoch, eos included and padding not.
        buckets: The length buckets.
    """

    max_length: int
    pairs_read: int
    dropped: Mapping[str, int]
    source_tokens: int
    target_tokens: int
    buckets: tuple[Bucket, ...]

    @property
    def pairs(self) -> int:
        """Pairs per epoch, those that were kept."""
        return sum(bucket.pairs for bucket in self.buckets)

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch."""
        return sum(bucket.batches for bucket in self.buckets)

    @property
    def padding(self) -> float:
        """Share of padding in all source and target positions of an epoch, from 0 to 1."""
        positions = sum(bucket.pairs * sum(bucket.shape) for bucket in self.buckets)
        return 1 - (self.source_tokens + self.target_tokens) / positions

    def dropped_report(self) -> str:
        """How many pairs were left out and why, in one line."""
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
        """The whole plan as text of a few lines."""
        sizes = [bucket.batch_size for bucket in self.buckets]
        buckets = ", ".join(
            f"{bucket.shape[0]}x{bucket.shape[1]}: {bucket.pairs:,} by {bucket.batch_size}"
            for bucket in sorted(self.buckets, key=lambda bucket: bucket.shape)
        )
        return "\n".join(
            (
                f"sentence pairs: {self.pairs:,} kept, {self.dropped_report()}",
                f"tokens per epoch: {self.source_tokens:,} source, {self.target_tokens:,} target; "
                f"{self.padding:.1%} of all positions is padding",
                f"batches per epoch: {self.steps_per_epoch:,} in {len(self.buckets)} length "
                f"buckets, full ones of {min(sizes)} to {max(sizes)} pairs",
                "buckets (source length x target length: pairs by batch size):",
                *textwrap.wrap(buckets, 96, initial_indent="  ", subsequent_indent="  "),
            )
        )

    def bucket_table(self) -> Counts:
        """Index of the bucket of a pair, int64, at [source length, target length]; -1 for none."""
        longest_source = max(bucket.shape[0] for bucket in self.buckets)
        longest_target = max(bucket.shape[1] for bucket in self.buckets)
        table = np.full((longest_source + 1, longest_target + 1), -1, np.int64)
        for index, bucket in enumerate(self.buckets):
            (first_source, last_source), (first_target, last_target) = (
                bucket.source_lengths,
                bucket.target_lengths,
            )
            table[first_source : last_source + 1, first_target : last_target + 1] = index
        return table


def by_tokens(tokens_per_batch: int) -> BatchSizes:
    """Batches of at most so many source and target positions together, padding included.

    Sizes of 8 and more are multiples of 8, which GPUs multiply fastest.
    """

    def sizes(width: Counts) -> Counts:
        pairs = np.maximum(tokens_per_batch // width, 1)
        return np.where(pairs >= 8, pairs // 8 * 8, pairs)

    return sizes


def by_sentences(sentences_per_batch: int) -> BatchSizes:
    """Batches of one size, whatever their width."""
    return lambda width: np.full_like(width, sentences_per_batch)


def plan_buckets(
    histogram: Counts, batch_sizes: BatchSizes, *, max_padding: float, max_buckets: int
) -> tuple[Bucket, ...]:
    """Cuts the plane of source and target lengths into few rectangles with little padding.

    Starts from one bucket for all and makes, again and again, the cut that saves most padding,
    until padding is rare enough. A cut that would leave less than one full batch on a side is
    not made, so that no rare length costs training steps of a few pairs each.

    Args:
        histogram: Number of pairs at [source length, target length], with at least one pair.
        batch_sizes: Batch size for a width (source and target length together).
        max_padding: Share of padding that is good enough, from 0 to 1.
        max_buckets: Most buckets, reached where `max_padding` is not.
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
    """The first `lines` lines along `axis` are cut off, which saves so many padded positions."""

    saved: int
    axis: int = 0
    lines: int = 0


class _Region:
    """A rectangle of the histogram: its cells, and the lengths that its first cell stands for."""

    def __init__(self, source_start: int, target_start: int, cells: Counts) -> None:
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
        # Per line: its pairs and the longest other side among them (0 in an empty line).
        pairs = cells.sum(axis=1)
        longest = cells.shape[1] - 1 - np.argmax(cells[:, ::-1] > 0, axis=1)
        longest = np.where(pairs > 0, other_start + longest, 0)
        lengths = np.where(pairs > 0, start + np.arange(len(cells)), 0)
        # Element i is about cutting between lines i and i + 1.
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
