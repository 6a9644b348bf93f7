"""A model with fixed shapes for `.tflite` files: encoder, decoder step and search operations.

Sizes that change in a loop are slow in TensorFlow Lite, and XNNPACK (TensorFlow 2.21, LiteRT 2.3)
sometimes computed wrong results with them. So all sizes are those of a signature, `(rows, places)`,
and only the number of steps is that of the sentences.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.export.device_shortlist import ActiveWeights
from keras_attn_nmt.export.stepwise_decoder import StepwiseDecoder
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.layers.dense import kernel_of
from keras_attn_nmt.layers.encoder import BidirectionalEncoder
from keras_attn_nmt.recurrence.cells import cell_step
from keras_attn_nmt.recurrence.products import matmul_2d, row_matmul
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.text.special_ids import EOS, PAD

# Positions of a step of the encoder's loop for several sentences.
BLOCK = 4
# Differences of logits times this are beyond all ids; those of excluded ones are still finite.
TIE_BREAK_SCALE = 1e27


class DeviceDecoder(StepwiseDecoder):
    """Decodes with fixed shapes; a shortlist is a `DeviceShortlist`.

    For one sentence, it is faster to multiply its annotations once, as `IncrementalDecoder` does.
    """

    def by_step(self, rows: int | None) -> bool:
        """See `StepwiseDecoder.by_step`."""
        return rows != 1 and super().by_step(rows)

    def attend(self, state: Any, memory: EncodedSource, query_shift: Any) -> tuple[Any, Any]:
        """See `StepwiseDecoder.attend`.

        The converter leaves out the first context: XNNPACK packs the annotations for it at every
        step, which takes longer than the product.
        """
        _, attention = super().attend(state, memory, query_shift)
        return row_matmul(attention, memory.annotations), attention

    def output_weights(self, ids: tf.Tensor) -> ActiveWeights | None:
        """See `IncrementalDecoder.output_weights`; `None` for the whole vocabulary."""
        if ids.shape[0] == self.parts.vocabulary_size:
            return None
        # Not tf.newaxis: TensorFlow Lite copies element by element for it.
        ids = tf.expand_dims(ids, 0)
        output, tied = self.parts.output, self.parts.tied_embedding
        if tied is None:
            rows, bias = tf.gather(tf.transpose(kernel_of(output)), ids), output.bias
        else:
            # The same gather as that of the embeddings: the converter turns a table that is read
            # twice to float as a whole.
            rows, bias = keras.ops.take(tied.embeddings, ids, axis=0), tied.bias
        if bias is not None:
            # Computed, as the converter quantises constants that are gathered.
            zero = tf.minimum(tf.reduce_min(ids), 0)
            bias = tf.gather(bias + tf.cast(zero, bias.dtype), tf.squeeze(ids, 0))
        # Columns that are not used have the id PAD, as the first one.
        columns = tf.where(ids == PAD, 0, tf.range(ids.shape[1]))
        places, size = tf.transpose(ids), (self.parts.vocabulary_size,)
        return ActiveWeights(
            kernel=tf.squeeze(rows, 0),
            bias=0.0 if bias is None else bias,
            embedded=tf.squeeze(self.parts.embed(ids, training=False), 0),
            columns=tf.scatter_nd(places, tf.squeeze(columns, 0), size),
        )

    def embed_tokens(self, tokens: tf.Tensor, weights: Any = None) -> tf.Tensor:
        """See `IncrementalDecoder.embed_tokens`; with a shortlist, from the active vocabulary.

        A table that is read before and inside a loop would be turned to float as a whole.
        """
        if weights is None:
            return super().embed_tokens(tokens)
        return tf.gather(weights.embedded, tf.gather(weights.columns, tokens))

    def active_logits(self, features: tf.Tensor, weights: Any) -> tf.Tensor:
        """See `IncrementalDecoder.active_logits`."""
        # Three times as fast as with the kernel in the other order.
        row = tf.matmul(tf.squeeze(features, 0), weights.kernel, transpose_b=True)
        return tf.expand_dims(row + weights.bias, 0)


class DeviceOperations(searching.Operations):
    """Operations of a search that are fast and small in TensorFlow Lite."""

    def zeros(self, shape: tuple, dtype: str, source: tf.Tensor) -> tf.Tensor:
        """Zeros that are computed: the converter would write constant ones to the file."""
        # Ids are not negative, which the converter does not know.
        zero = tf.minimum(tf.reshape(source, [-1])[0], 0)
        return tf.fill(shape, tf.cast(zero, dtype))

    def append(self, past: tf.Tensor, step: tf.Tensor, record: tf.Tensor) -> tf.Tensor:
        """Selects, as a scatter takes four times as long in TensorFlow Lite."""
        position = tf.reshape(tf.range(past.shape[0]), (-1, *[1] * (len(past.shape) - 1)))
        return tf.where(position == step, record[tf.newaxis], past)

    def top_tokens(
        self, logits: tf.Tensor, k: int, group: int | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The best token without `ARG_MAX`, `TOPK_V2` and reshaped logits, which take longer.

        Ids are found as floats, by what XNNPACK computes in place: the best token is the largest
        sum of its id in reverse order and a huge multiple of its distance to the largest logit.
        """
        if k > 1:
            return super().top_tokens(logits, k, group)
        size = logits.shape[-1]
        # PAD and BOS are excluded from the choice, not from the normaliser.
        others = logits[..., :EOS]
        logits += tf.constant([MASKED] * EOS + [0.0] * (size - EOS))
        best = tf.reduce_max(logits, axis=-1, keepdims=True)
        distances = logits - best
        total = tf.reduce_sum(tf.exp(distances), axis=-1, keepdims=True)
        total += tf.reduce_sum(tf.exp(tf.minimum(others - best, 80.0)), axis=-1, keepdims=True)
        # Computed from integers: float16 files would store constants of floats as float16, in which
        # whole numbers are exact up to 2,048 only. The total is positive, which is not known.
        zero = tf.cast(tf.minimum(tf.reshape(total, (-1,))[:1], 0.0), "int32")
        reverse = tf.cast(tf.range(size, 0, -1) + zero, "float32")
        last = tf.reduce_max(distances * TIE_BREAK_SCALE + reverse, axis=-1, keepdims=True)
        return -tf.math.log(total), size - tf.cast(last, "int32")


@contextlib.contextmanager
def fixed_shapes(model: keras.Model) -> Iterator[None]:
    """Encoders of the model run as one loop for both directions, with fixed shapes."""
    encoders = [each for each in model.layers if isinstance(each, BidirectionalEncoder)]
    for encoder in encoders:
        encoder.run_layer = _run_layer  # type: ignore[method-assign]
    try:
        yield
    finally:
        for encoder in encoders:
            del encoder.run_layer


def _run_layer(
    rnns: list, inputs: tf.Tensor, mask: tf.Tensor, training: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """`BidirectionalEncoder.run_layer` in blocks, up to that of the end of the longest sentence.

    TensorFlow Lite copies all outputs in every step of a loop, so a step runs several positions.
    For one sentence, this gains little, and the file would be larger.
    """
    rows, places, units = inputs.shape
    block = BLOCK if rows > 1 else 1
    blocks = -(-places // block)
    missing = blocks * block - places
    by_place = tf.transpose(tf.pad(inputs, [[0, 0], [0, missing], [0, 0]]), (1, 0, 2))
    by_place = tf.reshape(by_place, (blocks, block, rows, units))
    inputs_of = [by_place] * len(rnns)
    if rows == 1:
        # Products of all positions at once; for several sentences, the copies would take longer.
        inputs_of = [_input_gates(rnn.cell, by_place) for rnn in rnns]
    moving = tf.transpose(tf.pad(tf.cast(mask, inputs.dtype), [[0, 0], [0, missing]]))
    moving = tf.reshape(moving, (blocks, block, rows, 1))
    longest = tf.reduce_max(tf.reduce_sum(tf.cast(mask, tf.int32), axis=1))
    end = (longest + block - 1) // block
    weights = [cells.recurrent_weights(rnn.cell) for rnn in rnns]
    operations = DeviceOperations()
    zeros = tf.zeros((rows, rnns[0].units), inputs.dtype)
    state = tuple((zeros, zeros) if each.kind == "lstm" else (zeros,) for each in weights)
    shape = (blocks, block, rows, rnns[0].units)
    output = operations.zeros(shape, inputs.dtype, tf.cast(mask, tf.int32))
    outputs = (output,) * len(rnns)

    def body(step: tf.Tensor, states: tuple, outputs: tuple) -> tuple:
        advanced, written = [], []
        for rnn, weight, by_place, state, output in zip(
            rnns, weights, inputs_of, states, outputs, strict=True
        ):
            place = end - 1 - step if rnn.go_backwards else step
            read = tf.gather(by_place, place), tf.gather(moving, place)
            positions = list(zip(*map(tf.unstack, read), strict=True))
            found = []
            for gates, moves in reversed(positions) if rnn.go_backwards else positions:
                if rows > 1:
                    gates = _input_gates(rnn.cell, gates)
                new, _ = cell_step(weight, gates, state)
                # Not a selection, which XNNPACK does not compute.
                pairs = zip(new, state, strict=True)
                state = tuple(each * moves + old * (1.0 - moves) for each, old in pairs)
                found.append(state[0])
            record = tf.stack(found[::-1] if rnn.go_backwards else found)
            advanced.append(state)
            written.append(operations.append(output, place, record))
        return step + 1, tuple(advanced), tuple(written)

    _, state, outputs = tf.while_loop(
        lambda step, *_: step < end, body, (tf.constant(0), state, outputs)
    )
    annotations = tf.reshape(tf.concat(outputs, axis=-1), (blocks * block, rows, -1))
    annotations = tf.transpose(annotations[:places], (1, 0, 2))
    annotations = tf.where(mask[:, :, tf.newaxis], annotations, tf.zeros_like(annotations))
    return annotations, tf.concat([each[0] for each in state], axis=-1)


def _input_gates(cell: keras.Layer, inputs: tf.Tensor) -> tf.Tensor:
    return matmul_2d(inputs, cells.input_kernel(cell)) + cells.input_bias(cell)
