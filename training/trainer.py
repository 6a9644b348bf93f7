"""The training loop: from a recipe to a model directory."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import keras

from keras_attn_nmt import model_directory
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.extras import extra
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.model_file import load_weights
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.cluster import Cluster
from keras_attn_nmt.training.cluster_facts import (
    check_same_data,
    check_same_settings,
    shared_tokenizers,
)
from keras_attn_nmt.training.device import describe_device, unused_gpu
from keras_attn_nmt.training.distribution import Replicas, replicas
from keras_attn_nmt.training.evaluation import metrics
from keras_attn_nmt.training.optimizer import check_schedule, stopping_callback, warn_of_warmup
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.parents import (
    Parent,
    begin_with,
    load_parent,
    resumed_parent,
    write_record,
)
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.resuming import (
    check_output,
    check_resumed_data,
    nothing_to_resume,
    record_changes,
    write_start,
    written_epoch,
)
from keras_attn_nmt.training.run_callbacks import run_callbacks
from keras_attn_nmt.training.run_data import run_batches, warn_of_few
from keras_attn_nmt.training.run_model import compiled_model
from keras_attn_nmt.training.run_writer import RunWriter
from keras_attn_nmt.training.splits import (
    load_split,
    load_training,
    missing_files,
    training_files_advice,
    vocabulary_pairs,
)
from keras_attn_nmt.training.vectors import check_vectors, initialize_embeddings
from keras_attn_nmt.training.vocabularies import load_given, make_tokenizers
from keras_attn_nmt.translator import Translator

logger = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    output: str | os.PathLike[str],
    *,
    parent: str | os.PathLike[str] | None = None,
    keep_optimizer: bool = False,
    resume: bool = False,
    quiet: bool = False,
    cluster: Cluster | None = None,
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
            `training.patience`, `training.devices`, `training.distribution` and `data.cache`; with
            `schedule = "cosine"` and other epochs, the rates are those of the new schedule from
            here on. `parent` need not be given again.
        quiet: Hide progress bars.
        cluster: The processes that train this model together, from `Cluster.of` (JAX) or
            `connect_workers` (TensorFlow). All call this function with the same arguments; process
            0 alone reads and writes `output` and `parent`. It closes the connections. If another
            process is missing while this one waits for its gradients, this one ends with exit code
            1, as nothing can interrupt it.

    Returns:
        The content of `training.json`. It is written with the model at each new best epoch, with
        `"finished": false`, so that the model of an interrupted run is usable.

    Raises:
        FileExistsError: `output` holds a model or an interrupted run and `resume` is not set, or a
            model without a checkpoint to resume from, or another process is training in it.
        FileNotFoundError: Data or the parent are missing, or there is nothing to resume.
        ImportError: The extra `train` is not installed.
        ValueError: Recipe, data, parent and the content of `output` do not match.
        OSError: The disk is full or not writable; earlier checkpoints are intact.
    """
    if recipe.training.distribution == "multi_worker" and cluster is None:
        raise ValueError(
            "training.distribution='multi_worker' trains one model, with the command train or "
            "with train(..., cluster=connect_workers()): set training.distribution='none'."
        )
    cluster = cluster or Cluster()
    with cluster.together():
        _require_extra()
        if keep_optimizer and parent is None and not resume:
            raise ValueError("keep_optimizer needs a parent (--from) whose optimizer it keeps.")
        if resume and cluster.first and not Path(output).is_dir():
            raise nothing_to_resume(Path(output))
        check_same_settings(cluster, recipe, resume, parent is not None, keep_optimizer)
        with (
            taken(output) if cluster.first else contextlib.nullcontext(Path(output)) as directory,
            replicas(cluster, recipe.training) as devices,
        ):
            begun: tuple[dict[str, Any] | None, Parent | None] = None, None
            if cluster.first:
                begun = _begin(directory, recipe, parent, keep_optimizer, resume)
            state, record = cluster.from_first(lambda: [begun[0], begun[1] and begun[1].record])
            begun_with = begun[1] or (Parent(record) if record else None)
            settings = recipe.training
            keras.utils.set_random_seed(settings.seed)
            policy = keras.config.dtype_policy()
            keras.config.set_dtype_policy(settings.dtype_policy)
            try:
                return _train(recipe, directory, state, begun_with, quiet, devices)
            finally:
                keras.config.set_dtype_policy(policy)


def _begin(
    directory: Path,
    recipe: Recipe,
    parent: str | os.PathLike[str] | None,
    keep_optimizer: bool,
    resume: bool,
) -> tuple[dict[str, Any] | None, Parent | None]:
    """The state to resume from and the parent, both or either `None`."""
    state = check_output(directory, recipe, resume)
    if state is not None:
        return state, resumed_parent(directory, parent, keep_optimizer)
    return state, None if parent is None else load_parent(parent, recipe, keep_optimizer)


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
    devices: Replicas,
) -> dict[str, Any]:
    settings, cluster = recipe.training, devices.cluster
    start = time.perf_counter()

    if state is None:
        check_schedule(settings)
        metrics(settings.bleu_tokenize)
    new = state is None and parent is None and cluster.first
    given = load_given(recipe.vocabulary) if new else {}
    if new:
        check_vectors(recipe)
    aligned = settings.guided_alignment > 0
    # Otherwise processes of one machine would prepare the same files at the same time.
    with missing_files(training_files_advice(recipe.data)), cluster.first_before_others():
        pairs = load_training(recipe.data, aligned, parent.record if parent else None)
        validation_pairs = load_split(recipe.data, "validation", aligned)

    def tokenizers_of_run() -> tuple[Tokenizer, Tokenizer]:
        if parent and parent.files:
            return parent.files.source_tokenizer, parent.files.target_tokenizer
        if state is not None:
            _, digests, _ = model_directory.read_config(output)
            return model_directory.load_vocabularies(output, digests)
        learned_on = vocabulary_pairs(recipe.data, pairs)
        return make_tokenizers(recipe.vocabulary, learned_on, given)

    tokenizers = shared_tokenizers(cluster, tokenizers_of_run)
    data, validation = run_batches(recipe, tokenizers, pairs, validation_pairs)
    check_same_data(cluster, data, validation)
    if state is not None and cluster.first:
        check_resumed_data(output, data, validation)
    shard, validation_shard = devices.shard(data), devices.shard(validation)
    if cluster.first:
        warn_of_few(validation.plan.pairs, settings)
    steps = data.plan.steps_per_epoch
    if cluster.first:
        warn_of_warmup(settings, steps)
    config = ModelConfig.from_dict(
        {
            **recipe.model,
            "source_vocabulary_size": tokenizers[0].vocabulary_size,
            "target_vocabulary_size": tokenizers[1].vocabulary_size,
        }
    )
    kept_steps = parent.record["optimizer_steps"] if parent else 0

    def build() -> keras.Model:
        return compiled_model(recipe, config, steps, kept_steps, devices)

    # First the model of process 0, so that its initial weights are those of a single device.
    local = build() if cluster.first else None
    model = devices.replicated(build, local)
    logger.info("%s", describe_device(model))
    if warning := unused_gpu():
        logger.warning("%s", warning)
    logger.info("%s parameters", f"{model.count_params():,}")

    done = state["epochs"] if state else 0
    history = state["history"] if state else []
    checkpoints = output / model_directory.CHECKPOINTS
    if local is not None:
        if state is None:
            tokenizers[0].save(output / model_directory.SOURCE)
            tokenizers[1].save(output / model_directory.TARGET)
            files = ModelFiles(local, config, *tokenizers, recipe.search)
            model_directory.write_config(output, files)
            vocabularies = {side: each.record() for side, each in given.items()}
            if parent is None:
                vocabularies |= initialize_embeddings(local, recipe, tokenizers)
            given_files = parent.vocabulary_files if parent else vocabularies
            write_start(output, recipe, given_files, data, validation)
            write_record(output, parent)
        if done:
            checkpoint = checkpoints / callbacks.weights_file(done - 1)
            load_weights(local, checkpoint)
            logger.info("resuming after epoch %d of %d", done, settings.epochs)
            record_changes(output, recipe, done)
        elif parent:
            begin_with(local, parent)
            logger.info(
                "beginning with the weights and vocabularies of %s, and a%s optimizer",
                *(parent.record["path"], " kept" if kept_steps else " new"),
            )
    devices.spread(model, local)
    writer = None
    if local is not None:
        files = ModelFiles(local, config, *tokenizers)
        writer = RunWriter(output, recipe, files, data, validation, parent, done, devices, start)

    progress = callbacks.Progress(
        steps, data.plan.target_tokens, settings.epochs, quiet or not cluster.first
    )
    listeners, keeper = run_callbacks(
        recipe,
        devices,
        Translator(local, *tokenizers, search=recipe.search) if local is not None else None,
        validation_pairs,
        output,
        history,
        progress,
        averaged=bool(history or (kept_steps and settings.ema_momentum)),
        writer=writer,
    )
    stopped = settings.patience and callbacks.stopped_early(history, stopping_callback(settings))
    if done < settings.epochs and not stopped:
        # A kill in between leaves a best checkpoint whose model was not written.
        best = callbacks.best_epoch(history, settings.monitor) if history else None
        if writer and history and written_epoch(output) != best:
            writer.write(history, finished=False)
        try:
            with devices.scope():
                model.fit(
                    shard.epochs(settings.epochs, initial_epoch=done, seed=settings.seed),
                    epochs=settings.epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    validation_data=validation_shard.in_order(),
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
    return cluster.from_first(lambda: writer.write(history, finished=True) if writer else {})
