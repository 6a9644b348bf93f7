"""Chunked tokenization and filtering of sentence pairs."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_attn_nmt.text.blank import BLANK_PATTERN
from keras_attn_nmt.text.special_ids import EOS
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.subword_sampling import SubwordSampler
from keras_attn_nmt.training.token_alignment import (
    TokenWords,
    count_words,
    parse_links,
    sure_links,
)

_CHUNK_PAIRS = 1024

# (texts, chunk number) -> ids without EOS.
_Segmentation = Callable[[tf.Tensor, tf.Tensor], tf.RaggedTensor]

KEPT, EMPTY, SOURCE_TOO_LONG, TARGET_TOO_LONG, MISALIGNED = range(5)


class Chunk(NamedTuple):
    """Many tokenized pairs without padding, stored as one element to keep the cache small.

    Attributes:
        source_ids: Concatenated source ids, each sentence with EOS, int32, `(source tokens,)`.
        source_lengths: Source length of each pair, int64, `(pairs,)`.
        target_ids: Concatenated target ids, `(target tokens,)`.
        target_lengths: Target length of each pair, `(pairs,)`.
        links: Concatenated word links (source, target), int32, `(links, 2)`.
        link_counts: Number of links of each pair, int64, `(pairs,)`.
        outcomes: Number of pairs by outcome, indexed by KEPT, EMPTY, ..., int32, `(5,)`.
    """

    source_ids: tf.Tensor
    source_lengths: tf.Tensor
    target_ids: tf.Tensor
    target_lengths: tf.Tensor
    links: tf.Tensor
    link_counts: tf.Tensor
    outcomes: tf.Tensor


def tokenize_pairs(
    pairs: tf.data.Dataset,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    max_length: int,
    *,
    segmentation_samples: int = 1,
    alpha: float = 0.2,
    seed: int = 0,
) -> tf.data.Dataset:
    """Tokenizes, appends EOS, and drops empty and too long pairs.

    Args:
        pairs: See `BatchedPairs`.
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language.
        max_length: Maximum source and target length in tokens, EOS included.
        segmentation_samples: Segmentations of each pair: the first by `Tokenizer.encode`, the
            others by `SubwordSampler`, the same in every iteration.
        alpha: See `SubwordSampler`.
        seed: Seed of the sampling.

    Returns:
        Dataset of `Chunk`.
    """
    tokenizers = (source_tokenizer, target_tokenizer)
    words = [TokenWords(each) for each in tokenizers] if len(pairs.element_spec) > 2 else []
    numbered = pairs.batch(_CHUNK_PAIRS).enumerate()

    def read(segmentations: list[_Segmentation]) -> tf.data.Dataset:
        source_ids, target_ids = segmentations
        return numbered.map(
            lambda number, texts: _chunk(
                source_ids(texts[0], number),
                target_ids(texts[1], number),
                max_length,
                words,
                *texts,
            ),
            os.cpu_count() or 1,
            deterministic=True,
        )

    chunks = read([_usual(tokenizer) for tokenizer in tokenizers])
    if segmentation_samples > 1:
        samplers = [(each, SubwordSampler(each, alpha)) for each in tokenizers]
        for sample in range(1, segmentation_samples):
            drawn = [
                _drawn(*both, max_length, f"{seed} {sample} {side}")
                for side, both in enumerate(samplers)
            ]
            chunks = chunks.concatenate(read(drawn))
    return chunks.with_options(dataset_options())


def chunk_function(
    tokenizers: tuple[Tokenizer, Tokenizer], max_length: int
) -> Callable[..., Chunk]:
    """The function from texts to a `Chunk` that `tokenize_pairs` maps, traced once.

    Args:
        tokenizers: Tokenizers of the source and the target language.
        max_length: See `tokenize_pairs`.

    Returns:
        A function of sources and targets, tf.string of shape `(pairs,)`.
    """
    source_ids, target_ids = (each.tf_tokenizer().tokenize for each in tokenizers)

    def chunk_of(source: tf.Tensor, target: tf.Tensor) -> Chunk:
        return _chunk(source_ids(source), target_ids(target), max_length, (), source, target)

    texts = tf.TensorSpec([None], tf.string)
    traced: Callable[..., Chunk] = tf.function(
        chunk_of, input_signature=[texts, texts], autograph=False
    )
    return traced


def _usual(tokenizer: Tokenizer) -> _Segmentation:
    tf_tokenizer = tokenizer.tf_tokenizer()
    return lambda texts, number: tf_tokenizer.tokenize(texts)


def _drawn(
    tokenizer: Tokenizer, sampler: SubwordSampler, max_length: int, seed: str
) -> _Segmentation:
    """Sampled segmentations; a too long one is replaced by the deterministic one.

    Every sample therefore keeps the same pairs.
    """

    def draw(encoded: npt.NDArray[Any], number: np.int64) -> tuple[npt.NDArray[Any], ...]:
        generator = random.Random(f"{seed} {number}")
        texts = [text.decode("utf-8", "replace") for text in encoded]
        rows = tokenizer.encode(texts)
        for row, text in enumerate(texts):
            # Pairs that are too long are dropped anyway, and merging very long words is slow.
            if len(rows[row]) < max_length:
                ids = sampler(text, generator)
                rows[row] = ids if len(ids) < max_length else rows[row]
        lengths = np.fromiter(map(len, rows), np.int64)
        return np.fromiter(itertools.chain.from_iterable(rows), np.int32), lengths

    def ragged_ids(texts: tf.Tensor, number: tf.Tensor) -> tf.RaggedTensor:
        flat = tf.numpy_function(draw, [texts, number], [tf.int32, tf.int64])
        return ragged(*(tf.ensure_shape(each, [None]) for each in flat))

    return ragged_ids


def _chunk(
    source_ids: tf.RaggedTensor,
    target_ids: tf.RaggedTensor,
    max_length: int,
    words: Sequence[TokenWords],
    source: tf.Tensor,
    target: tf.Tensor,
    alignment: Any = None,
) -> Chunk:
    if alignment is None:
        none = tf.zeros([0, 2], tf.int32)
        links = ragged(none, tf.zeros_like(tf.strings.length(source)))
        misaligned = tf.zeros_like(source, tf.bool)
    else:
        links = sure_links(alignment)
        counts = tf.stack([count_words(source), count_words(target)], axis=1)
        last = tf.reduce_max(parse_links(alignment), axis=1)
        read = tf.stack(
            [each.count(ids) for each, ids in zip(words, (source_ids, target_ids), strict=True)],
            axis=1,
        )
        # Of a pair without links, nothing can be shifted.
        shifted = (read != counts) & (last >= 0)
        misaligned = tf.reduce_any((last >= counts) | shifted, axis=1)
    source_ids, target_ids = with_eos(source_ids), with_eos(target_ids)
    outcome = tf.where(misaligned, MISALIGNED, KEPT)
    for is_so, what in (
        (target_ids.row_lengths() > max_length, TARGET_TOO_LONG),
        (source_ids.row_lengths() > max_length, SOURCE_TOO_LONG),
        (_blank(source) | _blank(target), EMPTY),
    ):
        outcome = tf.where(is_so, what, outcome)
    # Not `tf.ragged.boolean_mask`, nor `tf.concat` for EOS: each is dozens of ops to trace.
    kept = tf.squeeze(tf.where(outcome == KEPT), axis=1)
    source_ids, target_ids, links = (
        tf.gather(each, kept) for each in (source_ids, target_ids, links)
    )
    return Chunk(
        source_ids=source_ids.flat_values,
        source_lengths=source_ids.row_lengths(),
        target_ids=target_ids.flat_values,
        target_lengths=target_ids.row_lengths(),
        links=links.flat_values,
        link_counts=links.row_lengths(),
        outcomes=tf.math.bincount(outcome, minlength=5, maxlength=5),
    )


def _blank(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_full_match(text, BLANK_PATTERN)


def with_eos(ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Appends EOS to each row of ids, int32 `(rows, (length))`."""
    rows = ids.nrows()
    size = tf.size(ids.flat_values, tf.int64) + rows
    ends = tf.expand_dims(ids.row_limits() + tf.range(rows), 1)
    is_token = tf.tensor_scatter_nd_update(tf.fill([size], True), ends, tf.zeros([rows], tf.bool))
    places = tf.where(is_token)
    flat = tf.tensor_scatter_nd_update(tf.fill([size], EOS), places, ids.flat_values)
    return tf.RaggedTensor.from_row_limits(flat, tf.squeeze(ends, 1) + 1, validate=False)


def ragged(ids: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """A ragged tensor from concatenated rows, `(sum, ...)`, and their lengths, `(rows,)`."""
    return tf.RaggedTensor.from_row_lengths(ids, lengths, validate=False)


def dataset_options() -> tf.data.Options:
    """Data set options: deterministic order, no autotuning."""
    result = tf.data.Options()
    result.deterministic = True
    # Freeing an iterator waits for the autotuning thread, up to a minute.
    result.autotune.enabled = False
    return result
