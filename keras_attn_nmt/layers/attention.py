"""Attention layers: additive (Bahdanau), multiplicative (Luong) and dot-product."""

from __future__ import annotations

import abc
from typing import Any

import keras
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.layers.dense import kernel_of
from keras_attn_nmt.recurrence import scores


class Attention(keras.layers.Layer, abc.ABC):
    """Base class of attention: projection, score, masked softmax and weighted sum.

    A subclass creates its weights in `build` (optionally `query_projection` and `key_projection`,
    with the helper `_projection`) and implements `score`. `score` is differentiated automatically;
    override `score_with_gradient` to provide a hand-written backward pass. `call` cannot be
    overridden, as `AttentionDecoder` computes all steps in one loop.

    Args:
        layer_normalization: Normalise queries and keys (Ba et al. 2016), not in either paper.
        kernel_initializer: Initialiser of the projections.
        **kwargs: `name`, `dtype` and the like.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.call is not Attention.call:
            raise TypeError(
                f"{cls.__name__} overrides call, which AttentionDecoder does not use: override "
                "score, or the projections in build."
            )
        # An overridden score, also one of a mixin, must not inherit the backward pass of another.
        names = {"score", "score_with_gradient"}
        first = next(each for each in cls.__mro__ if names & vars(each).keys())
        if "score_with_gradient" not in vars(first):
            cls.score_with_gradient = Attention.score_with_gradient  # type: ignore[method-assign]

    def __init__(
        self,
        layer_normalization: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        # Created in `build` of subclasses that use them.
        self.query_projection = self.key_projection = None
        self.query_normalization = self.key_normalization = None
        self.layer_normalization = layer_normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _build_normalization(self, key_units: int) -> None:
        if self.layer_normalization:
            kind, shape = keras.layers.LayerNormalization, (None, None, key_units)
            self.query_normalization = self._child(kind, shape, name="query_normalization")
            self.key_normalization = self._child(kind, shape, name="key_normalization")

    def _child(self, kind: Any, input_shape: tuple, **kwargs: Any) -> Any:
        layer = kind(dtype=self.dtype_policy, **kwargs)
        layer.build(input_shape)
        return layer

    def _projection(self, name: str, input_shape: tuple, units: int) -> Any:
        # A clone, as one initialiser would return the same values for both projections.
        return self._child(
            keras.layers.Dense,
            input_shape,
            units=units,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            name=name,
        )

    @abc.abstractmethod
    def score(self, query: Any, keys: Any) -> Any:
        """Computes the energies of queries and keys.

        Args:
            query: `(batch, queries, key_units)`.
            keys: `(batch, source_length, key_units)`.

        Returns:
            Energies, `(batch, queries, source_length)`.
        """

    def score_with_gradient(self) -> scores.Score:
        """The score as a pure function, with its backward pass if there is one."""
        return scores.Score(self.score)

    def query_units(self, decoder_units: int) -> int:
        """The size of a query; available after `build`."""
        return decoder_units if self.query_projection is None else self.query_projection.units

    def weights_of_step(self) -> scores.AttentionWeights:
        """The weights of an attention step, given keys, in the compute dtype."""
        kernel = normalization = None
        if (projection := self.query_projection) is not None:
            if projection.use_bias or projection.activation is not keras.activations.linear:
                raise ValueError(
                    f"The query projection of {type(self).__name__} must have no bias and no "
                    "activation: use Dense(units, use_bias=False), and key_projection or score for "
                    "the rest."
                )
            kernel = ops.cast(kernel_of(projection), self.compute_dtype)
        if (layer := self.query_normalization) is not None:
            normalization = scores.Normalization(layer.gamma.value, layer.beta.value, layer.epsilon)
        return scores.AttentionWeights(self.score_with_gradient(), kernel, normalization)

    def project(self, annotations: Any) -> Any:
        """Computes the keys of a sentence, once per sentence.

        Args:
            annotations: `(batch, source_length, annotation_units)`.

        Returns:
            `(batch, source_length, key_units)`.
        """
        if self.key_projection is not None:
            keys = self.key_projection(annotations)
        else:
            # A variable becomes a tensor, which a score with ops.swapaxes needs.
            keys = ops.copy(annotations)
        return keys if self.key_normalization is None else self.key_normalization(keys)

    def call(
        self,
        state: Any,
        annotations: Any,
        mask: Any = None,
        keys: Any = None,
        query_shift: Any = None,
        annotations_mask: Any = None,
    ) -> Any:
        mask = annotations_mask if mask is None else mask
        keys = self.project(annotations) if keys is None else keys
        source = scores.Attended(keys, annotations, mask)
        return scores.attend(self.weights_of_step(), source, state, query_shift)

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """No mask is attached to the results."""

    def compute_output_spec(
        self, state: Any, annotations: Any, *_: Any, **__: Any
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        queries = tuple(state.shape[:-1])
        return (
            keras.KerasTensor((*queries, annotations.shape[-1]), dtype=self.compute_dtype),
            keras.KerasTensor((*queries, annotations.shape[1]), dtype="float32"),
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "layer_normalization": self.layer_normalization,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class BahdanauAttention(Attention):
    """Additive attention over encoder annotations (Bahdanau et al. 2015, appendix A.1.2).

        e_ij = v_a^T tanh(W_a s_{i-1} + U_a h_j)
        alpha_i = softmax_j(e_ij),   c_i = sum_j alpha_ij h_j

    In `keras.layers.AdditiveAttention`, which has no projections, W_a s is the query, the
    annotations are the value, `U_a h` is the key, `v_a` the scale and `mask` the value's mask.

    Args:
        units: Size of the alignment model's hidden layer (n' in the paper).
        layer_normalization: Normalise `W_a s` (plus `query_shift`) and `U_a h` (Ba et al. 2016);
            not in the paper.
        kernel_initializer: Initialiser of `W_a` and `U_a`.
        score_initializer: Initialiser of `v_a`.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        state: Decoder state s_{i-1} (the query), `(batch, decoder_units)`, or several states per
            sentence, such as the hypotheses of a beam: `(batch, queries, decoder_units)`.
        annotations: Encoder annotations h (the values), `(batch, source_length, annotation_units)`.
        mask: `False` at padding, bool, `(batch, source_length)`. Defaults to `annotations_mask`, or
            no padding.
        keys: `attention.project(annotations)`, `(batch, source_length, units)`. Pass it if a
            sentence is attended to more than once; otherwise it is computed in the call.
        query_shift: Added to `W_a s_{i-1}`, `(batch, units)` or `(batch, queries, units)`.
        annotations_mask: The Keras mask of the annotations, passed by Keras.

    Returns:
        `(context, weights)`, shapes `(batch, annotation_units)` and `(batch, source_length)`, with
        the axis `queries` after `batch` if the state has it. Attention weights are float32 under
        any dtype policy and sum to 1; they are zeros for an all-padding sentence.

    Example:
        >>> attention = BahdanauAttention(8)
        >>> context, weights = attention(keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 6)))
        >>> keras.ops.shape(context), keras.ops.shape(weights)
        ((2, 6), (2, 5))

    References:
        [Bahdanau, Cho & Bengio 2015](https://arxiv.org/abs/1409.0473)
    """

    def __init__(
        self,
        units: int,
        layer_normalization: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        score_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(layer_normalization, kernel_initializer, **kwargs)
        self.units = check_whole("units", units)
        self.score_initializer = keras.initializers.get(score_initializer)

    def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
        self.query_projection = self._projection("query", state_shape, self.units)
        self.key_projection = self._projection("key", annotations_shape, self.units)
        self._build_normalization(self.units)
        self.score_vector = self.add_weight(
            shape=(self.units, 1), initializer=self.score_initializer, name="score_vector"
        )

    def score(self, query: Any, keys: Any) -> Any:
        return scores.additive(query, keys, self._score_vector())

    def score_with_gradient(self) -> scores.Score:
        return scores.additive_score(self._score_vector())

    def _score_vector(self) -> Any:
        return ops.cast(self.score_vector.value, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "score_initializer": keras.initializers.serialize(self.score_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class LuongAttention(Attention):
    """Multiplicative attention over encoder annotations (Luong et al. 2015, 3.1, "general").

        e_ij = s_{i-1}^T W_a h_j,   alpha_i = softmax_j(e_ij),   c_i = sum_j alpha_ij h_j

    Only the score is Luong's; the decoder is Bahdanau's, so that scores can be compared with all
    else equal. Call arguments and results are those of `BahdanauAttention`; `keys` and
    `query_shift`, which is added to s, have `decoder_units`. In `keras.layers.Attention`, the state
    is the query, the annotations are the value, `W_a h` is the key and `mask` the value's mask.

    Args:
        layer_normalization: Normalise `s` and `W_a h` (Ba et al. 2016) and divide the product by
            the square root of the key size (Vaswani et al. 2017); not in the paper.
        kernel_initializer: Initialiser of `W_a`.
        **kwargs: `name`, `dtype` and the like.

    Example:
        >>> attention = LuongAttention()
        >>> context, weights = attention(keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 6)))
        >>> keras.ops.shape(context), keras.ops.shape(weights)
        ((2, 6), (2, 5))

    References:
        [Luong, Pham & Manning 2015](https://arxiv.org/abs/1508.04025)
    """

    def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
        self.key_units = state_shape[-1]
        self.key_projection = self._projection("key", annotations_shape, self.key_units)
        self._build_normalization(self.key_units)

    def score(self, query: Any, keys: Any) -> Any:
        return scores.multiplicative_score(self._scale()).forward(query, keys)

    def score_with_gradient(self) -> scores.Score:
        return scores.multiplicative_score(self._scale())

    def _scale(self) -> float:
        return 1.0 if self.query_normalization is None else self.key_units**-0.5


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class DotAttention(LuongAttention):
    """Dot-product attention over encoder annotations (Luong et al. 2015, 3.1, "dot").

        e_ij = s_{i-1}^T h_j,   alpha_i = softmax_j(e_ij),   c_i = sum_j alpha_ij h_j

    It has no projections, so states and annotations must have the same size, and
    `kernel_initializer` is that of the decoder's `query_previous_token` only. Call arguments and
    results are those of `LuongAttention`. In `keras.layers.Attention`, the state is the query, the
    annotations are the value (and key) and `mask` the value's mask.

    Example:
        >>> context, weights = DotAttention()(keras.ops.ones((2, 6)), keras.ops.ones((2, 5, 6)))
        >>> keras.ops.shape(context), keras.ops.shape(weights)
        ((2, 6), (2, 5))

    References:
        [Luong, Pham & Manning 2015](https://arxiv.org/abs/1508.04025)
    """

    def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
        self.key_units, annotation_units = state_shape[-1], annotations_shape[-1]
        if self.key_units != annotation_units:
            raise ValueError(
                "Dot-product attention requires states and annotations of equal size, got "
                f"{self.key_units} and {annotation_units}: set the decoder units to twice those of "
                "a bidirectional encoder, or use LuongAttention, which projects the annotations."
            )
        self._build_normalization(self.key_units)


def make_attention(
    kind: str, units: int, *, initializer: str = "glorot", **kwargs: Any
) -> Attention:
    """Creates the attention layer for a name in `CHOICES["attention"]`, except `"none"`.

    Args:
        kind: `"bahdanau"`, `"luong"` or `"dot"`.
        units: Hidden size of Bahdanau's alignment model.
        initializer: `"glorot"` or `"paper"` (B.1).
        **kwargs: `layer_normalization`, `name`, `dtype` and the like.
    """
    paper = initializer == "paper"
    if paper:
        kwargs["kernel_initializer"] = keras.initializers.RandomNormal(stddev=0.001)
    if kind == "bahdanau":
        return BahdanauAttention(
            units, score_initializer="zeros" if paper else "glorot_uniform", **kwargs
        )
    if kind == "luong":
        return LuongAttention(**kwargs)
    if kind == "dot":
        return DotAttention(**kwargs)
    raise ValueError(f"attention={kind!r} has no layer: add it to make_attention.")
