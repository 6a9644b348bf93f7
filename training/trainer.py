"""The training loop: from a recipe to a model directory."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_attn_nmt import model_directory, writing
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.extras import extra
from keras_attn_nmt.layers.losses import GuidedAlignment, MaskedCrossentropy, RDropCrossentropy
from keras_attn_nmt.layers.metrics import Perplexity, TokenAccuracy
from keras_attn_nmt.model import build_model
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.run_record import TRAINING
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.device import describe_device, unused_gpu, versions
from keras_attn_nmt.training.evaluation import bleu_signature
from keras_attn_nmt.training.mixing import MixedPairs
from keras_attn_nmt.training.optimizer import (
    make_optimizer,
    plateau_callback,
    stopping_callback,
)
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.parents import (
    Parent,
    begin_with,
    load_parent,
    resumed_parent,
    write_record,
)
from keras_attn_nmt.training.recipe import Recipe, TrainingRecipe
from keras_attn_nmt.training.resuming import (
    changes,
    check_output,
    nothing_to_resume,
    record_changes,
    vocabulary_files,
    write_recipe,
    written_epoch,
)
from keras_attn_nmt.training.splits import (
    load_split,
    load_training,
    missing_files,
    training_files_advice,
)
from keras_attn_nmt.training.vectors import check_vectors, initialize_embeddings
from keras_attn_nmt.training.vocabularies import load_given, make_tokenizers
from keras_attn_nmt.translator import Translator

logger = logging.getLogger(__name__)

# Validation on fewer pairs gives a warning.
_ENOUGH_VALIDATION_PAIRS = 100


def train(
    recipe: Recipe,
    output: str | os.PathLike[str],
    *,
    parent: str | os.PathLike[str] | None = None,
    keep_optimizer: bool = False,
    resume: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains a model and writes its model directory. Needs the extra `train`.

    Args:
        recipe: The recipe, see `load_recipe`.
        output: Model directory to write.
        parent: Model directory whose weights and vocabularies training begins with. The recipe must
            repeat what they fix, as `load_recipe(..., parent=parent)` does. Optimizer, schedule and
            epoch count are reset.
        keep_optimizer: Begin with the optimizer's state of the parent's checkpoint, too: moments
            and step count (the averages with `ema_momentum`). The schedule is reset.
        resume: Resume an interrupted or finished run after its last saved epoch. The final weights
            equal those of an uninterrupted run. The recipe may change `training.epochs`,
            `training.patience` and `data.cache`; with `schedule = "cosine"` and other epochs, the
            rates are those of the new schedule from here on. `parent` need not be given again.
        quiet: Hide progress bars.

    Returns:
        The content of `training.json`. It is written with the model at each new best epoch, with
        `"finished": false`, so that the model of an interrupted run is usable.

    Raises:
        FileExistsError: `output` holds a model or an interrupted run and `resume` is not set, or
            another process is training in it.
        FileNotFoundError: Data or the parent are missing, or there is nothing to resume.
        ImportError: The extra `train` is not installed.
        ValueError: Recipe, data, parent and the content of `output` do not match.
        OSError: The disk is full or not writable; earlier checkpoints are intact.
    """
    _require_extra()
    if keep_optimizer and parent is None and not resume:
        raise ValueError("keep_optimizer needs a parent (--from) whose optimizer it keeps.")
    if resume and not Path(output).is_dir():
        raise nothing_to_resume(Path(output))
    with taken(output) as directory:
        state = check_output(directory, recipe, resume)
        begun_with: Parent | None = None
        if state is not None:
            begun_with = resumed_parent(directory, parent, keep_optimizer)
        elif parent is not None:
            begun_with = load_parent(parent, recipe, keep_optimizer)
        settings = recipe.training
        keras.utils.set_random_seed(settings.seed)
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy(settings.dtype_policy)
        try:
            return _train(recipe, directory, state, begun_with, quiet)
        finally:
            keras.config.set_dtype_policy(policy)


def _require_extra() -> None:
    """Raises `ImportError` early if packages needed at the end of an epoch are missing."""
    with extra("train"):
        import matplotlib  # noqa: F401
        import sacrebleu  # noqa: F401
        import tensorboard  # noqa: F401


def _train(
    recipe: Recipe,
    output: Path,
    state: dict[str, Any] | None,
    parent: Parent | None,
    quiet: bool,
) -> dict[str, Any]:
    settings = recipe.training
    start = time.perf_counter()

    given = load_given(recipe.vocabulary) if state is None and parent is None else {}
    if state is None and parent is None:
        check_vectors(recipe)
    aligned = settings.guided_alignment > 0
    with missing_files(training_files_advice(recipe.data)):
        pairs = load_training(recipe.data, aligned, parent.record if parent else None)
        validation_pairs = load_split(recipe.data, "validation", aligned)
    if parent and parent.files:
        tokenizers = parent.files.source_tokenizer, parent.files.target_tokenizer
    elif state is None:
        every_pair = pairs.once() if isinstance(pairs, MixedPairs) else pairs
        tokenizers = make_tokenizers(recipe.vocabulary, every_pair, given)
    else:
        tokenizers = (
            Tokenizer.load(output / model_directory.SOURCE),
            Tokenizer.load(output / model_directory.TARGET),
        )
    source_tokenizer, target_tokenizer = tokenizers
    data, validation = _batches(recipe, tokenizers, pairs, validation_pairs)
    _warn_of_few(validation.plan.pairs, settings)
    steps = data.plan.steps_per_epoch

    config = ModelConfig.from_dict(
        {
            **recipe.model,
            "source_vocabulary_size": source_tokenizer.vocabulary_size,
            "target_vocabulary_size": target_tokenizer.vocabulary_size,
        }
    )
    kept_steps = parent.record["optimizer_steps"] if parent else 0
    model = _compiled_model(recipe, config, steps, kept_steps)
    logger.info("%s", describe_device(model))
    if warning := unused_gpu():
        logger.warning("%s", warning)
    logger.info("%s parameters", f"{model.count_params():,}")

    if state is None:
        source_tokenizer.save(output / model_directory.SOURCE)
        target_tokenizer.save(output / model_directory.TARGET)
        model_directory.write_config(output, ModelFiles(model, config, *tokenizers, recipe.search))
        files = {side: each.record() for side, each in given.items()}
        if parent is None:
            files |= initialize_embeddings(model, recipe, tokenizers)
        write_recipe(output, recipe, parent.vocabulary_files if parent else files)
        write_record(output, parent)
    checkpoints = output / model_directory.CHECKPOINTS
    done = state["epochs"] if state else 0
    history = state["history"] if state else []
    # Otherwise the first trace creates variables and the step is traced twice.
    model.optimizer.build(model.trainable_variables)
    if done:
        model.load_weights(checkpoints / callbacks.weights_file(done - 1))
        logger.info("resuming after epoch %d of %d", done, settings.epochs)
        record_changes(output, recipe, done)
    elif parent:
        begin_with(model, parent)
        logger.info(
            "beginning with the weights and vocabularies of %s, and a%s optimizer",
            *(parent.record["path"], " kept" if kept_steps else " new"),
        )

    report = {
        "recipe": recipe.to_dict(),
        "vocabulary_files": vocabulary_files(output),
        "parent": parent.record if parent else None,
        "changes": changes(output),
        "seed": settings.seed,
        "versions": versions(),
        "device": describe_device(model),
        "parameters": model.count_params(),
        "pairs": data.plan.pairs,
        "dropped_pairs": dict(data.plan.dropped),
        "mixed_pairs": [share.summary() for share in data.plan.shares],
        "padding": data.plan.padding,
        "target_tokens_per_epoch": data.plan.target_tokens,
        "resumed_after_epoch": done,
        "bleu_signature": bleu_signature(),
    }
    setup_seconds = time.perf_counter() - start

    def write(history: list[dict[str, float]], finished: bool) -> dict[str, Any]:
        """Writes the best model and `training.json`; returns the content of the latter."""
        best = callbacks.best_epoch(history, settings.monitor)
        final = model_directory.build_float32(config)
        final.load_weights(checkpoints / callbacks.weights_file(best), skip_mismatch=False)
        # Not from the recipe: `evaluate --save-search` may have changed it.
        search = model_directory.read_config(output)[2]
        model_directory.save_model(output, ModelFiles(final, config, *tokenizers, search))
        written = {
            **report,
            "finished": finished,
            "seconds": setup_seconds + sum(epoch["seconds"] for epoch in history),
            "best_epoch": best + 1,
            "metrics": history[best],
            "history": history,
        }
        writing.write_text(output / TRAINING, json.dumps(written, indent=2) + "\n")
        return written

    translator = Translator(model, source_tokenizer, target_tokenizer)
    progress = callbacks.Progress(steps, data.plan.target_tokens, settings.epochs, quiet)
    listeners, keeper = _callbacks(
        recipe,
        translator,
        validation_pairs,
        output,
        history,
        progress,
        averaged=bool(history or (kept_steps and settings.ema_momentum)),
        on_better=lambda history: write(history, finished=False),
    )
    stopped = settings.patience and callbacks.stopped_early(history, stopping_callback(settings))
    if done < settings.epochs and not stopped:
        # A kill in between leaves a best checkpoint whose model was not written.
        if history and written_epoch(output) != callbacks.best_epoch(history, settings.monitor):
            write(history, finished=False)
        try:
            model.fit(
                data.epochs(settings.epochs, initial_epoch=done, seed=settings.seed),
                epochs=settings.epochs,
                initial_epoch=done,
                steps_per_epoch=steps,
                validation_data=validation.in_order(),
                callbacks=listeners,
                shuffle=False,
                verbose=0,
            )
        finally:
            progress.close()
        history = keeper.history
    if len(history) < settings.epochs:
        logger.info(
            "stopped early, after epoch %d of %d: %s did not improve for %d epochs "
            "(training.patience)",
            *(len(history), settings.epochs, settings.monitor, settings.patience),
        )
    return write(history, finished=True)


def _batches(
    recipe: Recipe,
    tokenizers: tuple[Tokenizer, Tokenizer],
    pairs: tf.data.Dataset | MixedPairs,
    validation_pairs: tf.data.Dataset,
) -> tuple[BatchedPairs, BatchedPairs]:
    """Training and validation batches; only training samples segmentations."""
    batching: dict[str, Any] = {
        "tokens_per_batch": recipe.training.tokens_per_batch,
        "max_length": recipe.data.max_length,
        "cache": recipe.data.cache,
        # Also in validation, where both passes are identical without dropout.
        "dropout_passes": 2 if recipe.training.r_drop else 1,
    }
    data = BatchedPairs(
        pairs,
        *tokenizers,
        segmentation_samples=recipe.vocabulary.segmentation_samples,
        sampling_alpha=recipe.vocabulary.sampling_alpha,
        sampling_seed=recipe.training.seed,
        **batching,
    )
    return data, BatchedPairs(validation_pairs, *tokenizers, **batching)


def _warn_of_few(pairs: int, settings: TrainingRecipe) -> None:
    """Warns of validation on too few pairs."""
    if settings.monitor == "val_bleu":
        pairs = min(pairs, settings.bleu_sentences)
    if pairs < _ENOUGH_VALIDATION_PAIRS:
        logger.warning(
            "only %d validation pairs for training.monitor='%s': chance decides which epoch is "
            "best and when to stop. Give at least %d (data.validation, training.bleu_sentences), "
            "or turn off early stopping (training.patience=0)",
            *(pairs, settings.monitor, _ENOUGH_VALIDATION_PAIRS),
        )


def _compiled_model(
    recipe: Recipe, config: ModelConfig, steps: int, first_step: int
) -> keras.Model:
    settings = recipe.training
    weight = settings.guided_alignment
    model = build_model(config)
    model.compile(
        make_optimizer(settings, steps, first_step),
        loss={
            "logits": (
                RDropCrossentropy(settings.label_smoothing, settings.r_drop)
                if settings.r_drop
                else MaskedCrossentropy(settings.label_smoothing)
            ),
            **({"attention": GuidedAlignment()} if weight else {}),
        },
        loss_weights={"logits": 1.0, "attention": weight} if weight else None,
        metrics={"logits": [TokenAccuracy(name="accuracy"), Perplexity()]},
    )
    return model


def _callbacks(
    recipe: Recipe,
    translator: Translator,
    validation_pairs: tf.data.Dataset,
    output: Path,
    history: list[dict[str, float]],
    progress: callbacks.Progress,
    averaged: bool,
    on_better: Callable[[list[dict[str, float]]], Any],
) -> tuple[list[keras.callbacks.Callback], callbacks.Checkpoints]:
    settings = recipe.training
    logs = output / "tensorboard"
    result: list[keras.callbacks.Callback] = [
        callbacks.KeepFreedMemory(),
        callbacks.SeedEpochs(settings.seed),
    ]
    if settings.ema_momentum:
        result.append(callbacks.AverageWeights(in_place=averaged))
    pictures: list[keras.callbacks.Callback] = []
    if settings.bleu_sentences:
        sources, references = _bleu_pairs(recipe, translator, validation_pairs)
        result.append(callbacks.ValidationBleu(translator, sources, references))
        pictures.append(callbacks.AttentionPicture(translator, sources[0], logs))
    from_logs: list[keras.callbacks.Callback] = []
    if settings.schedule == "plateau":
        from_logs.append(plateau_callback(settings))
    if settings.patience:
        from_logs.append(stopping_callback(settings))
    keeper = callbacks.Checkpoints(
        output / model_directory.CHECKPOINTS, settings.monitor, history, from_logs, on_better
    )
    # Save the checkpoint before optional outputs.
    result += [*from_logs, progress, keeper, keras.callbacks.TensorBoard(logs), *pictures]
    return result, keeper


def _bleu_pairs(
    recipe: Recipe, translator: Translator, pairs: tf.data.Dataset
) -> tuple[list[str], list[str]]:
    """The sentences of the validation BLEU and their references."""
    sources, references = [], []
    for texts in pairs.as_numpy_iterator():
        source, target = (text.decode("utf-8") for text in texts[:2])
        (ids,) = translator.source_tokenizer.encode([source])
        if not (is_blank(source) or is_blank(target)) and len(ids) < recipe.data.max_length:
            sources.append(source)
            references.append(target)
        if len(sources) == recipe.training.bleu_sentences:
            break
    return sources, references
