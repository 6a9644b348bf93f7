"""Readout and output layers: decoder state, previous token and context to logits."""

from __future__ import annotations

import abc
from typing import Any

import keras
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.recurrence.products import apply_2d


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class TiedEmbedding(keras.layers.Layer):
    """Target embedding tied to the output layer (Press & Wolf 2017).

    Args:
        input_dim: Size of the vocabulary.
        output_dim: Size of an embedding.
        embeddings_initializer: Initialiser of the embeddings; the output bias is initialised to 0.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        inputs: Ids, int, `(...)`, or with `reverse=True` features `(..., output_dim)`.
        reverse: Whether to compute logits from features.
        kernel: Optional precomputed transpose of the embeddings, `(output_dim, input_dim)`, for
            `reverse=True`: up to four times as fast for few rows on TensorFlow.

    Returns:
        Embeddings `(..., output_dim)`, or logits `(..., input_dim)`.

    Example:
        >>> embedding = TiedEmbedding(10, 4)
        >>> logits = embedding(embedding(keras.ops.zeros((2, 3), "int32")), reverse=True)
        >>> keras.ops.shape(logits)
        (2, 3, 10)

    References:
        [Press & Wolf 2017](https://arxiv.org/abs/1608.05859)
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ):
        # Ids must not be cast to the compute dtype.
        super().__init__(autocast=False, **kwargs)
        self.input_dim = check_whole("input_dim", input_dim)
        self.output_dim = check_whole("output_dim", output_dim)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)

    def build(self, inputs_shape: Any = None) -> None:
        self.embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
        )
        self.bias = self.add_weight(shape=(self.input_dim,), initializer="zeros", name="bias")

    def call(self, inputs: Any, reverse: bool = False, kernel: Any = None) -> Any:
        embeddings = ops.cast(self.embeddings, self.compute_dtype)
        if not reverse:
            return ops.take(embeddings, inputs, axis=0)
        kernel = (
            ops.transpose(embeddings) if kernel is None else ops.cast(kernel, self.compute_dtype)
        )
        bias = ops.cast(self.bias, self.compute_dtype)
        # 2-D, TensorFlow fuses the bias into the product.
        inputs = ops.cast(inputs, self.compute_dtype)
        return apply_2d(lambda rows: ops.matmul(rows, kernel) + bias, inputs)

    def compute_output_spec(
        self, inputs: Any, reverse: bool = False, kernel: Any = None
    ) -> keras.KerasTensor:
        shape = (
            (*inputs.shape[:-1], self.input_dim) if reverse else (*inputs.shape, self.output_dim)
        )
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
        }


class Readout(keras.layers.Layer, abc.ABC):
    """Base class of readouts: one projection of state, embedding and context.

    Args:
        units: Output size.
        layer_normalization: Normalise the projection (Ba et al. 2016), not in the paper.
        kernel_initializer: Initialiser of the projection.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        embedded: E y_{i-1}, `(..., embedding_units)`.
        state: s_i, `(..., decoder_units)`.
        previous_state: s_{i-1}, `(..., decoder_units)`.
        context: c_i, `(..., annotation_units)`.

    Returns:
        t, `(..., units)`.
    """

    # Projected units per output unit.
    pieces = 1

    def __init__(
        self,
        units: int,
        layer_normalization: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = check_whole("units", units)
        self.layer_normalization = layer_normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(
        self,
        embedded_shape: tuple,
        state_shape: tuple,
        previous_state_shape: tuple,
        context_shape: tuple,
    ) -> None:
        width = embedded_shape[-1] + state_shape[-1] + context_shape[-1]
        self.projection = keras.layers.Dense(
            self.units * self.pieces,
            kernel_initializer=self.kernel_initializer,
            dtype=self.dtype_policy,
            name="projection",
        )
        self.projection.build((None, width))
        self.normalization = None
        if self.layer_normalization:
            self.normalization = keras.layers.LayerNormalization(
                dtype=self.dtype_policy, name="normalization"
            )
            self.normalization.build((*embedded_shape[:-1], self.units * self.pieces))

    @abc.abstractmethod
    def call(self, embedded: Any, state: Any, previous_state: Any, context: Any) -> Any:
        """See the class."""

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """No mask is attached to the result."""

    def _combine(self, *inputs: Any) -> Any:
        t = apply_2d(self.projection, ops.concatenate(inputs, axis=-1))
        return t if self.normalization is None else self.normalization(t)

    def compute_output_spec(
        self, embedded: Any, state: Any, previous_state: Any, context: Any
    ) -> keras.KerasTensor:
        return keras.KerasTensor((*embedded.shape[:-1], self.units), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "layer_normalization": self.layer_normalization,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class MaxoutReadout(Readout):
    """The paper's deep output with one maxout layer (Bahdanau et al. 2015, A.2.2).

        t~_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i,   t_ij = max(t~_{i,2j-1}, t~_{i,2j})

    It reads the state *before* the step, s_{i-1}, as in A.2.2, not s_i. Arguments, call
    arguments and result are those of `Readout`; `units` is l in the paper.

    Example:
        >>> ones = keras.ops.ones((2, 3, 4))
        >>> keras.ops.shape(MaxoutReadout(8)(ones, ones, ones, ones))
        (2, 3, 8)

    References:
        [Goodfellow et al. 2013](https://arxiv.org/abs/1302.4389),
        [Pascanu et al. 2014](https://arxiv.org/abs/1312.6026)
    """

    pieces = 2

    def call(self, embedded: Any, state: Any, previous_state: Any, context: Any) -> Any:
        t = self._combine(previous_state, embedded, context)
        pairs = ops.reshape(t, (*ops.shape(t)[:-1], self.units, self.pieces))
        # Not ops.max: its gradient compares with the maximum again and divides by the number of
        # matches, which is 0 if the compiler rounds the two differently.
        return ops.maximum(pairs[..., 0], pairs[..., 1])


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class TanhReadout(Readout):
    """Readout of the state *after* the step (eq. 4 of the paper, with one tanh layer).

        t_i = tanh(W [s_i ; E y_{i-1} ; c_i] + b)

    Smaller than the maxout readout; with as many units as the target embedding, the output weights
    can be tied. Arguments, call arguments and result are those of `Readout`; s_{i-1} is ignored.

    Example:
        >>> ones = keras.ops.ones((2, 3, 4))
        >>> keras.ops.shape(TanhReadout(8)(ones, ones, ones, ones))
        (2, 3, 8)

    References:
        [Bahdanau, Cho & Bengio 2015](https://arxiv.org/abs/1409.0473)
    """

    def call(self, embedded: Any, state: Any, previous_state: Any, context: Any) -> Any:
        return ops.tanh(self._combine(state, embedded, context))
