"""Training callbacks: validation BLEU, attention plots, checkpoints, progress."""

from __future__ import annotations

import io
import json
import math
import random
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from keras_attn_nmt import writing
from keras_attn_nmt.extras import extra
from keras_attn_nmt.memory import keep_freed_memory
from keras_attn_nmt.training.evaluation import check_references, corpus_scores, reference_lists
from keras_attn_nmt.translator import Translator

STATE = "state.json"


class SeedEpochs(keras.callbacks.Callback):
    """Reseeds dropout at each epoch from the seed and the epoch number.

    Dropout masks are therefore reproducible across resume.

    Args:
        seed: The seed.
        stream: Number of the process, if each draws the masks of its own rows.
    """

    def __init__(self, seed: int, stream: int = 0):
        super().__init__()
        self.seed = f"{seed} {stream}" if stream else f"{seed}"

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        generator = random.Random(f"{self.seed} {epoch}")
        for variable in self.model.variables:
            if "seed_generator" in variable.path:
                variable.assign([generator.getrandbits(31), 0])


class KeepFreedMemory(keras.callbacks.Callback):
    """Calls `keep_freed_memory` before each step, as new data set iterators reset it."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        keep_freed_memory()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        keep_freed_memory()


class AverageWeights(keras.callbacks.Callback):
    """Swaps in the moving average of the weights for evaluation and checkpoints.

    The optimizer maintains the average (`use_ema`). Place it before the callbacks that evaluate or
    save. `fit` ends with the average in the model. Unlike Keras' `SwapEMAWeights`, it can resume
    from a checkpoint saved after the swap.

    Args:
        in_place: Whether the averaged weights are already swapped in, as in a checkpoint of the end
            of an epoch. With `BackupAndRestore`: true where it has such a backup to restore, false
            in the first run.

    Raises:
        ValueError: When `fit` begins, if the optimizer maintains no average.

    References:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"
    """

    def __init__(self, in_place: bool = False):
        super().__init__()
        self.in_place = in_place
        self._averages: list[Any] = []

    def on_train_begin(self, logs: Any = None) -> None:
        if not getattr(self._optimizer, "use_ema", False):
            raise ValueError(
                "AverageWeights needs an optimizer that maintains an average, as in "
                f"Adam(use_ema=True); got {type(self._optimizer).__name__} without it."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._averages = []
        if self.in_place:
            self._swap()

    def on_test_begin(self, logs: Any = None) -> None:
        if not self.in_place:
            self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.in_place:
            self._swap()
        self._averages = [keras.ops.copy(each) for each in self.model.trainable_variables]

    def on_train_end(self, logs: Any = None) -> None:
        if not self._averages:
            return
        # Keras has overwritten the model's with the raw weights, which the optimizer holds. Both
        # get the averages, so that another `fit` may begin.
        for variables in (self.model.trainable_variables, self._held()):
            for variable, average in zip(variables, self._averages, strict=True):
                variable.assign(keras.ops.copy(average))
        self.in_place, self._averages = False, []

    @property
    def _optimizer(self) -> Any:
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _held(self) -> list[Any]:
        """The optimizer's variables: the averages during training, else the raw weights."""
        return list(self._optimizer._model_variables_moving_average)

    def _swap(self) -> None:
        for variable, average in zip(self.model.trainable_variables, self._held(), strict=True):
            value = keras.ops.copy(variable)
            variable.assign(average)
            average.assign(value)
        self.in_place = not self.in_place


class ValidationBleu(keras.callbacks.Callback):
    """Greedily translates validation sentences after each epoch and logs `val_bleu`.

    Args:
        translator: A `Translator` of the model being trained.
        sources: Validation sentences.
        references: Their reference translations.
        tokenize: See `corpus_scores`.
        needed: See `check_references`.

    Raises:
        ValueError: See `check_references`; or a sentence lacks its reference.
    """

    def __init__(
        self,
        translator: Translator,
        sources: Sequence[str],
        references: Sequence[str],
        tokenize: str = "13a",
        needed: bool = False,
    ):
        super().__init__()
        self.sources, self.references = list(sources), list(references)
        # Fail early, not after the first epoch.
        for each in reference_lists(self.references):
            if len(each) != len(self.sources):
                raise ValueError(
                    f"Got {len(each)} references for {len(self.sources)} sources: give one "
                    "reference for each source."
                )
        check_references(self.references, tokenize, needed)
        self.translator = translator
        self.tokenize = tokenize

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found = self.translator(self.sources, beam_size=1)
        scores = corpus_scores([each.text for each in found], self.references, self.tokenize)
        logs["val_bleu"] = scores["bleu"]["score"]


class AttentionPicture(keras.callbacks.Callback):
    """Plots the attention of one sentence to TensorBoard after each epoch.

    Args:
        translator: A `Translator` of the model being trained.
        sentence: Source sentence.
        directory: TensorBoard log directory.
    """

    def __init__(self, translator: Translator, sentence: str, directory: Path):
        super().__init__()
        with extra("train"):
            import tensorboard  # noqa: F401  tf.summary.image needs it

            from keras_attn_nmt.plots import plot_translation
        self.plot_translation = plot_translation
        self.translator = translator
        self.sentence = sentence
        self.directory = directory
        self.writer: Any = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        (found,) = self.translator([self.sentence], beam_size=1)
        figure = self.plot_translation(found)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=80)
        if self.writer is None:
            self.writer = tf.summary.create_file_writer(str(self.directory))
        with self.writer.as_default():
            image = tf.image.decode_png(picture.getvalue(), channels=3)
            tf.summary.image("attention", image[tf.newaxis], step=epoch)

    def on_train_end(self, logs: Any = None) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


class History(keras.callbacks.Callback):
    """Keeps the logs of every epoch, and restores callbacks of an interrupted run.

    Args:
        history: Logs of previous epochs, from `read_state`.
        replayed: Callbacks whose state is restored by replaying `history`.
    """

    def __init__(
        self,
        history: Sequence[dict[str, float]] = (),
        replayed: Sequence[keras.callbacks.Callback] = (),
    ):
        super().__init__()
        self.history = list(history)
        self.replayed = replayed

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.history or not self.replayed:
            return
        # The checkpoint has the reduced learning rate: the replay must not reduce it again.
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        fixed = isinstance(optimizer._learning_rate, keras.Variable)
        learning_rate = float(optimizer.learning_rate)
        for epoch, past in enumerate(self.history):
            for callback in self.replayed:
                callback.on_epoch_end(epoch, dict(past))
        if fixed:
            optimizer.learning_rate = learning_rate

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history = [*self.history, {name: float(value) for name, value in logs.items()}]


class Checkpoints(keras.callbacks.Callback):
    """Saves checkpoints of the last and the best epoch, and the state needed to resume.

    `state.json` holds the logs of every epoch and names the two weight files. It is replaced
    atomically after they are written, so a run can be resumed after a kill or a full disk.

    Args:
        directory: Checkpoint directory.
        monitor: Name of the logged metric that selects the best epoch.
        history: The logs, of a callback before this one.
        save_weights: Saves weights and optimizer to a path.
        on_better: Called with the history after a new best epoch is saved.
    """

    def __init__(
        self,
        directory: Path,
        monitor: str,
        history: History,
        save_weights: Callable[[Path], Any],
        on_better: Callable[[list[dict[str, float]]], Any] | None = None,
    ):
        super().__init__()
        self.directory = directory
        self.monitor = monitor
        self.kept = history
        self.save_weights = save_weights
        self.on_better = on_better
        writing.make_folder(directory)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        history = self.kept.history
        if not math.isfinite(history[-1][self.monitor]):
            raise ValueError(
                f"{self.monitor} became {history[-1][self.monitor]} in epoch {epoch + 1}, which is "
                "not saved; any earlier epoch is. Start a new run with a lower "
                "training.learning_rate."
            )
        name = weights_file(epoch)
        best = best_epoch(history, self.monitor)
        state = {
            "epochs": epoch + 1,
            "best_epoch": best + 1,
            "finished": bool(self.model.stop_training),
            "history": history,
        }
        try:
            with writing.atomic_write(self.directory / name) as temporary:
                self.save_weights(temporary)
            writing.write_text(self.directory / STATE, json.dumps(state, indent=2) + "\n")
        except OSError as error:
            raise OSError(
                f"Could not save epoch {epoch + 1} to {self.directory}: {error}. Free disk space "
                f"and {'resume with --resume' if epoch else 'start again'}."
            ) from error
        kept = {name, weights_file(best)}
        for path in self.directory.glob("epoch_*.weights.h5"):
            if path.name not in kept:
                path.unlink()
        if self.on_better and best == epoch:
            try:
                self.on_better(history)
            except OSError as error:
                raise OSError(
                    f"Epoch {epoch + 1} is saved, but its model could not be written: {error}. "
                    "Free disk space and resume with --resume."
                ) from error


def weights_file(epoch: int) -> str:
    """Checkpoint file name of an epoch (0-based)."""
    return f"epoch_{epoch + 1:03d}.weights.h5"


def best_epoch(history: Sequence[dict[str, float]], monitor: str) -> int:
    """Index of the best epoch: lowest loss or highest BLEU; ties go to the earliest."""
    sign = -1 if monitor.endswith("loss") else 1
    return max(range(len(history)), key=lambda i: (sign * history[i][monitor], -i))


def stopped_early(history: Sequence[dict[str, float]], stopping: Any) -> bool:
    """Whether a `keras.callbacks.EarlyStopping` stops after one of these epochs."""
    model = types.SimpleNamespace(stop_training=False)
    stopping.set_model(model)
    stopping.on_train_begin()
    for epoch, logs in enumerate(history):
        stopping.on_epoch_end(epoch, dict(logs))
    return bool(model.stop_training)


def read_state(directory: Path) -> dict[str, Any] | None:
    """The last state written by `Checkpoints`, or `None`."""
    path = directory / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {name: state[name] for name in ("epochs", "history")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): start a new run in another directory."
        ) from error


class Progress(keras.callbacks.Callback):
    """Progress bar per epoch with loss, target tokens per second and remaining time.

    Logs `tokens_per_second` (training only) and `seconds` (including validation). Place it after
    the callbacks that take time and before those that write logs.

    Args:
        steps: Batches per epoch.
        tokens: Target tokens per epoch, without padding.
        epochs: Total number of epochs.
        quiet: Hide the bar.
    """

    def __init__(self, steps: int, tokens: int, epochs: int, quiet: bool = False):
        super().__init__()
        self.steps = steps
        self.tokens = tokens
        self.epochs = epochs
        self.quiet = quiet
        self.bar = tqdm(disable=True)

    def close(self) -> None:
        """Leaves the bar of an interrupted epoch, so that it is not redrawn after a message."""
        self.bar.close()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.bar = tqdm(
            total=self.steps,
            desc=f"epoch {epoch + 1}/{self.epochs}",
            unit="batch",
            disable=self.quiet,
            mininterval=1.0,
        )
        self.start = time.perf_counter()
        self.tokens_per_second = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"The loss became {logs['loss']} in batch {batch + 1} of this epoch, which is not "
                "saved; any earlier epoch is. Start a new run with a lower training.learning_rate."
            )
        self.bar.update()
        elapsed = time.perf_counter() - self.start
        self.tokens_per_second = self.tokens * (batch + 1) / self.steps / elapsed
        speed = f"{self.tokens_per_second:,.0f} tokens/s"
        self.bar.set_postfix_str(f"loss {logs['loss']:.3f}, {speed}", refresh=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["tokens_per_second"] = self.tokens_per_second
        logs["seconds"] = time.perf_counter() - self.start
        self.bar.set_postfix_str(", ".join(f"{name} {value:.4g}" for name, value in logs.items()))
        self.bar.close()
