"""The batches of a training run, from its recipe."""

from __future__ import annotations

import logging
from typing import Any

import tensorflow as tf

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.large_corpora import LargeCorpus
from keras_attn_nmt.training.mixing import MixedPairs
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.streamed_pairs import StreamedPairs
from keras_attn_nmt.training.training_recipe import TrainingRecipe

logger = logging.getLogger(__name__)

# Validation on fewer pairs gives a warning.
_ENOUGH_VALIDATION_PAIRS = 100


def run_batches(
    recipe: Recipe,
    tokenizers: tuple[Tokenizer, Tokenizer],
    pairs: tf.data.Dataset | MixedPairs | LargeCorpus,
    validation_pairs: tf.data.Dataset,
) -> tuple[BatchedPairs, BatchedPairs]:
    """Training and validation batches; only training samples segmentations."""
    batching: dict[str, Any] = {
        "tokens_per_batch": recipe.training.tokens_per_batch,
        "max_length": recipe.data.max_length,
        # Also in validation, where both passes are identical without dropout.
        "dropout_passes": 2 if recipe.training.r_drop else 1,
    }
    cached: dict[str, Any] = {**batching, "cache": recipe.data.cache}
    data: BatchedPairs
    if isinstance(pairs, LargeCorpus):
        data = StreamedPairs(
            pairs,
            *tokenizers,
            sample=recipe.data.sample,
            steps_per_epoch=recipe.training.steps_per_epoch or None,
            **batching,
        )
    else:
        data = BatchedPairs(
            pairs,
            *tokenizers,
            segmentation_samples=recipe.vocabulary.segmentation_samples,
            sampling_alpha=recipe.vocabulary.sampling_alpha,
            sampling_seed=recipe.training.seed,
            **cached,
        )
    try:
        return data, BatchedPairs(validation_pairs, *tokenizers, **cached)
    except ValueError as error:
        raise ValueError(f"The validation data: {error}") from error


def warn_of_few(pairs: int, settings: TrainingRecipe) -> None:
    """Warns of validation on too few pairs."""
    if settings.monitor == "val_bleu":
        pairs = min(pairs, settings.bleu_sentences)
    if pairs < _ENOUGH_VALIDATION_PAIRS:
        stops = " and when to stop" if settings.patience else ""
        off = ", or turn off early stopping (training.patience=0)" if settings.patience else ""
        logger.warning(
            "only %d validation pairs for training.monitor='%s': chance decides which epoch is "
            "best%s. Give at least %d (data.validation, training.bleu_sentences)%s",
            *(pairs, settings.monitor, stops, _ENOUGH_VALIDATION_PAIRS, off),
        )
