"""Training in several processes on the TensorFlow backend.

Each process trains its own variables with Keras' `fit` on its rows of every batch. The collectives
of `tf.distribute.MultiWorkerMirroredStrategy` add up gradients and token counts, so that all
processes make the same update. `fit` of a model of the strategy itself fails (Keras 3.15).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_attn_nmt.training.cluster import Cluster, take_back_sigterm
from keras_attn_nmt.training.distribution import ReplicaModel, Replicas, real_rows, variables_of


class WorkerModel(ReplicaModel):
    """A model that makes the same update in all processes, from the rows of all of them.

    Losses are those of the global batch. Metrics must be means: `get_metrics_result` outside of a
    step adds up their totals and counts, and must be called by all processes.

    Args:
        model: The model of this process, whose layers are used.
        strategy: The strategy of all processes, one device each.
    """

    def __init__(self, model: Any, strategy: tf.distribute.Strategy):
        super().__init__(model)
        self._strategy = strategy

    def compile(self, *args: Any, **kwargs: Any) -> None:
        # XLA does not compile the collectives.
        super().compile(*args, **kwargs, jit_compile=False)

    def train_step(self, data: Any) -> Any:
        x, y, weights = self._unpacked(data)
        y_pred, loss, rows, *gradients = self._strategy.run(self._global_gradients, (x, y, weights))
        self._loss_tracker.update_state(loss, sample_weight=rows)
        # Each process clips, unscales and applies the same sums.
        self.optimizer.apply(gradients, self.trainable_weights)
        return self.compute_metrics(x, y, y_pred, sample_weight=weights)

    def test_step(self, data: Any) -> Any:
        x, y, weights = self._unpacked(data)
        y_pred, loss, rows = self._strategy.run(self._global_loss, (x, y, weights))
        self._loss_tracker.update_state(loss, sample_weight=rows)
        return self.compute_metrics(x, y, y_pred, sample_weight=weights)

    def _unpacked(self, data: Any) -> tuple[Any, Any, Any]:
        """Inputs, labels and weights of a batch."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if not self._compile_loss.built:
            # Its metrics of several losses cannot be made within the strategy.
            self._compile_loss.build(y, dict.fromkeys(self.output, tf.zeros(())))
        return x, y, weights

    def _global_gradients(self, x: Any, y: Any, weights: Any) -> list[Any]:
        """Predictions for the rows of this process; loss, rows and gradients of all."""
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            # The loss divides by the tokens of all, see `keras_attn_nmt/layers/replicas.py`.
            loss = self.compute_loss(x, y, y_pred, weights, training=True)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_weights)
        return [y_pred, *_sum([loss, real_rows(x), *map(tf.convert_to_tensor, gradients)])]

    def _global_loss(self, x: Any, y: Any, weights: Any) -> list[Any]:
        """Predictions for the rows of this process; loss and rows of all."""
        y_pred = self(x, training=False)
        loss = self.compute_loss(x, y, y_pred, weights, training=False)
        return [y_pred, *_sum([loss, real_rows(x)])]

    def get_metrics_result(self) -> Any:
        if tf.executing_eagerly():
            values = [tf.convert_to_tensor(each) for each in self.metrics_variables]
            sums = self._strategy.run(lambda: _sum([tf.identity(each) for each in values]))
            for variable, value in zip(self.metrics_variables, sums, strict=True):
                variable.assign(value)
        return super().get_metrics_result()


def _sum(values: list[Any]) -> list[Any]:
    """The sums of values over all processes."""
    replica = tf.distribute.get_replica_context()
    return list(replica.all_reduce(tf.distribute.ReduceOp.SUM, values))


class Workers(Replicas):
    """The processes of `TF_CONFIG`, one device each."""

    def __init__(self, cluster: Cluster, strategy: tf.distribute.Strategy):
        super().__init__(cluster)
        self._strategy = strategy

    @property
    def loss_shards(self) -> int:
        return 1

    @property
    def dropout_stream(self) -> int:
        return self.cluster.process

    def wrap(self, model: keras.Model) -> keras.Model:
        return WorkerModel(model, self._strategy)

    def spread(self, model: keras.Model, local: keras.Model | None) -> None:
        def content() -> bytes:
            file = io.BytesIO()
            np.savez(file, *(each.numpy() for each in variables_of(model)))
            return file.getvalue()

        received = self.cluster.bytes_from_first(content)
        if local is None:
            with np.load(io.BytesIO(received)) as values:
                for variable, name in zip(variables_of(model), values.files, strict=True):
                    variable.assign(values[name])


@contextlib.contextmanager
def workers(cluster: Cluster) -> Iterator[Workers]:
    """The processes of `TF_CONFIG` for the duration of the block.

    Raises:
        ValueError: A process sees several GPUs.
        RuntimeError: TensorFlow has been used before in this Python process.
    """
    # Otherwise TensorFlow would make a copy of the model for each.
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus > 1:
        raise ValueError(
            f"training.distribution='multi_worker' trains on one GPU per process, and this one "
            f"sees {gpus}: start a process for each of them (an address each in TF_CONFIG) with "
            "its own CUDA_VISIBLE_DEVICES."
        )
    # All processes have come, so that TensorFlow does not wait for them.
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    take_back_sigterm()
    yield Workers(cluster, strategy)
