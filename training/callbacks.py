"""What happens besides the steps of a training: scores, pictures, checkpoints, progress."""

from __future__ import annotations

import io
import json
import math
import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tqdm import tqdm

from keras_attn_nmt import writing
from keras_attn_nmt.extras import extra
from keras_attn_nmt.memory import keep_freed_memory
from keras_attn_nmt.training.evaluation import corpus_scores
from keras_attn_nmt.translator import Translator

STATE = "state.json"


class SeedEpochs(keras.callbacks.Callback):
    """Draws the dropout of an epoch from the seed and its number alone.

    So a training that goes on after a stop drops what it would have dropped without the stop.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        generator = random.Random(f"{self.seed} {epoch}")
        for variable in self.model.variables:
            if "seed_generator" in variable.path:
                variable.assign([generator.getrandbits(31), 0])


class KeepFreedMemory(keras.callbacks.Callback):
    """Calls `keep_freed_memory` before each step, as data sets undo it when they begin."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        keep_freed_memory()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        keep_freed_memory()


class AverageWeights(keras.callbacks.Callback):
    """Puts the moving average of the weights in their place while they are evaluated and saved.

    The optimizer keeps the average (`use_ema`). Stands before the callbacks that are to see it.
    Unlike Keras' `SwapEMAWeights` it can begin with a checkpoint in which both changed places.

    Args:
        in_place: Whether the model has the average already, as after loading a checkpoint.

    References:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"
    """

    def __init__(self, in_place: bool = False):
        super().__init__()
        self.in_place = in_place

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.in_place:
            self._swap()

    def on_test_begin(self, logs: Any = None) -> None:
        if not self.in_place:
            self._swap()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.in_place:
            self._swap()

    def _swap(self) -> None:
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        averages = optimizer._model_variables_moving_average
        for variable, average in zip(self.model.trainable_variables, averages, strict=True):
            value = keras.ops.copy(variable)
            variable.assign(average)
            average.assign(value)
        self.in_place = not self.in_place


class ValidationBleu(keras.callbacks.Callback):
    """Translates validation sentences after each epoch, greedily, and logs `val_bleu`.

    Args:
        translator: Over the model in training.
        sources: Sentences.
        references: Their translations.
    """

    def __init__(self, translator: Translator, sources: Sequence[str], references: Sequence[str]):
        super().__init__()
        with extra("train"):  # Before an epoch is spent.
            import sacrebleu  # noqa: F401
        self.translator = translator
        self.sources = list(sources)
        self.references = list(references)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        found = self.translator(self.sources, beam_size=1)
        scores = corpus_scores([each.text for each in found], self.references)
        logs["val_bleu"] = scores["bleu"]["score"]


class AttentionPicture(keras.callbacks.Callback):
    """Writes the attention of one sentence to TensorBoard after each epoch.

    Args:
        translator: Over the model in training.
        sentence: The sentence.
        directory: TensorBoard's directory.
    """

    def __init__(self, translator: Translator, sentence: str, directory: Path):
        super().__init__()
        with extra("train"):
            import tensorboard  # noqa: F401  tf.summary.image needs it

            from keras_attn_nmt.plots import plot_attention
        self.plot_attention = plot_attention
        self.translator = translator
        self.sentence = sentence
        self.writer = tf.summary.create_file_writer(str(directory))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        (found,) = self.translator([self.sentence], beam_size=1)
        figure = self.plot_attention(found.attention, found.source_tokens, found.target_tokens)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=80)
        with self.writer.as_default():
            image = tf.image.decode_png(picture.getvalue(), channels=3)
            tf.summary.image("attention", image[tf.newaxis], step=epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self.writer.close()


class Checkpoints(keras.callbacks.Callback):
    """Keeps the last and the best epoch on disk, and all that a resumed training needs.

    `state.json` holds the logs of every epoch and names the two weight files. It is replaced when
    they are complete, so that a kill or a full disk at any moment leaves a state to go on from.

    Args:
        directory: Where to write.
        monitor: Name in the logs that decides on the best epoch.
        history: Logs of the epochs before this run, from `read_state`.
        replayed: Callbacks whose state follows from the logs; they are shown `history`.
        on_better: Called with the history once an epoch that is better than all before is saved.
    """

    def __init__(
        self,
        directory: Path,
        monitor: str,
        history: Sequence[dict[str, float]] = (),
        replayed: Sequence[keras.callbacks.Callback] = (),
        on_better: Callable[[list[dict[str, float]]], Any] | None = None,
    ):
        super().__init__()
        self.directory = directory
        self.monitor = monitor
        self.history = list(history)
        self.replayed = replayed
        self.on_better = on_better
        directory.mkdir(parents=True, exist_ok=True)
        # What a kill left half written.
        for path in directory.glob(".*.weights.h5.*"):
            shutil.rmtree(path, ignore_errors=True)

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.history or not self.replayed:
            return
        # The learning rate in the checkpoint is lowered already: the replay must not do it again.
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
        history = [*self.history, {name: float(value) for name, value in logs.items()}]
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
                self.model.save_weights(temporary)
            writing.write_text(self.directory / STATE, json.dumps(state, indent=2) + "\n")
        except OSError as error:
            raise OSError(
                f"Could not save epoch {epoch + 1} to {self.directory}: {error}. The epochs before "
                "it are as they were; make room and resume with --resume."
            ) from error
        self.history = history
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
                    "Make room and resume with --resume."
                ) from error


def weights_file(epoch: int) -> str:
    """Name of the checkpoint of an epoch, counted from 0."""
    return f"epoch_{epoch + 1:03d}.weights.h5"


def best_epoch(history: Sequence[dict[str, float]], monitor: str) -> int:
    """Index of the best epoch: lowest loss or highest BLEU, the earliest of equals."""
    sign = -1 if monitor.endswith("loss") else 1
    return max(range(len(history)), key=lambda i: (sign * history[i][monitor], -i))


def read_state(directory: Path) -> dict[str, Any] | None:
    """What `Checkpoints` last wrote to `state.json`, or `None`."""
    path = directory / STATE
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        return {name: state[name] for name in ("epochs", "finished", "history")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged ({error}); begin anew in another directory."
        ) from error


class Progress(keras.callbacks.Callback):
    """A bar for each epoch, with loss, target tokens a second and time left.

    Logs `tokens_per_second`, validation not counted, and `seconds`, all counted, so it stands
    behind the callbacks that take time and before those that write logs.

    Args:
        steps: Batches in an epoch.
        tokens: Target tokens in an epoch, padding left out.
        epochs: Epochs in all.
        quiet: Show nothing.
    """

    def __init__(self, steps: int, tokens: int, epochs: int, quiet: bool = False):
        super().__init__()
        self.steps = steps
        self.tokens = tokens
        self.epochs = epochs
        self.quiet = quiet

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
                f"The loss became {logs['loss']} in batch {batch + 1} of this epoch. The epochs "
                "before it are saved; train anew with a lower training.learning_rate."
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
