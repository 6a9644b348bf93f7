"""The input pipeline of corpora of any size: blocks to `tf.data` batches for `model.fit`.

    blocks in random order -> tokenize -> drop empty and too long pairs -> shuffle -> length buckets

A sample determines the buckets and the number of batches before training starts. Memory does not
grow with the corpus, and an epoch starts anywhere in the stream without reading what came before.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import shards, token_chunks
from keras_attn_nmt.training.data import BatchedPairs, batch_sizes_of, check_settings
from keras_attn_nmt.training.large_corpora import LargeCorpus, Texts, texts_dataset
from keras_attn_nmt.training.plan_estimate import estimate_plan
from keras_attn_nmt.training.token_alignment import TokenWords

_logger = logging.getLogger(__name__)

# Share of dropped pairs that may differ from the sample's without a warning.
_TOLERANCE = 0.002


class StreamedPairs(BatchedPairs):
    """Length-bucketed, reproducible batches of a corpus of any size, ready for `fit`.

    The batches and methods are those of `BatchedPairs`, but the corpus is never read as a whole: a
    sample determines the plan, and epochs are tokenized as they are read. The stream of pairs
    repeats the corpus without end, in another order each time, and an epoch is a part of it:
    epoch k depends only on the seed and k, begins without reading what came before, and goes on
    where epoch k - 1 ended. An epoch has `plan.steps_per_epoch` batches. They have room for all of
    its `plan.pairs_read` pairs, so every pair occurs once in a pass over the corpus; pairs that
    follow fill the last batches, less than a percent in long epochs.

    Args:
        corpus: The corpus, from `open_line_files` or `open_tfds`.
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language; may be the same one.
        sample: Number of pairs that determine the plan, from all over the corpus.
        steps_per_epoch: Batches per epoch; default: about a pass over the corpus.
        tokens_per_batch: See `BatchedPairs`.
        sentences_per_batch: See `BatchedPairs`.
        max_length: Maximum source and target length in tokens, EOS included; longer pairs are
            dropped.
        max_padding: See `BatchedPairs`.
        max_buckets: See `BatchedPairs`.
        shuffle_buffer: Size of the shuffle buffer in pairs. The blocks of an epoch are in random
            order already.
        dropout_passes: See `BatchedPairs`.

    Attributes:
        plan: `BatchPlan`; all figures but `pairs_read` and `steps_per_epoch` are estimates from the
            sample, unless it is the whole corpus.

    Raises:
        ValueError: An argument is out of range, or all pairs of the sample are dropped.

    Example:
        corpus = open_line_files(["news.de", "web.de"], ["news.en", "web.en"])
        german, english = ...  # learned on corpus.sample(1_000_000).dataset()
        train = StreamedPairs(
            corpus, german, english, tokens_per_batch=8192, steps_per_epoch=20_000
        )
        model.fit(train.epochs(30), epochs=30, steps_per_epoch=20_000)
    """

    def __init__(
        self,
        corpus: LargeCorpus,
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
        *,
        sample: int = 1_000_000,
        steps_per_epoch: int | None = None,
        tokens_per_batch: int | None = None,
        sentences_per_batch: int | None = None,
        max_length: int = 100,
        max_padding: float = 0.06,
        max_buckets: int = 48,
        shuffle_buffer: int = 50_000,
        dropout_passes: int = 1,
    ) -> None:
        if not isinstance(corpus, LargeCorpus):
            raise ValueError(
                "corpus must come from open_line_files or open_tfds of "
                f"keras_attn_nmt.training.large_corpora, got {type(corpus).__name__}; "
                "BatchedPairs takes a tf.data.Dataset of pairs"
            )
        check_settings(
            max_padding,
            sample=(sample, 1),
            steps_per_epoch=(1 if steps_per_epoch is None else steps_per_epoch, 1),
            max_length=(max_length, 2),
            max_buckets=(max_buckets, 1),
            shuffle_buffer=(shuffle_buffer, 1),
            dropout_passes=(dropout_passes, 1),
        )
        batch_sizes = batch_sizes_of(tokens_per_batch, sentences_per_batch, max_length)
        self._corpus = corpus
        self._chunk_of = token_chunks.chunk_function(
            (source_tokenizer, target_tokenizer), max_length
        )
        self._words = (TokenWords(source_tokenizer), TokenWords(target_tokenizer))
        self._aligned = False
        self._shard = shards.WHOLE
        self._dropout_passes = dropout_passes
        drawn = corpus.sample(sample)
        self.plan, digest = estimate_plan(
            self._tokenized(texts_dataset(lambda: drawn.stream(count=drawn.pairs))),
            corpus.pairs,
            steps_per_epoch,
            max_length,
            batch_sizes,
            max_padding,
            max_buckets,
        )
        self.digests = (digest,)
        self._shuffle_buffer = min(shuffle_buffer, self.plan.pairs_read)
        # By epoch while it is read: the outcomes of its pairs, and whether it has room for all.
        self._outcomes: dict[int, npt.NDArray[np.int64]] = {}
        self._roomy: dict[int, bool] = {}
        if sum(self.plan.dropped.values()):
            _logger.warning("%s", self.plan.dropped_report())
        _logger.info("%s", self.plan.report())

    def in_order(self) -> tf.data.Dataset:
        """A pass over the corpus without shuffling; the number of batches is not known before."""
        texts = texts_dataset(lambda: self._corpus.stream(count=self._corpus.pairs))
        chunks = self._tokenized(texts)
        return self._batches(self._pairs(chunks)).with_options(token_chunks.dataset_options())

    def _epoch(self, seed: int, number: tf.Tensor) -> tf.data.Dataset:
        # See `BatchedPairs._epoch`.
        tf.random.set_seed(seed % (2**31 - 2) + 1)
        own, following = (
            self._pairs(self._chunks_of(seed, number, part)) for part in ("own", "following")
        )
        # Few pairs follow: a large shuffle buffer would fill in vain.
        batches = self._shuffled_batches(own, number).concatenate(self._batches(following))
        batches = batches.take(self.plan.steps_per_epoch)
        # Empty, but reports when it is read.
        end = tf.data.Dataset.from_tensors(number).flat_map(
            lambda number: batches.take(tf.numpy_function(self._report, [number], tf.int64))
        )
        return batches.concatenate(end)

    def _chunks_of(self, seed: int, number: tf.Tensor, part: str) -> tf.data.Dataset:
        """The chunks that belong to an epoch, or those that follow them, without end."""
        texts = texts_dataset(functools.partial(self._texts, seed, part), number)

        def counted(chunk: token_chunks.Chunk) -> token_chunks.Chunk:
            read = tf.numpy_function(self._count, [number, chunk.outcomes], tf.int32)
            read.set_shape(chunk.outcomes.shape)
            return chunk._replace(outcomes=read)

        return self._tokenized(texts).map(counted)

    def _texts(self, seed: int, part: str, number: Any) -> Iterator[Texts]:
        epoch, size = int(number), self.plan.pairs_read
        seed %= 2**32
        if part == "own":
            self._outcomes[epoch] = np.zeros(5, np.int64)
            self._roomy[epoch] = self.plan.sample == 0
            return self._corpus.stream(epoch * size, size, seed)
        self._roomy[epoch] = True
        return self._corpus.stream((epoch + 1) * size, None, seed)

    def _tokenized(self, texts: tf.data.Dataset) -> tf.data.Dataset:
        chunks = texts.map(self._chunk_of, os.cpu_count() or 1, deterministic=True)
        return chunks.with_options(token_chunks.dataset_options())

    def _count(self, number: Any, outcomes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self._outcomes[int(number)] += outcomes
        return outcomes

    def _report(self, number: Any) -> np.int64:
        """Logs what an epoch read and dropped; returns 0."""
        outcomes = self._outcomes.pop(int(number))
        read, kept = int(outcomes.sum()), int(outcomes[token_chunks.KEPT])
        dropped = (read - kept) / read
        expected = sum(self.plan.dropped.values()) / self.plan.pairs_read
        _logger.log(
            logging.WARNING if abs(dropped - expected) > _TOLERANCE else logging.DEBUG,
            "epoch %d: read %s pairs, dropped %s of them (%.2f %%; %.2f %% in the sample)",
            int(number) + 1,
            f"{read:,}",
            f"{read - kept:,}",
            100 * dropped,
            100 * expected,
        )
        if not self._roomy.pop(int(number)):
            _logger.warning(
                "epoch %d: its %s batches may have had no room for some of its %s pairs, which are "
                "longer than those of the sample: raise the size of the sample (data.sample)",
                int(number) + 1,
                f"{self.plan.steps_per_epoch:,}",
                f"{self.plan.pairs_read:,}",
            )
        return np.int64(0)
