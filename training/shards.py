"""The rows of a batch that one of several processes gets."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from keras_attn_nmt.training.buckets import BatchPlan


@dataclasses.dataclass(frozen=True)
class Shard:
    """A share of each batch, see `BatchedPairs.shard`.

    Attributes:
        count: Number of processes.
        index: Number of this process.
        devices: Devices of each process.
    """

    count: int
    index: int
    devices: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.devices < 1:
            raise ValueError(
                "the number of processes and of devices must be at least 1, got "
                f"{self.count} and {self.devices}"
            )
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"the number of a process must be from 0 to {self.count - 1}, got {self.index}"
            )

    @property
    def whole(self) -> bool:
        return self.count * self.devices == 1

    def check(self, plan: BatchPlan) -> None:
        """Raises `ValueError` if a batch of the plan has fewer pairs than there are devices."""
        parts = self.count * self.devices
        least = min(plan.buckets, key=lambda bucket: bucket.batch_size)
        if least.batch_size < parts:
            raise ValueError(
                f"batches of the longest pairs ({sum(least.shape)} source and target positions) "
                f"hold {least.batch_size} pairs, fewer than the {parts} devices of all processes: "
                f"raise training.tokens_per_batch to at least {parts * sum(least.shape)}, or use "
                "fewer devices"
            )

    def rows(self, batch: tf.RaggedTensor, size: tf.Tensor) -> tf.RaggedTensor:
        """The rows of this process; none if the batch ends before them.

        Args:
            batch: The batch, `(rows, ...)`.
            size: Rows of a full batch.
        """
        if self.whole:
            return batch
        end = batch.nrows()
        rows = tf.cast(self._rows_per_device(size) * self.devices, end.dtype)
        start = tf.minimum(self.index * rows, end)
        return batch[start : tf.minimum(start + rows, end)]

    def padded(self, rows: tf.Tensor, size: tf.Tensor, passes: int) -> tf.Tensor:
        """Repeats the rows of each device `passes` times, and pads to the rows of a full batch."""
        if self.whole:
            return tf.concat([rows] * passes, axis=0) if passes > 1 else rows
        shape, per_device = tf.shape(rows), tf.cast(self._rows_per_device(size), tf.int32)
        missing = per_device * self.devices - shape[0]
        rows = tf.pad(rows, [[0, missing]] + [[0, 0]] * (rows.shape.rank - 1))
        of_devices = tf.reshape(rows, tf.concat([[self.devices, per_device], shape[1:]], axis=0))
        repeated = tf.concat([of_devices] * passes, axis=1)
        return tf.reshape(repeated, tf.concat([[-1], shape[1:]], axis=0))

    def _rows_per_device(self, size: tf.Tensor) -> tf.Tensor:
        parts = self.count * self.devices
        return (size + parts - 1) // parts


WHOLE = Shard(1, 0)
