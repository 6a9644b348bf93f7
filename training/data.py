"""The input pipeline: sentence pairs to `tf.data` batches for `model.fit`.

    tokenize -> drop empty and too long pairs -> cache -> shuffle -> length buckets -> pad

The corpus is counted once before training, so the number of batches, their shapes and the share of
padding are known exactly. The order of an epoch depends only on the seed and the epoch number.
"""

from __future__ import annotations

import copy
import functools
import itertools
import logging
import os
from typing import Any

import tensorflow as tf

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.deprecation import renamed_arguments
from keras_attn_nmt.text.special_ids import BOS, PAD
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import shards, token_chunks
from keras_attn_nmt.training.batch_plan import count_lengths, plan_batches
from keras_attn_nmt.training.buckets import BatchPlan, BatchSizes, by_sentences, by_tokens
from keras_attn_nmt.training.mixing import MixedPairs, columns, corpora_of, epoch_part, spread
from keras_attn_nmt.training.token_alignment import TokenWords, token_alignment

_logger = logging.getLogger(__name__)

# Buckets emit their incomplete batches at the end of an epoch. Shuffling the batches spreads them.
_MIXED_BATCHES = 128
_PREFETCHED_BATCHES = 16


class BatchedPairs:
    """Length-bucketed, reproducible batches of a parallel corpus, ready for `fit`.

    The constructor reads and tokenizes the corpus once, counts lengths, and logs the plan (INFO)
    and the dropped pairs (WARNING).

    A batch is `({"source": (B, S), "target": (B, T)}, {"logits": (B, T)})`, int32, padded with 0 on
    the right. "source" ends in EOS; "target" is the decoder input, the target shifted right (BOS
    first); "logits" are the labels, which end in EOS. Every kept pair occurs exactly once per epoch
    (`segmentation_samples` times, in different segmentations), and batches have few distinct shapes
    (`plan.buckets`). With word alignments, the labels also have `"attention"`, float32 `(B, T, S)`,
    for `GuidedAlignment`: 1 between all tokens of linked words, else 0.

    Args:
        pairs: Dataset of `(source, target)`, or `(source, target, alignment)`, scalar strings in
            UTF-8, see `keras_attn_nmt.training.corpora`; alignments are in Pharaoh format. Every
            iteration must yield the same pairs. Or several of them from
            `keras_attn_nmt.training.mixing.mixed`.
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language; may be the same one.
        tokens_per_batch: Maximum number of source plus target positions per batch, padding
            included, so that batches of short sentences hold more pairs. Mutually exclusive with
            `sentences_per_batch`.
        sentences_per_batch: Pairs per batch.
        max_length: Maximum source and target length in tokens, EOS included; longer pairs are
            dropped.
        max_padding: Target share of padding; smaller values need more buckets.
        max_buckets: Maximum number of length buckets.
        shuffle_buffer: Size of the shuffle buffer in pairs.
        cache: Cache of the tokenized corpus: `True` in memory, a path on disk (must not exist
            yet), `False` none, so that each epoch tokenizes again in constant memory.
        segmentation_samples: Segmentations of each pair per epoch (subword regularization): the
            deterministic one, which decides whether a pair is kept, and sampled ones, drawn once
            and the same in every epoch.
        sampling_alpha: Smoothing or dropout rate of the sampling, see `SubwordSampler`.
        sampling_seed: Seed of the sampling.
        dropout_passes: Number of times a batch repeats its pairs, in addition to
            `tokens_per_batch` and not counted in the plan: 2 for `RDropCrossentropy`.

    The former names `samples` and `copies` of `segmentation_samples` and `dropout_passes` are
    deprecated.

    Attributes:
        plan: `BatchPlan` with kept and dropped pairs, tokens, padding, buckets, `steps_per_epoch`.
        digests: Digest of the tokenized pairs of each corpus.

    Raises:
        ValueError: `pairs` is not a dataset of string pairs, an argument is out of range or given
            under two names, or all pairs are dropped.
        FileExistsError: The cache file already exists.

    Example:
        train = BatchedPairs(pairs, tokenizer, tokenizer, tokens_per_batch=4096)
        model.fit(train.shuffled(seed=1), epochs=10, validation_data=validation.in_order())
    """

    plan: BatchPlan
    digests: tuple[str, ...]

    @renamed_arguments(samples="segmentation_samples", copies="dropout_passes")
    def __init__(
        self,
        pairs: tf.data.Dataset | MixedPairs,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        *,
        tokens_per_batch: int | None = None,
        sentences_per_batch: int | None = None,
        max_length: int = 100,
        max_padding: float = 0.06,
        max_buckets: int = 48,
        shuffle_buffer: int = 200_000,
        cache: bool | str | os.PathLike[str] = True,
        segmentation_samples: int = 1,
        sampling_alpha: float = 0.2,
        sampling_seed: int = 0,
        dropout_passes: int = 1,
    ) -> None:
        corpora = corpora_of(pairs)
        self._aligned = [columns(each) for each, _ in corpora].count(3) > 0
        check_settings(
            max_padding,
            max_length=(max_length, 2),
            max_buckets=(max_buckets, 1),
            shuffle_buffer=(shuffle_buffer, 1),
            segmentation_samples=(segmentation_samples, 1),
            dropout_passes=(dropout_passes, 1),
        )
        batch_sizes = batch_sizes_of(tokens_per_batch, sentences_per_batch, max_length)

        self._chunks = []
        counted = []
        for number, (corpus, ratio) in enumerate(corpora):
            chunks = token_chunks.tokenize_pairs(
                corpus,
                source_tokenizer,
                target_tokenizer,
                max_length,
                segmentation_samples=segmentation_samples,
                alpha=sampling_alpha,
                seed=sampling_seed,
            )
            if cache is not False:
                path = "" if cache is True else _unused(cache, number)
                chunks = chunks.cache(path)
            self._chunks.append(chunks)
            counted.append(count_lengths(chunks, max_length, ratio))
        self.plan = plan_batches(counted, max_length, batch_sizes, max_padding, max_buckets)
        self.digests = tuple(each.digest for each in counted)
        self._dropout_passes = dropout_passes
        self._shard = shards.WHOLE
        self._words = (TokenWords(source_tokenizer), TokenWords(target_tokenizer))
        self._shuffle_buffer = min(shuffle_buffer, self.plan.pairs)
        if sum(self.plan.dropped.values()):
            _logger.warning("%s", self.plan.dropped_report())
        _logger.info("%s", self.plan.report())

    def shard(self, count: int, index: int, devices: int = 1) -> BatchedPairs:
        """The rows of one of `count` processes in the same batches.

        The shards of a batch, one after the other, are the batch followed by rows of padding, which
        weigh nothing in losses and metrics of real tokens. All batches of a bucket have the same
        shape. With `dropout_passes`, the rows of each device hold all passes of their sentences.

        Args:
            count: Number of processes.
            index: Number of this process, from 0.
            devices: Devices of each process, among which a shard is divided evenly.

        Raises:
            ValueError: An argument is out of range, or a bucket has fewer pairs per batch than
                there are devices.
        """
        sharded = copy.copy(self)
        sharded._shard = shards.Shard(count, index, devices)
        sharded._shard.check(self.plan)
        return sharded

    def shuffled(self, seed: int = 0) -> tf.data.Dataset:
        """One epoch of `plan.steps_per_epoch` batches, the next one of `epochs` at each iteration.

        Keras may use an iteration to build the model, as on JAX. The dataset counts in this
        process, so it cannot be sent to another one.
        """
        numbers = itertools.count()
        number = tf.TensorSpec((), tf.int64)
        epoch = tf.data.Dataset.from_generator(lambda: [next(numbers)], output_signature=number)
        return self._finish(epoch.flat_map(lambda number: self._epoch(seed, number)), epochs=1)

    def epochs(self, epochs: int, *, initial_epoch: int = 0, seed: int = 0) -> tf.data.Dataset:
        """Epochs `initial_epoch` to `epochs - 1` as one dataset.

        The order of an epoch depends only on `seed` and the epoch number, so an interrupted run
        can be resumed exactly:

            model.fit(data.epochs(10, initial_epoch=4), epochs=10, initial_epoch=4,
                      steps_per_epoch=data.plan.steps_per_epoch)

        With `steps_per_execution`, Keras runs more steps in an epoch where it does not divide
        `steps_per_epoch`.
        """
        if not 0 <= initial_epoch < epochs:
            raise ValueError(
                f"initial_epoch must be from 0 to epochs - 1 = {epochs - 1}, got {initial_epoch}"
            )
        numbers = tf.data.Dataset.range(initial_epoch, epochs)
        batches = numbers.flat_map(lambda number: self._epoch(seed, number))
        return self._finish(batches, epochs=epochs - initial_epoch)

    def in_order(self) -> tf.data.Dataset:
        """One epoch without shuffling, for evaluation; the first epoch of mixed corpora."""
        parts = self._parts(0, tf.constant(0, tf.int64))
        pairs = functools.reduce(lambda before, after: before.concatenate(after), parts)
        return self._finish(self._batches(pairs), epochs=1)

    def _epoch(self, seed: int, number: tf.Tensor) -> tf.data.Dataset:
        # Sets the seed of flat_map's graph; otherwise the order would also depend on the global
        # seed. (TensorFlow rejects a global seed of 0 with a tensor as op seed.)
        tf.random.set_seed(seed % (2**31 - 2) + 1)
        pairs, *others = self._parts(seed, number)
        if others:
            mixed_in = [share.pairs_per_epoch for share in self.plan.shares]
            sizes = [self.plan.pairs - sum(mixed_in), *mixed_in]
            pairs = spread([pairs, *others], sizes, seed=2 * number)
        return self._shuffled_batches(pairs, number)

    def _shuffled_batches(self, pairs: tf.data.Dataset, number: tf.Tensor) -> tf.data.Dataset:
        """The batches of an epoch, from all of its pairs."""
        pairs = pairs.shuffle(self._shuffle_buffer, seed=2 * number, reshuffle_each_iteration=False)
        return self._batches(pairs).shuffle(
            _MIXED_BATCHES, seed=2 * number + 1, reshuffle_each_iteration=False
        )

    def _parts(self, seed: int, epoch: tf.Tensor) -> list[tf.data.Dataset]:
        """The pairs of each corpus in an epoch, in the order of the corpus."""
        first, *others = self._chunks
        parts = [
            epoch_part(chunks, self.plan, number, seed, epoch)
            for number, chunks in enumerate(others)
        ]
        return [self._pairs(chunks) for chunks in (first, *parts)]

    def _pairs(self, chunks: tf.data.Dataset) -> tf.data.Dataset:
        """`(source (S,), target (T,), links (L, 2), bucket ())` of each pair."""
        table = tf.constant(self.plan.bucket_table())

        def pairs_of(chunk: token_chunks.Chunk) -> tuple[Any, ...]:
            lengths = tf.stack([chunk.source_lengths, chunk.target_lengths], axis=1)
            return (
                token_chunks.ragged(chunk.source_ids, chunk.source_lengths),
                token_chunks.ragged(chunk.target_ids, chunk.target_lengths),
                token_chunks.ragged(chunk.links, chunk.link_counts),
                tf.gather_nd(table, lengths),
            )

        # Not from_tensor_slices: its elements are views, and one of them in a shuffle buffer would
        # keep the whole chunk in memory.
        return chunks.map(pairs_of).unbatch()

    def _batches(self, pairs: tf.data.Dataset) -> tf.data.Dataset:
        buckets = self.plan.buckets
        batch_sizes = tf.constant([bucket.batch_size for bucket in buckets], tf.int64)
        shapes = tf.constant([bucket.shape for bucket in buckets], tf.int64)

        # tf.gather fails on -1 (lengths that were not counted); indexing would not.
        def batch_size(bucket: tf.Tensor) -> tf.Tensor:
            return tf.gather(batch_sizes, bucket)

        def batch_of(bucket: tf.Tensor, window: tf.data.Dataset) -> tf.data.Dataset:
            shape, size = tf.gather(shapes, bucket), batch_size(bucket)
            return window.batch(size).map(
                lambda source, target, links, _: self._batch(source, target, links, shape, size)
            )

        return pairs.group_by_window(
            key_func=lambda source, target, links, bucket: bucket,
            reduce_func=batch_of,
            window_size_func=batch_size,
        )

    def _batch(
        self,
        source: tf.RaggedTensor,
        target: tf.RaggedTensor,
        links: tf.RaggedTensor,
        shape: tf.Tensor,
        size: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        source, target, links = (self._shard.rows(each, size) for each in (source, target, links))
        inputs, labels = _inputs_and_labels(source, target, shape)
        if self._aligned:
            words = (self._words[0](inputs["source"]), self._words[1](labels["logits"]))
            labels["attention"] = token_alignment(links, *words)
        return tf.nest.map_structure(
            lambda each: self._shard.padded(each, size, self._dropout_passes), (inputs, labels)
        )

    def _finish(self, batches: tf.data.Dataset, epochs: int) -> tf.data.Dataset:
        steps = epochs * self.plan.steps_per_epoch
        return (
            batches.apply(tf.data.experimental.assert_cardinality(steps))
            .prefetch(_PREFETCHED_BATCHES)
            .with_options(token_chunks.dataset_options())
        )


def _inputs_and_labels(
    source: tf.RaggedTensor, target: tf.RaggedTensor, shape: tf.Tensor
) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
    source = source.to_tensor(PAD, shape=tf.stack([-1, shape[0]]))
    labels = target.to_tensor(PAD, shape=tf.stack([-1, shape[1]]))
    shifted = tf.pad(labels[:, :-1], [[0, 0], [1, 0]], constant_values=BOS)
    # The shift moves EOS to a position after the labels: pad it.
    inputs = tf.where(labels == PAD, PAD, shifted)
    source, inputs, labels = (
        tf.ensure_shape(ids, [None, None]) for ids in (source, inputs, labels)
    )
    return {"source": source, "target": inputs}, {"logits": labels}


def check_settings(max_padding: float, **settings: tuple[int, int]) -> None:
    """Raises `ValueError` unless each setting, given with its minimum, is in range."""
    for name, (value, least) in settings.items():
        check_whole(name, value, least)
    if not 0 <= max_padding < 1:
        raise ValueError(f"max_padding is a share from 0 to 1, got {max_padding}")


def batch_sizes_of(tokens: int | None, sentences: int | None, max_length: int) -> BatchSizes:
    """Batch sizes by `tokens_per_batch` or `sentences_per_batch`, one of which is given."""
    if tokens is not None and sentences is None:
        if check_whole("tokens_per_batch", tokens) < 2 * max_length:
            raise ValueError(
                f"tokens_per_batch={tokens} is too small for a pair of maximum length: raise it to "
                f"at least 2 * max_length = {2 * max_length}, or lower max_length"
            )
        return by_tokens(tokens)
    if sentences is not None and tokens is None:
        return by_sentences(check_whole("sentences_per_batch", sentences))
    raise ValueError(
        "set exactly one of tokens_per_batch and sentences_per_batch, got "
        f"tokens_per_batch={tokens}, sentences_per_batch={sentences}"
    )


def _unused(cache: str | os.PathLike[str], number: int) -> str:
    path = os.fspath(cache) + (f".mixed{number}" if number else "")
    if os.path.exists(f"{path}.index"):
        raise FileExistsError(
            f"the cache {path}.index already exists and may belong to another corpus or "
            f"vocabulary: remove {path}.* or use another path"
        )
    return path
