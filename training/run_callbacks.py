"""The callbacks of a training run, in the order in which they need each other."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from keras_attn_nmt import model_directory
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.cluster import Cluster
from keras_attn_nmt.training.distribution import Replicas
from keras_attn_nmt.training.optimizer import plateau_callback, stopping_callback
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.run_writer import RunWriter
from keras_attn_nmt.translator import Translator


class ShareLogs(keras.callbacks.Callback):
    """Gives all processes the logs of process 0, so that they take the same decisions."""

    def __init__(self, cluster: Cluster):
        super().__init__()
        self.cluster = cluster

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.cluster.check_lost()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.cluster.check_lost()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs.update(
            self.cluster.from_first(lambda: {name: float(each) for name, each in logs.items()})
        )


class InFirstProcess(keras.callbacks.Callback):
    """Calls others at the end of an epoch in process 0, on one device, while other processes wait.

    Args:
        replicas: The devices.
        inner: The callbacks; none in the other processes.
    """

    def __init__(self, replicas: Replicas, inner: Sequence[keras.callbacks.Callback]):
        super().__init__()
        self.replicas = replicas
        self.inner = inner

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        for each in self.inner:
            each.set_model(model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        def call() -> None:
            with self.replicas.single():
                for each in self.inner:
                    each.on_epoch_end(epoch, logs)

        self.replicas.cluster.from_first(call)

    def on_train_end(self, logs: Any = None) -> None:
        for each in self.inner:
            each.on_train_end(logs)


class CollectWeights(keras.callbacks.Callback):
    """Copies the weights to the model that process 0 translates with."""

    def __init__(self, replicas: Replicas, local: keras.Model):
        super().__init__()
        self.replicas = replicas
        self.local = local

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.replicas.collect(self.model, self.local)


def run_callbacks(
    recipe: Recipe,
    replicas: Replicas,
    translator: Translator | None,
    validation_pairs: tf.data.Dataset,
    output: Path,
    history: Sequence[dict[str, float]],
    progress: callbacks.Progress,
    averaged: bool,
    writer: RunWriter | None,
) -> tuple[list[keras.callbacks.Callback], callbacks.History]:
    """The callbacks of `fit`, and the one of them that has the history in the end.

    Args:
        recipe: The recipe.
        replicas: The devices.
        translator: Translates with the model of process 0; `None` in the other processes.
        validation_pairs: The validation set.
        output: Model directory.
        history: Logs of previous epochs.
        progress: The progress bar.
        averaged: Whether the model has averaged weights now.
        writer: Writes the model of a new best epoch; `None` in the other processes.
    """
    settings, cluster = recipe.training, replicas.cluster
    logs = output / "tensorboard"
    result: list[keras.callbacks.Callback] = [
        callbacks.KeepFreedMemory(),
        callbacks.SeedEpochs(settings.seed, replicas.dropout_stream),
    ]
    if settings.ema_momentum:
        result.append(callbacks.AverageWeights(in_place=averaged))
    from_logs: list[keras.callbacks.Callback] = []
    if settings.schedule == "plateau":
        from_logs.append(plateau_callback(settings))
    if settings.patience:
        from_logs.append(stopping_callback(settings))
    keeper = callbacks.History(history, from_logs)
    scores: list[keras.callbacks.Callback] = []
    saves: list[keras.callbacks.Callback] = []
    boards: list[keras.callbacks.Callback] = []
    if translator is not None and writer is not None:
        local = translator.model

        def save_weights(path: Path) -> None:
            replicas.collect(keeper.model, local)
            write_weights(local, path)

        saves.append(
            callbacks.Checkpoints(
                output / model_directory.CHECKPOINTS,
                settings.monitor,
                keeper,
                save_weights,
                lambda history: writer.write(history, finished=False),
            )
        )
        boards.append(keras.callbacks.TensorBoard(logs))
        if settings.bleu_sentences:
            sources, references = _bleu_pairs(recipe, translator, validation_pairs)
            scores.append(CollectWeights(replicas, local))
            scores.append(
                callbacks.ValidationBleu(
                    *(translator, sources, references, settings.bleu_tokenize),
                    needed=settings.monitor == "val_bleu" and not history,
                )
            )
            # After the checkpoint, as it is optional.
            saves.append(callbacks.AttentionPicture(translator, sources[0], logs))
    result.append(InFirstProcess(replicas, scores))
    if cluster.processes > 1:
        result.append(ShareLogs(cluster))
    result += [*from_logs, progress, keeper, InFirstProcess(replicas, saves), *boards]
    return result, keeper


def write_weights(model: keras.Model, path: Path) -> None:
    """Writes weights and optimizer to a `.weights.h5` file, by way of a `.keras` file beside it.

    The HDF5 library, which writes to the disk for `model.save_weights`, ignores some errors of the
    disk, and others end the process. A `.keras` file is made in memory (or, where Keras finds too
    little of it, in a temporary file) and has a checksum.

    Raises:
        OSError: The disk is full or not writable, or returns something else than was written.
    """
    archive = path.with_name("checkpoint.keras")
    model.save(archive)
    try:
        with (
            zipfile.ZipFile(archive) as file,
            file.open("model.weights.h5") as weights,
            open(path, "wb") as target,
        ):
            shutil.copyfileobj(weights, target, 2**20)
    except zipfile.BadZipFile as error:
        raise OSError(f"The disk did not keep {path.name}: {error}") from error
    archive.unlink()


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
