"""The bidirectional encoder: source embeddings to annotations."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.config import check_choice
from keras_attn_nmt.layers import cells
from keras_attn_nmt.recurrence import loop
from keras_attn_nmt.recurrence.cells import zero_state


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class BidirectionalEncoder(keras.layers.Layer):
    """Bidirectional recurrent encoder (Bahdanau et al. 2015, section 3.2 and A.2.1).

        h_j = [h_j-> ; h_j<-]

    Args:
        units: State size in each direction.
        num_layers: Number of stacked layers.
        cell: `"gru"` or `"lstm"`.
        reset_after: GRU only, see `ModelConfig`.
        bidirectional: Whether to add a backward RNN.
        dropout: Dropout rate between layers.
        dropout_per_sentence: Whether to share one dropout mask between all positions of a sentence.
        initializer: `"glorot"` or `"paper"` (B.1).
        use_cudnn: `"auto"` runs Keras' GRU and LSTM layers, and thereby cuDNN, if TensorFlow has a
            GPU and cuDNN supports the cell; `False` disables it. Weights and results are the same.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        embedded: Source embeddings, `(batch, source_length, embedding_units)`.
        mask: `False` at padding (on the right), bool, `(batch, source_length)`. Defaults to the
            Keras mask of the embeddings (`mask_zero=True`), or no padding. It is propagated to the
            annotations. Keyword-only.
        training: Whether to apply dropout, and to keep activations for the hand-written gradient.

    Returns:
        `(annotations, sentence_vector)`. Annotations `(batch, source_length, 2 * units)`, zero at
        padding; the sentence vector `[h_S-> ; h_1<-]` of the top layer, `(batch, 2 * units)`, zeros
        for an all-padding sentence. The size is `units` without backward RNN.

    Example:
        >>> encoder = BidirectionalEncoder(8)
        >>> annotations, sentence_vector = encoder(keras.ops.ones((2, 5, 4)))
        >>> keras.ops.shape(annotations), keras.ops.shape(sentence_vector)
        ((2, 5, 16), (2, 16))

    Raises:
        ValueError: An argument is out of range or unknown.

    References:
        [Bahdanau, Cho & Bengio 2015](https://arxiv.org/abs/1409.0473)
    """

    def __init__(
        self,
        units: int,
        num_layers: int = 1,
        cell: str = "gru",
        reset_after: bool = True,
        bidirectional: bool = True,
        dropout: float = 0.0,
        dropout_per_sentence: bool = False,
        initializer: str = "glorot",
        use_cudnn: str | bool = "auto",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        # XLA recompiles for every batch shape (half a minute on TensorFlow) and is slower on a CPU;
        # Keras enables it automatically if layers support it.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.units = check_whole("units", units)
        self.num_layers = check_whole("num_layers", num_layers)
        self.cell = check_choice("cell", cell)
        self.reset_after = reset_after
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.dropout_per_sentence = dropout_per_sentence
        self.initializer = check_choice("initializer", initializer)
        if use_cudnn != "auto" and use_cudnn is not False:
            raise ValueError(f"use_cudnn must be 'auto' or False, got {use_cudnn!r}.")
        self.use_cudnn = use_cudnn

    def build(self, embedded_shape: tuple, **_: Any) -> None:
        self.rnns = []
        width = embedded_shape[-1]
        for layer in range(self.num_layers):
            directions = ("forward", "backward") if self.bidirectional else ("forward",)
            self.rnns.append([self._rnn(f"{direction}_{layer}") for direction in directions])
            for rnn in self.rnns[-1]:
                rnn.build((None, None, width))
            width = self.units * len(directions)
        noise_shape = (None, 1, None) if self.dropout_per_sentence else None
        self.dropouts = [
            keras.layers.Dropout(self.dropout, noise_shape, dtype=self.dtype_policy)
            for _ in range(self.num_layers - 1)
        ]

    def _rnn(self, name: str) -> keras.layers.Layer:
        options = {
            **cells.recurrent_initializers(self.initializer),
            "return_sequences": True,
            "return_state": True,
            "go_backwards": name.startswith("backward"),
            "dtype": self.dtype_policy,
            "name": name,
        }
        if self.cell == "gru":
            return keras.layers.GRU(self.units, reset_after=self.reset_after, **options)
        return keras.layers.LSTM(self.units, **options)

    # Keyword-only, as Keras does not propagate a mask passed by position.
    def call(self, embedded: Any, *, mask: Any = None, training: bool | None = None) -> Any:
        if mask is None:
            mask = ops.ones(ops.shape(embedded)[:2], dtype="bool")
        annotations = embedded
        for layer, rnns in enumerate(self.rnns):
            if layer:
                annotations = self.dropouts[layer - 1](annotations, training=training)
            if self.runs_on_cudnn():
                annotations, sentence_vector = self._run_cudnn(rnns, annotations, mask)
            else:
                annotations, sentence_vector = self.run_layer(
                    rnns, annotations, mask, bool(training)
                )
        return annotations, sentence_vector

    def runs_on_cudnn(self) -> bool:
        """Whether a call would run on cuDNN."""
        if self.use_cudnn is False or (self.cell == "gru" and not self.reset_after):
            return False
        if keras.backend.backend() != "tensorflow":
            return False
        return any(device.startswith("gpu") for device in keras.distribution.list_devices())

    def _run_cudnn(self, rnns: list, inputs: Any, mask: Any) -> tuple[Any, Any]:
        # cuDNN rejects all-padding sentences: unmask one position, and zero the result.
        first = ops.expand_dims(ops.arange(ops.shape(mask)[1]) == 0, 0)
        present = ops.any(mask, axis=1, keepdims=True)
        outputs, finals = [], []
        for rnn in rnns:
            output, final, *_ = rnn(inputs, mask=ops.logical_or(mask, first))
            outputs.append(ops.flip(output, axis=1) if rnn.go_backwards else output)
            finals.append(final)
        return (
            self._zero_padding(ops.concatenate(outputs, axis=-1), mask),
            self._zero_padding(ops.concatenate(finals, axis=-1), ops.squeeze(present, 1)),
        )

    def run_layer(self, rnns: list, inputs: Any, mask: Any, training: bool) -> tuple[Any, Any]:
        """Runs a layer without cuDNN; an export may replace this by a loop for its runtime.

        Args:
            rnns: Keras' RNN of each direction.
            inputs: `(batch, source_length, units)`.
            mask: bool, `(batch, source_length)`.
            training: Whether to keep activations for the hand-written gradient.

        Returns:
            Annotations and sentence vector of the layer, see the call.
        """
        # Input projections are hoisted out of the loops. The backward RNN reads the flipped
        # sentence, padding first.
        inputs = ops.swapaxes(inputs, 0, 1)
        mask_by_step = ops.expand_dims(ops.swapaxes(mask, 0, 1), -1)
        outputs, finals = [], []
        for rnn in rnns:
            read, moving = inputs, mask_by_step
            if rnn.go_backwards:
                read, moving = ops.flip(inputs, axis=0), ops.flip(mask_by_step, axis=0)
            gates = ops.matmul(read, cells.input_kernel(rnn.cell)) + cells.input_bias(rnn.cell)
            weights = cells.recurrent_weights(rnn.cell)
            start = zero_state(weights, gates)
            found = loop.run(loop.Inputs(weights, gates, start, moving), by_hand=training)
            states = found.states
            outputs.append(ops.flip(states, axis=0) if rnn.go_backwards else states)
            finals.append(found.final)
        annotations = ops.swapaxes(ops.concatenate(outputs, axis=-1), 0, 1)
        return self._zero_padding(annotations, mask), ops.concatenate(finals, axis=-1)

    def _zero_padding(self, tensor: Any, mask: Any) -> Any:
        return ops.where(ops.expand_dims(mask, -1), tensor, ops.zeros_like(tensor))

    def compute_mask(self, embedded: Any, previous_mask: Any) -> tuple[Any, None]:
        """Propagates the mask to the annotations; the sentence vector has none."""
        return previous_mask, None

    def compute_output_spec(
        self, embedded: Any, **_: Any
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        batch, length = embedded.shape[:2]
        width = self.units * (2 if self.bidirectional else 1)
        return (
            keras.KerasTensor((batch, length, width), dtype=self.compute_dtype),
            keras.KerasTensor((batch, width), dtype=self.compute_dtype),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "reset_after": self.reset_after,
            "bidirectional": self.bidirectional,
            "dropout": self.dropout,
            "dropout_per_sentence": self.dropout_per_sentence,
            "initializer": self.initializer,
            "use_cudnn": self.use_cudnn,
        }
