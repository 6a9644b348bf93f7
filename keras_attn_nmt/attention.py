"""Attention: which annotations a decoder state looks at."""

from __future__ import annotations

import abc
from typing import Any

import keras
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.rows import batch_product, by_rows

# Far below any energy, and still finite in float32 and bfloat16.
MASKED = -1e9


class Attention(keras.layers.Layer, abc.ABC):
    """What both kinds of attention share: compare, softmax over real positions, average.

    Subclasses say what a query is (`project_query`) and how it is compared with keys (`compare`),
    and build the layers for it.

    Args:
        layer_normalization: Normalise queries and keys (Ba et al. 2016), not in either paper.
        kernel_initializer: Initialiser of the projections.
        **kwargs: `name`, `dtype` and the like.
    """

    def __init__(
        self,
        layer_normalization: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.layer_normalization = layer_normalization
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def _build_normalization(self, query_units: int, key_units: int) -> None:
        self.query_normalization = self.key_normalization = None
        if self.layer_normalization:
            kind = keras.layers.LayerNormalization
            queries, keys = (None, None, query_units), (None, None, key_units)
            self.query_normalization = self._child(kind, queries, name="query_normalization")
            self.key_normalization = self._child(kind, keys, name="key_normalization")

    def _child(self, kind: Any, input_shape: tuple, **kwargs: Any) -> Any:
        layer = kind(dtype=self.dtype_policy, **kwargs)
        layer.build(input_shape)
        return layer

    def _projection(self, name: str, input_shape: tuple, units: int) -> Any:
        # A clone, as one initialiser would give both projections the same numbers.
        return self._child(
            keras.layers.Dense,
            input_shape,
            units=units,
            use_bias=False,
            kernel_initializer=self.kernel_initializer.clone(),
            name=name,
        )

    @abc.abstractmethod
    def project_query(self, state: Any) -> Any:
        """`(..., decoder_units)` to `(..., key_units)`."""

    @abc.abstractmethod
    def compare(self, query: Any, keys: Any) -> Any:
        """Compares queries with keys.

        Args:
            query: `(batch, queries, key_units)`.
            keys: `(batch, source_length, key_units)`.

        Returns:
            Energies, `(batch, queries, source_length)`.
        """

    @abc.abstractmethod
    def compare_back(self, d_energies: Any, query: Any, keys: Any) -> Any:
        """The gradient of `compare` by one query a sentence.

        Args:
            d_energies: The gradient by the energies, `(batch, source_length)`.
            query: `(batch, key_units)`.
            keys: `(batch, source_length, key_units)`.

        Returns:
            `(batch, key_units)`.
        """

    @abc.abstractmethod
    def compare_gradients(self, d_energies: Any, queries: Any, keys: Any) -> tuple[Any, list[Any]]:
        """The gradient of `compare` by all else that it reads, summed over queries.

        Args:
            d_energies: The gradient by the energies, `(queries, batch, source_length)`.
            queries: `(queries, batch, key_units)`.
            keys: `(batch, source_length, key_units)`.

        Returns:
            The gradients by the keys, and by the weights that `compare` reads.
        """

    def step_weights(self) -> list[keras.Variable]:
        """The weights that a call reads which is given keys: those of the query, of `compare`."""
        norm = self.query_normalization
        return [*self.query_weights(), *([] if norm is None else [norm.gamma, norm.beta])]

    def query_weights(self) -> list[keras.Variable]:
        """The weights of `project_query`."""
        return []

    def normalize_query(self, projected: Any) -> Any:
        """From what `project_query` gave to what is compared with keys, the same shapes."""
        return (
            projected if self.query_normalization is None else self.query_normalization(projected)
        )

    def standardize_query(self, projected: Any) -> tuple[Any, ...]:
        """What the gradient of `normalize_query` reads of its input, if it normalises.

        Args:
            projected: `(..., key_units)`.

        Returns:
            The input with mean 0 and variance 1, `(..., key_units)`, and what it was multiplied
            by for that, `(..., 1)`, both float32.
        """
        if self.query_normalization is None:
            return ()
        projected = ops.cast(projected, "float32")
        mean, variance = ops.moments(projected, axes=-1, keepdims=True)
        scale = ops.rsqrt(variance + self.query_normalization.epsilon)
        return (projected - mean) * scale, scale

    def normalize_query_back(self, d_query: Any, standardized: tuple[Any, ...]) -> Any:
        """The gradient of `normalize_query` by its input (Ba et al. 2016, supplement).

        Args:
            d_query: The gradient by its result, `(..., key_units)`.
            standardized: What `standardize_query` gave.

        Returns:
            `(..., key_units)`, in the dtype of `d_query`.
        """
        if self.query_normalization is None:
            return d_query
        inputs, scale = standardized
        d_inputs = ops.cast(d_query, "float32") * ops.cast(
            self.query_normalization.gamma, "float32"
        )
        along = ops.mean(d_inputs * inputs, axis=-1, keepdims=True)
        d_inputs = scale * (d_inputs - ops.mean(d_inputs, axis=-1, keepdims=True) - inputs * along)
        return ops.cast(d_inputs, d_query.dtype)

    def normalization_gradients(self, d_query: Any, standardized: tuple[Any, ...]) -> list[Any]:
        """The gradients by gamma and beta, `(key_units,)`, summed over all other axes.

        Arguments are those of `normalize_query_back`. Nothing where nothing is normalised.
        """
        if self.query_normalization is None:
            return []
        d_query = ops.cast(d_query, "float32")
        axes = tuple(range(len(d_query.shape) - 1))
        return [ops.sum(d_query * standardized[0], axis=axes), ops.sum(d_query, axis=axes)]

    def project(self, annotations: Any) -> Any:
        """The keys of a sentence, which do not depend on the decoder: compute them once.

        Args:
            annotations: `(batch, source_length, annotation_units)`.

        Returns:
            `(batch, source_length, key_units)`.
        """
        keys = self.key_projection(annotations)
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
        single = len(state.shape) == 2
        query = self.project_query(ops.expand_dims(state, 1) if single else state)
        if query_shift is not None:
            query = query + (ops.expand_dims(query_shift, 1) if single else query_shift)
        energies = self.compare(self.normalize_query(query), keys)
        # In float32 whatever the policy: half precision loses the small weights.
        energies = ops.cast(energies, "float32")
        if mask is None:
            weights = ops.softmax(energies, axis=-1)
        else:
            mask = ops.expand_dims(mask, 1)
            weights = ops.softmax(ops.where(mask, energies, MASKED), axis=-1)
            # Only a row without any real position has weight elsewhere; it is to look at nothing.
            weights = ops.where(mask, weights, 0.0)
        context = batch_product(ops.cast(weights, annotations.dtype), annotations)
        if single:
            return ops.squeeze(context, 1), ops.squeeze(weights, 1)
        return context, weights

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """No mask is attached to the results."""

    def compute_output_spec(
        self,
        state: Any,
        annotations: Any,
        mask: Any = None,
        keys: Any = None,
        query_shift: Any = None,
        annotations_mask: Any = None,
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

    Args:
        units: Size of the hidden layer that compares state and annotation (n' in the paper).
        layer_normalization: Normalise `W_a s`, with what is added to it, and `U_a h` (Ba et al.
            2016), not in the paper.
        kernel_initializer: Initialiser of `W_a` and `U_a`.
        score_initializer: Initialiser of `v_a`.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        state: Decoder state s_{i-1}, `(batch, decoder_units)`, or several states that look at the
            same sentence, such as the hypotheses of a beam: `(batch, queries, decoder_units)`.
        annotations: What is averaged, h, `(batch, source_length, annotation_units)`.
        mask: `True` at real positions, bool, `(batch, source_length)`. By default
            `annotations_mask`, else all are real.
        keys: `attention.project(annotations)`, `(batch, source_length, units)`. Pass it where one
            sentence is attended to more than once; without it, it is computed in the call.
        query_shift: What is added to `W_a s_{i-1}`, `(batch, units)` or `(batch, queries, units)`,
            like the state.
        annotations_mask: The mask that Keras attached to the annotations; Keras passes it.

    Returns:
        `(context, weights)`, shapes `(batch, annotation_units)` and `(batch, source_length)`, with
        the axis `queries` after `batch` where states have it. Weights are float32 under any dtype
        policy and sum to 1 over the real positions; a sentence without any gives zeros.

    Example:
        >>> attention = BahdanauAttention(8)
        >>> context, weights = attention(keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 6)))
        >>> context.shape, weights.shape
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
        self._build_normalization(self.units, self.units)
        self.score_vector = self.add_weight(
            shape=(self.units, 1), initializer=self.score_initializer, name="score_vector"
        )

    def project_query(self, state: Any) -> Any:
        return by_rows(self.query_projection, state)

    def compare(self, query: Any, keys: Any) -> Any:
        compared = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))
        vector = self._score_vector()
        return ops.squeeze(by_rows(lambda rows: ops.matmul(rows, vector), compared), -1)

    def compare_back(self, d_energies: Any, query: Any, keys: Any) -> Any:
        # The hidden layer is computed again, one target position at a time: kept for all of them,
        # it would be the largest tensor of a training, source x target x units.
        compared = ops.tanh(ops.expand_dims(query, 1) + keys)
        squares = ops.squeeze(ops.matmul(ops.expand_dims(d_energies, 1), compared * compared), 1)
        total = ops.sum(d_energies, axis=1, keepdims=True)
        return (total - squares) * self._score_vector()[:, 0]

    def compare_gradients(self, d_energies: Any, queries: Any, keys: Any) -> tuple[Any, list[Any]]:
        def add(position: Any, sums: tuple[Any, Any]) -> tuple[Any, Any]:
            compared = ops.tanh(ops.expand_dims(queries[position], 1) + keys)
            d_compared = ops.expand_dims(d_energies[position], -1) * (1 - compared * compared)
            rows = ops.reshape(compared, (-1, self.units))
            by_vector = ops.matmul(ops.reshape(d_energies[position], (1, -1)), rows)
            # In float32 whatever the policy: half precision loses the small shares of a long sum.
            shares = (ops.cast(each, "float32") for each in (d_compared, by_vector))
            return tuple(total + share for total, share in zip(sums, shares, strict=True))

        nothing = (ops.zeros_like(keys, dtype="float32"), ops.zeros((1, self.units)))
        by_keys, by_vector = ops.fori_loop(0, ops.shape(queries)[0], add, nothing)
        vector = ops.cast(self._score_vector()[:, 0], "float32")
        return by_keys * vector, [ops.transpose(by_vector)]

    def query_weights(self) -> list[keras.Variable]:
        return [self.query_projection.kernel]

    def step_weights(self) -> list[keras.Variable]:
        return [*super().step_weights(), self.score_vector]

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

    The score alone is Luong's; the decoder around it is Bahdanau's, so that the two scores can be
    compared with everything else equal. Call arguments and results are those of
    `BahdanauAttention`; keys have `decoder_units`, and so has `query_shift`, which is added to s.

    Args:
        layer_normalization: Normalise `s` and `W_a h` (Ba et al. 2016) and divide the product by
            the root of its length (Vaswani et al. 2017); not in the paper.
        kernel_initializer: Initialiser of `W_a`.
        **kwargs: `name`, `dtype` and the like.

    Example:
        >>> attention = LuongAttention()
        >>> context, weights = attention(keras.ops.ones((2, 4)), keras.ops.ones((2, 5, 6)))
        >>> context.shape, weights.shape
        ((2, 6), (2, 5))

    References:
        [Luong, Pham & Manning 2015](https://arxiv.org/abs/1508.04025)
    """

    def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
        units = state_shape[-1]
        self.key_projection = self._projection("key", annotations_shape, units)
        self._build_normalization(units, units)

    def project_query(self, state: Any) -> Any:
        return state

    def compare(self, query: Any, keys: Any) -> Any:
        return batch_product(query * self._scale(query), ops.swapaxes(keys, 1, 2))

    def compare_back(self, d_energies: Any, query: Any, keys: Any) -> Any:
        d_energies = ops.expand_dims(d_energies, 1) * self._scale(query)
        return ops.squeeze(ops.matmul(d_energies, keys), 1)

    def compare_gradients(self, d_energies: Any, queries: Any, keys: Any) -> tuple[Any, list[Any]]:
        by_query = ops.transpose(d_energies, (1, 2, 0)) * self._scale(queries)
        return ops.matmul(by_query, ops.swapaxes(queries, 0, 1)), []

    def _scale(self, query: Any) -> float:
        return 1.0 if self.query_normalization is None else query.shape[-1] ** -0.5
