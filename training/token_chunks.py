"""Text to token ids, a thousand sentence pairs at a time, and what became of each pair."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import tensorflow as tf

from keras_attn_nmt.special_ids import EOS
from keras_attn_nmt.tokenizer import Tokenizer
from keras_attn_nmt.training.token_alignment import count_words, parse_links

_CHUNK_PAIRS = 1024

KEPT, EMPTY, SOURCE_TOO_LONG, TARGET_TOO_LONG, MISALIGNED = range(5)


class Chunk(NamedTuple):
    """Many tokenized pairs at once: far fewer elements to cache, and nothing of them is padding.

    Attributes:
        source_ids: All sources one after another, each closed by eos, int32, `(source tokens,)`.
        source_lengths: How many of them are of each pair, int64, `(pairs,)`.
        target_ids: Likewise, `(target tokens,)`.
        target_lengths: Likewise, `(pairs,)`.
        links: Links between words, source and target, one after another, int32, `(links, 2)`.
        link_counts: How many of them are of each pair, int64, `(pairs,)`.
        outcomes: How many pairs were kept, were empty, ..., at [KEPT, EMPTY, ...], int32, `(5,)`.
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
) -> tf.data.Dataset:
    """Tokenizes, adds eos, and leaves out pairs that are empty or too long.

    Args:
        pairs: As `BatchedPairs` takes them.
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language.
        max_length: Longest source and target that is kept, in tokens with eos.

    Returns:
        Dataset of `Chunk`.
    """
    tf_source, tf_target = source_tokenizer.tf_tokenizer(), target_tokenizer.tf_tokenizer()

    def tokenize(source: tf.Tensor, target: tf.Tensor, alignment: Any = None) -> Chunk:
        if alignment is None:
            none = tf.zeros([0, 2], tf.int32)
            links = ragged(none, tf.zeros_like(tf.strings.length(source)))
            misaligned = tf.zeros_like(source, tf.bool)
        else:
            links = parse_links(alignment)
            words = tf.stack([count_words(source), count_words(target)], axis=1)
            misaligned = tf.reduce_any(tf.reduce_max(links, axis=1) >= words, axis=1)
        eos = tf.fill([tf.shape(source)[0], 1], EOS)
        source_ids = tf.concat([tf_source.tokenize(source), eos], axis=1)
        target_ids = tf.concat([tf_target.tokenize(target), eos], axis=1)
        outcome = tf.where(misaligned, MISALIGNED, KEPT)
        for is_so, what in (
            (target_ids.row_lengths() > max_length, TARGET_TOO_LONG),
            (source_ids.row_lengths() > max_length, SOURCE_TOO_LONG),
            (_blank(source) | _blank(target), EMPTY),
        ):
            outcome = tf.where(is_so, what, outcome)
        source_ids = tf.ragged.boolean_mask(source_ids, outcome == KEPT)
        target_ids = tf.ragged.boolean_mask(target_ids, outcome == KEPT)
        links = tf.ragged.boolean_mask(links, outcome == KEPT)
        return Chunk(
            source_ids=source_ids.flat_values,
            source_lengths=source_ids.row_lengths(),
            target_ids=target_ids.flat_values,
            target_lengths=target_ids.row_lengths(),
            links=links.flat_values,
            link_counts=links.row_lengths(),
            outcomes=tf.math.bincount(outcome, minlength=5, maxlength=5),
        )

    chunks = pairs.batch(_CHUNK_PAIRS).map(tokenize, os.cpu_count() or 1, deterministic=True)
    return chunks.with_options(dataset_options())


def _blank(text: tf.Tensor) -> tf.Tensor:
    return tf.strings.regex_full_match(text, r"[\s\p{Z}]*")


def ragged(ids: tf.Tensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Rows of `lengths`, `(rows,)`, of what stands one after another in `ids`, `(sum, ...)`."""
    return tf.RaggedTensor.from_row_lengths(ids, lengths, validate=False)


def dataset_options() -> tf.data.Options:
    """Options of every data set here: the same order each time."""
    result = tf.data.Options()
    result.deterministic = True
    # Its thread sleeps, and whoever frees an iterator waits until it wakes: up to a minute.
    result.autotune.enabled = False
    return result
