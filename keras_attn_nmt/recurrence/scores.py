"""Attention scores and the attention step, with their backward passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops

from keras_attn_nmt.recurrence.products import batch_matmul, matmul_2d, sum_of_products
from keras_attn_nmt.recurrence.sequential_loop import sequential_loop

# Far below any energy, but finite in float32 and bfloat16.
MASKED = -1e9


class Score(NamedTuple):
    """A score function of queries and keys with its backward pass.

    Attributes:
        forward: `(query, keys, *weights)` to the energies: `(batch, queries, key_units)` and
            `(batch, source_length, key_units)` to `(batch, queries, source_length)`.
        weights: Additional tensors of the score function.
        backward: `(d_energies, query, keys, *weights)` to the gradient of the query, for one
            step: `(batch, source_length)` and `(batch, key_units)` to `(batch, key_units)`.
        backward_of_keys: `(d_energies, queries, keys, *weights)` to the gradients of the keys and
            of each weight, summed over all steps: `(steps, batch, source_length)` and `(steps,
            batch, key_units)`. A score without backward passes is differentiated automatically.
    """

    forward: Callable[..., Any]
    weights: tuple[Any, ...] = ()
    backward: Callable[..., Any] | None = None
    backward_of_keys: Callable[..., tuple[Any, list[Any]]] | None = None


def additive(query: Any, keys: Any, vector: Any) -> Any:
    """`v^T tanh(query + key)` (Bahdanau et al. 2015, A.1.2); `vector` is `(key_units, 1)`."""
    hidden = ops.tanh(ops.expand_dims(query, 2) + ops.expand_dims(keys, 1))
    return ops.squeeze(matmul_2d(hidden, vector), -1)


def additive_backward(d_energies: Any, query: Any, keys: Any, vector: Any) -> Any:
    # Recompute the hidden layer per target position: for all positions, it would be the largest
    # tensor in training, source x target x units.
    hidden = ops.tanh(ops.expand_dims(query, 1) + keys)
    squares = ops.squeeze(ops.matmul(ops.expand_dims(d_energies, 1), hidden * hidden), 1)
    return (ops.sum(d_energies, axis=1, keepdims=True) - squares) * vector[:, 0]


def additive_backward_of_keys(
    d_energies: Any, queries: Any, keys: Any, vector: Any
) -> tuple[Any, list[Any]]:
    def add(position: Any, sums: tuple[Any, Any]) -> tuple[Any, Any]:
        hidden = ops.tanh(ops.expand_dims(queries[position], 1) + keys)
        d_hidden = ops.expand_dims(d_energies[position], -1) * (1 - hidden * hidden)
        rows = ops.reshape(hidden, (-1, keys.shape[-1]))
        by_vector = ops.matmul(ops.reshape(d_energies[position], (1, -1)), rows)
        # Accumulate in float32: half precision loses small terms of a long sum.
        terms = (ops.cast(each, "float32") for each in (d_hidden, by_vector))
        return tuple(total + term for total, term in zip(sums, terms, strict=True))

    zeros = (ops.zeros_like(keys, dtype="float32"), ops.zeros((1, keys.shape[-1]), "float32"))
    by_keys, by_vector = sequential_loop(ops.shape(queries)[0], add, zeros)
    return by_keys * ops.cast(vector[:, 0], "float32"), [ops.transpose(by_vector)]


def additive_score(vector: Any) -> Score:
    """The score of `BahdanauAttention`."""
    return Score(additive, (vector,), additive_backward, additive_backward_of_keys)


def multiplicative_score(scale: float) -> Score:
    """`scale * query^T key`, the score of `LuongAttention`."""

    def forward(query: Any, keys: Any) -> Any:
        return batch_matmul(query * scale, ops.swapaxes(keys, 1, 2))

    def backward(d_energies: Any, query: Any, keys: Any) -> Any:
        return ops.squeeze(ops.matmul(ops.expand_dims(d_energies, 1) * scale, keys), 1)

    def backward_of_keys(d_energies: Any, queries: Any, keys: Any) -> tuple[Any, list[Any]]:
        by_query = ops.transpose(d_energies, (1, 2, 0)) * scale
        return ops.matmul(by_query, ops.swapaxes(queries, 0, 1)), []

    return Score(forward, (), backward, backward_of_keys)


class Normalization(NamedTuple):
    """Layer normalisation of the last axis (Ba et al. 2016): weights and epsilon."""

    gamma: Any
    beta: Any
    epsilon: float


def standardize(weights: Normalization, inputs: Any) -> tuple[Any, Any]:
    """Standardises the input of a layer normalisation, `(..., units)`, for its gradient.

    Returns:
        The input with mean 0 and variance 1, `(..., units)`, and the scale factor, `(..., 1)`,
        both float32.
    """
    inputs = ops.cast(inputs, "float32")
    mean, variance = ops.moments(inputs, axes=-1, keepdims=True)
    scale = ops.rsqrt(variance + weights.epsilon)
    return (inputs - mean) * scale, scale


def normalize_backward(
    weights: Normalization, d_outputs: Any, standardized: Any, scale: Any
) -> Any:
    """The gradient of the input (Ba et al. 2016, supplement), in the dtype of `d_outputs`."""
    d_inputs = ops.cast(d_outputs, "float32") * ops.cast(weights.gamma, "float32")
    along = ops.mean(d_inputs * standardized, axis=-1, keepdims=True)
    mean = ops.mean(d_inputs, axis=-1, keepdims=True)
    return ops.cast(scale * (d_inputs - mean - standardized * along), d_outputs.dtype)


class AttentionWeights(NamedTuple):
    """The weights of an attention step.

    Attributes:
        score: The score function.
        query_kernel: W_a, `(decoder_units, key_units)`, or `None` if the state is the query.
        normalization: Layer normalisation of the query, or `None`.
    """

    score: Score
    query_kernel: Any | None = None
    normalization: Normalization | None = None

    def project_query(self, state: Any, query_shift: Any = None) -> Any:
        """`(..., decoder_units)` to `(..., key_units)`, before normalisation."""
        projected = state if self.query_kernel is None else matmul_2d(state, self.query_kernel)
        return projected if query_shift is None else projected + query_shift

    def normalize_query(self, projected: Any) -> Any:
        """`(..., key_units)`, the same shape."""
        if self.normalization is None:
            return projected
        return ops.layer_normalization(
            projected, *self.normalization[:2], epsilon=self.normalization[2]
        )


class Attended(NamedTuple):
    """Keys, values and mask of the source.

    Attributes:
        keys: `(batch, source_length, key_units)`.
        values: `(batch, source_length, value_units)`.
        mask: `False` at padding, bool, `(batch, source_length)`, or `(batch, queries,
            source_length)` for a mask of each query; `None` without padding.
    """

    keys: Any
    values: Any
    mask: Any | None


def attention_energies(
    weights: AttentionWeights, keys: Any, state: Any, query_shift: Any = None
) -> Any:
    """The energies e_ij of one step, before the masked softmax.

    Args:
        weights: The weights of the layer.
        keys: `(batch, source_length, key_units)`.
        state: `(batch, decoder_units)`, or `(batch, queries, decoder_units)`.
        query_shift: As in `attend`.

    Returns:
        float32, `(batch, queries, source_length)`; one query for a state without that axis.
    """
    query = weights.normalize_query(weights.project_query(state, query_shift))
    if len(state.shape) == 2:
        query = ops.expand_dims(query, 1)
    energies = weights.score.forward(query, keys, *weights.score.weights)
    # Softmax in float32: half precision loses small weights.
    return ops.cast(energies, "float32")


def attend(
    weights: AttentionWeights, source: Attended, state: Any, query_shift: Any = None
) -> tuple[Any, Any]:
    """One step of attention.

    Args:
        weights: The weights of the layer.
        source: The attended source.
        state: `(batch, decoder_units)`, or `(batch, queries, decoder_units)`.
        query_shift: Added to the projected state, `(batch, key_units)` or `(batch, queries,
            key_units)`, or `None`.

    Returns:
        `(context, attention_weights)`: `(batch, value_units)`, and float32 `(batch,
        source_length)`, with the axis `queries` after `batch` if the state has it. An all-padding
        sentence gives zeros.
    """
    single = len(state.shape) == 2
    energies = attention_energies(weights, source.keys, state, query_shift)
    if source.mask is None:
        attention_weights = ops.softmax(energies, axis=-1)
    else:
        mask = source.mask if len(source.mask.shape) == 3 else ops.expand_dims(source.mask, 1)
        attention_weights = ops.softmax(ops.where(mask, energies, MASKED), axis=-1)
        # All-padding rows have weight on padding: set it to zero.
        attention_weights = ops.where(mask, attention_weights, 0.0)
    context = batch_matmul(ops.cast(attention_weights, source.values.dtype), source.values)
    if single:
        return ops.squeeze(context, 1), ops.squeeze(attention_weights, 1)
    return context, attention_weights


class AttentionTrace(NamedTuple):
    """Values for the backward passes of all steps.

    Attributes:
        queries: `(steps, batch, key_units)`.
        standardized: `standardize` of the projected states, or empty.
    """

    queries: Any
    standardized: tuple[Any, ...]


def trace_attention(weights: AttentionWeights, states: Any, query_shift: Any) -> AttentionTrace:
    """The queries of all steps, from `states` of `(steps, batch, decoder_units)`."""
    projected = weights.project_query(states, query_shift)
    standardized: tuple[Any, ...] = ()
    if weights.normalization is not None:
        standardized = standardize(weights.normalization, projected)
    return AttentionTrace(weights.normalize_query(projected), standardized)


def attend_backward(
    weights: AttentionWeights,
    source: Attended,
    trace: AttentionTrace,
    index: Any,
    attention_weights: Any,
    d_context: Any,
    d_attention_weights: Any,
) -> tuple[Any, Any, Any]:
    """The backward pass of one step of `attend`, restricted to the recurrence.

    Args:
        weights: The weights of the layer.
        source: The attended source.
        trace: Output of `trace_attention`.
        index: Index of the step.
        attention_weights: Attention weights of this step, float32, `(batch, source_length)`.
        d_context: `(batch, value_units)`.
        d_attention_weights: float32, `(batch, source_length)`.

    Returns:
        The gradients of the energies, `(batch, source_length)`, of the query and of the projected
        state, both `(batch, key_units)`.
    """
    by_context = ops.squeeze(ops.matmul(source.values, ops.expand_dims(d_context, -1)), -1)
    d_weights = d_attention_weights + ops.cast(by_context, "float32")
    mean = ops.sum(attention_weights * d_weights, axis=-1, keepdims=True)
    d_energies = ops.cast(attention_weights * (d_weights - mean), source.keys.dtype)
    backward = weights.score.backward
    assert backward is not None  # Otherwise the loop is differentiated automatically.
    d_query = backward(d_energies, trace.queries[index], source.keys, *weights.score.weights)
    d_projected = d_query
    if weights.normalization is not None:
        at_index = [each[index] for each in trace.standardized]
        d_projected = normalize_backward(weights.normalization, d_query, *at_index)
    return d_energies, d_query, d_projected


def attention_gradients(
    weights: AttentionWeights, trace: AttentionTrace, states: Any, d_query: Any, d_projected: Any
) -> AttentionWeights:
    """The gradients of the query weights, for all steps in one product each.

    Args:
        weights: The weights of the layer.
        trace: Output of `trace_attention`.
        states: States before each step, `(steps, batch, decoder_units)`.
        d_query: `(steps, batch, key_units)`.
        d_projected: `(steps, batch, key_units)`.

    Returns:
        The gradients in the structure of the weights.
    """
    kernel = None if weights.query_kernel is None else sum_of_products(states, d_projected)
    normalization = None
    if weights.normalization is not None:
        d_query = ops.cast(d_query, "float32")
        d_gamma = ops.sum(d_query * trace.standardized[0], axis=(0, 1))
        normalization = weights.normalization._replace(
            gamma=d_gamma, beta=ops.sum(d_query, axis=(0, 1))
        )
    return AttentionWeights(weights.score, kernel, normalization)
