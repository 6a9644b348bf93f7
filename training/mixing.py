"""Mixing corpora by ratio: a data set of several corpora, and the part of each in an epoch.

Each epoch takes the next part of a mixed corpus, in a seeded order and separately for each length
bucket. Epochs therefore differ in their pairs but not in the number and the shapes of their
batches, and in the end every pair has had its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf

from keras_attn_nmt.training.buckets import BatchPlan, Share
from keras_attn_nmt.training.mix_recipe import check_ratio
from keras_attn_nmt.training.token_chunks import Chunk, ragged

# Distinguishes the orders of several mixed corpora.
_SEED_STEP = 1_000_003
_LARGEST_SEED = 2**31 - 1

# A corpus, and its pairs per pair of the first corpus.
Other = tuple[tf.data.Dataset, float | None]


@dataclasses.dataclass(frozen=True)
class MixedPairs:
    """Several corpora for `BatchedPairs`, see `mixed`.

    Attributes:
        pairs: The first corpus: each of its pairs occurs once per epoch.
        others: The other corpora, each with its ratio or `None`.
    """

    pairs: tf.data.Dataset
    others: tuple[Other, ...]

    def once(self) -> tf.data.Dataset:
        """Each pair of every corpus once, one corpus after the other."""
        result = self.pairs
        for other, _ in self.others:
            result = result.concatenate(other)
        return result

    def scaled(self, ratio: float | None) -> Iterator[Other]:
        """The same corpora as others of another corpus, in the shares that they have here.

        Args:
            ratio: Pairs of all of them together per pair of the other corpus, or `None`.
        """
        corpora = [(self.pairs, 1.0), *self.others]
        if ratio is None:
            yield from ((pairs, None) for pairs, _ in corpora)
            return
        first = count_pairs(self.pairs)
        sizes = [count_pairs(pairs) if share is None else share * first for pairs, share in corpora]
        for (pairs, _), size in zip(corpora, sizes, strict=True):
            yield pairs, ratio * size / sum(sizes)


def mixed(pairs: tf.data.Dataset, *others: Other) -> MixedPairs:
    """Mixes corpora by ratio, such as new data and old data that must not be forgotten.

    Args:
        pairs: Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape
            `()`, see `keras_attn_nmt.training.corpora`. Each of its pairs occurs once per epoch.
        *others: `(dataset, ratio)`: datasets of the same form, and the number of their pairs per
            pair of `pairs` in an epoch. With 1.0, an epoch has as many of them as of `pairs`. Each
            epoch takes the next part of the dataset in a seeded order, so that every pair has its
            turn; a smaller dataset is repeated. With `None`, each pair occurs once per epoch.

    Returns:
        `MixedPairs`, for `BatchedPairs`.

    Raises:
        ValueError: A ratio is not a positive number, or some datasets have alignments and others
            have not.

    Example:
        pairs = mixed(read_lines("new.de", "new.en"), (read_lines("old.de", "old.en"), 2.0))
        train = BatchedPairs(pairs, german, english, tokens_per_batch=4096)
        model.fit(train.epochs(10), epochs=10, steps_per_epoch=train.plan.steps_per_epoch)
    """
    for number, other in enumerate(others, 1):
        if not isinstance(other, tuple) or len(other) != 2:
            raise ValueError(f"Corpus {number} to mix in must be (dataset, ratio), got {other!r}.")
        dataset, ratio = other
        if ratio is not None:
            check_ratio(f"The ratio of corpus {number} to mix in", ratio, "the first corpus")
        widths = [columns(each) for each in (pairs, dataset)]
        if widths[0] != widths[1]:
            raise ValueError(
                f"Corpus {number} to mix in has {'no ' if widths[1] == 2 else ''}word alignments, "
                f"but the first corpus has {'none' if widths[0] == 2 else 'them'}: give alignments "
                "for all corpora or for none."
            )
    return MixedPairs(pairs, others)


def columns(pairs: tf.data.Dataset) -> int:
    """2, or 3 with word alignments; raises `ValueError` unless it is a dataset of pairs."""
    spec = getattr(pairs, "element_spec", None)
    string = tf.TensorSpec([], tf.string)
    if not (
        isinstance(spec, tuple)
        and len(spec) in (2, 3)
        and all(map(string.is_compatible_with, spec))
    ):
        raise ValueError(
            "pairs must be an unbatched tf.data.Dataset of (source, target) or (source, target, "
            "alignment) scalar strings, see keras_attn_nmt.training.corpora; got "
            f"{spec or type(pairs).__name__}"
        )
    return len(spec)


def corpora_of(pairs: tf.data.Dataset | MixedPairs) -> list[Other]:
    """All corpora with their ratios; that of the first one is `None`."""
    if isinstance(pairs, MixedPairs):
        return [(pairs.pairs, None), *pairs.others]
    return [(pairs, None)]


def count_pairs(pairs: tf.data.Dataset) -> int:
    """The number of pairs of a corpus, read if it is not known."""
    known = int(pairs.cardinality())
    if known >= 0:
        return known
    return sum(len(chunk[0]) for chunk in pairs.batch(1024).as_numpy_iterator())


def epoch_part(
    chunks: tf.data.Dataset, plan: BatchPlan, number: int, seed: int, epoch: tf.Tensor
) -> tf.data.Dataset:
    """The part of a mixed corpus that an epoch takes.

    Args:
        chunks: The whole corpus, a dataset of `Chunk`.
        plan: The plan of all corpora.
        number: Position of the corpus in `plan.shares`.
        seed: Seed of the order.
        epoch: Epoch number, int64, shape `()`.

    Returns:
        Dataset of `Chunk`, with a repeated pair as several ones. `outcomes` are those of the whole
        chunk.
    """
    share = plan.shares[number]
    if share.pairs_by_bucket == share.taken_by_bucket:
        return chunks
    table = tf.constant(plan.bucket_table())
    sizes = len(plan.buckets)

    def ranked(seen: tf.Tensor, chunk: Chunk) -> tuple[tf.Tensor, tuple[Chunk, Any, Any]]:
        # The rank of a pair among the pairs of its bucket, in the order of the corpus.
        lengths = tf.stack([chunk.source_lengths, chunk.target_lengths], axis=1)
        bucket = tf.gather_nd(table, lengths)
        here = tf.one_hot(bucket, sizes, dtype=tf.int64)
        ranks = tf.cumsum(here, exclusive=True) + seen
        return seen + tf.reduce_sum(here, axis=0), (
            chunk,
            bucket,
            tf.gather(ranks, bucket, batch_dims=1),
        )

    def taken(chunk: Chunk, bucket: tf.Tensor, rank: tf.Tensor) -> Chunk:
        order = (seed + number * _SEED_STEP) % _LARGEST_SEED
        copies = _copies(share, bucket, rank, order, epoch)
        return _rows(chunk, tf.repeat(tf.range(tf.size(copies, tf.int64)), copies))

    return chunks.scan(tf.zeros([sizes], tf.int64), ranked).map(taken)


def _copies(
    share: Share, bucket: tf.Tensor, rank: tf.Tensor, seed: int, epoch: tf.Tensor
) -> tf.Tensor:
    """How often an epoch takes each pair, int64, shape `(pairs,)`.

    The corpus is repeated without end, each time in another order; epochs are consecutive parts.
    """
    pairs = tf.gather(tf.constant(share.pairs_by_bucket, tf.int64), bucket)
    start = tf.gather(tf.constant(share.taken_by_bucket, tf.int64), bucket) * epoch
    end = tf.gather(tf.constant(share.taken_by_bucket, tf.int64), bucket) * (epoch + 1)
    first, last = start // pairs, tf.maximum(end - 1, start) // pairs

    def taken_in(repetition: tf.Tensor) -> tf.Tensor:
        seeds = tf.stack([tf.fill(tf.shape(rank), tf.constant(seed, tf.int64)), bucket, repetition])
        # The Python function refuses a seed for each index (TensorFlow 2.21).
        place = tf.raw_ops.RandomIndexShuffle(
            index=rank, seed=tf.transpose(seeds), max_index=pairs - 1
        )
        place += repetition * pairs
        return tf.cast((place >= start) & (place < end), tf.int64)

    between = tf.maximum(last - first - 1, 0)
    return taken_in(first) + between + tf.where(last > first, taken_in(last), 0)


def _rows(chunk: Chunk, rows: tf.Tensor) -> Chunk:
    def picked(values: tf.Tensor, lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.gather(ragged(values, lengths), rows)
        return found.flat_values, found.row_lengths()

    source_ids, source_lengths = picked(chunk.source_ids, chunk.source_lengths)
    target_ids, target_lengths = picked(chunk.target_ids, chunk.target_lengths)
    links, link_counts = picked(chunk.links, chunk.link_counts)
    return Chunk(
        source_ids=source_ids,
        source_lengths=source_lengths,
        target_ids=target_ids,
        target_lengths=target_lengths,
        links=links,
        link_counts=link_counts,
        outcomes=chunk.outcomes,
    )


def spread(parts: Iterable[tf.data.Dataset], pairs: list[int], seed: tf.Tensor) -> tf.data.Dataset:
    """Mixes the pairs of several data sets randomly, in proportion to their numbers."""
    return tf.data.Dataset.sample_from_datasets(
        list(parts),
        [number / sum(pairs) for number in pairs],
        seed=seed,
        stop_on_empty_dataset=False,
        rerandomize_each_iteration=False,
    )
