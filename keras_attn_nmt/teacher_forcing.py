"""The decoder's loop over a given target, and its gradient, written by hand.

The products that make the gradients of the weights wait for nothing: after the loop they are one
large product each, in place of one a step, and of a step only the activations are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt import cells
from keras_attn_nmt.attention import normalization_back

if TYPE_CHECKING:
    from keras_attn_nmt.decoder import AttentionDecoder


class Memory(NamedTuple):
    """All that a decoder needs of a source sentence, computed once (`AttentionDecoder.prepare`).

    Attributes:
        annotations: h, `(batch, source_length, annotation_units)`; the sentence vector in place of
            them, `(batch, 1, annotation_units)`, where there is no attention.
        keys: What states are compared with, `(batch, source_length, key_units)`; empty without
            attention.
        gates: The annotations' share of the recurrent gates, `(batch, source_length, gate_units)`.
        mask: `True` at real source positions, bool, `(batch, source_length)`.
    """

    annotations: Any
    keys: Any
    gates: Any
    mask: Any


def decode(
    decoder: AttentionDecoder, gates: Any, state: cells.State, memory: Memory
) -> tuple[Any, Any]:
    """Takes `decoder.step` for every target position.

    Args:
        decoder: The decoder, built.
        gates: `(target_length, batch, gate_units)`.
        state: s_0, a tuple of `(batch, units)`.
        memory: What the decoder's `prepare` made of the source.

    Returns:
        s_i, `(target_length, batch, units)`, and alpha_i, float32, `(target_length, batch,
        source_length)`.
    """
    variables = decoder.step_weights()

    @ops.custom_gradient
    def run(gates: Any, keys: Any, memory_gates: Any, real: Any, *tensors: Any) -> tuple[Any, Any]:
        start, values = tensors[: len(state)], tensors[len(state) :]
        read = Memory(None, keys, memory_gates, real > 0)

        def scope() -> keras.StatelessScope:
            return keras.StatelessScope(state_mapping=zip(variables, values, strict=True))

        def step(carry: tuple, step_gates: Any) -> tuple[Any, Any]:
            carry = decoder.step(step_gates, carry[0], read)
            return carry, carry

        with scope():
            weights = cells.recurrence(decoder.cell)
            # TensorFlow's scan emits what has the shapes of the carry, so all is in both.
            looked = ops.zeros_like(real, dtype="float32")
            begin = (tuple(start), looked, cells.no_activations(weights, gates[0]))
            _, (states, looked, activations) = ops.scan(step, begin, gates)

        def gradient(*upstream: Any) -> tuple[Any, ...]:
            d_states, d_looked = keras.tree.flatten(upstream)
            trace = _Trace(read, gates, tuple(start), states, looked, activations)
            with scope():
                found = _gradients(decoder, trace, d_states, d_looked)
            given = (gates, keys, memory_gates, real, *tensors)
            return tuple(
                ops.cast(each, tensor.dtype) for each, tensor in zip(found, given, strict=True)
            )

        return (states[0], looked), gradient

    # All that is read is an argument, as JAX refuses what it traces in a closure; the mask as
    # numbers, which can have a gradient.
    real = ops.cast(memory.mask, gates.dtype)
    values = [variable.value for variable in variables]
    return run(gates, memory.keys, memory.gates, real, *state, *values)


class _Trace(NamedTuple):
    """What the loop leaves for its gradient.

    Attributes:
        memory: What was read of the source.
        gates: The embeddings' share of the gates, `(target_length, batch, gate_units)`.
        start: s_0.
        states: s_i, each `(target_length, batch, units)`.
        looked: alpha_i, `(target_length, batch, source_length)`.
        activations: What `cells.advance` gave, `(target_length, batch, n * units)`.
    """

    memory: Memory
    gates: Any
    start: cells.State
    states: cells.State
    looked: Any
    activations: Any


def _gradients(decoder: AttentionDecoder, trace: _Trace, d_states: Any, d_looked: Any) -> list[Any]:
    """From the gradients by s_i and alpha_i to those by all that the loop read.

    Returns:
        The gradients by gates, keys, gates and mask of the memory, s_0 and
        `decoder.step_weights()`.
    """
    memory, gates, start, states, looked, activations = trace
    attention = decoder.attention
    weights = cells.recurrence(decoder.cell)
    transposed = weights._replace(kernel=ops.transpose(weights.kernel))
    previous = cells.shift(start, states)
    kept: tuple[Any, ...] = cells.no_sums(weights, gates[0])
    if attention is not None:
        projected = attention.project_query(previous[0])
        queries = attention.query(previous[0])
        # Outside of a layer's call, Keras casts no weight to the compute dtype.
        query_weights = [
            ops.transpose(ops.cast(each, queries.dtype)) for each in attention.query_weights()
        ]
        zeros = ops.zeros_like(queries[0])
        kept += (ops.zeros_like(looked[0], dtype=queries.dtype), zeros, zeros)

    def step(carry: tuple, index: Any) -> tuple[Any, Any]:
        d_state = (carry[0][0] + d_states[index], *carry[0][1:])
        before, after = (tuple(each[index] for each in of) for of in (previous, states))
        d_sums, d_state = cells.retreat(transposed, activations[index], before, after, d_state)
        if attention is None:
            return (d_state, d_sums), (d_state, d_sums)
        by_gates = ops.squeeze(ops.matmul(memory.gates, ops.expand_dims(d_sums[0], -1)), -1)
        d_weights = d_looked[index] + ops.cast(by_gates, "float32")
        alpha = looked[index]
        d_energies = alpha * (d_weights - ops.sum(alpha * d_weights, axis=-1, keepdims=True))
        d_energies = ops.cast(d_energies, memory.keys.dtype)
        d_query = attention.compare_back(d_energies, queries[index], memory.keys)
        d_projected = attention.query_back(d_query, projected[index])
        d_before = d_projected
        for each in query_weights:
            d_before = ops.matmul(d_before, each)
        d_state = (d_state[0] + d_before, *d_state[1:])
        carry = (d_state, (*d_sums, d_energies, d_query, d_projected))
        return carry, carry

    # Looked up by index, as TensorFlow's scan fails on several inputs of unknown length.
    begin = (tuple(ops.zeros_like(each) for each in start), kept)
    steps = ops.arange(ops.shape(activations)[0], dtype="int32")
    (d_start, _), (_, kept) = ops.scan(step, begin, steps, reverse=True)

    count = len(cells.no_sums(weights, gates))
    d_sums, by_query = kept[:count], kept[count:]
    d_gates = d_sums[0]
    d_kernel, *d_bias = cells.weight_gradients(weights, activations, previous[0], d_sums)
    # The first row is that of the input bias, which is not read here.
    d_bias = [ops.concatenate([ops.zeros_like(each), each], axis=0) for each in d_bias]
    found = [d_kernel, *d_bias]
    no_mask = ops.zeros_like(memory.mask, dtype=gates.dtype)
    if attention is None:
        d_memory = ops.expand_dims(ops.sum(d_gates, axis=0), 1)
        d_keys = ops.zeros_like(memory.keys)
        return [d_gates, d_keys, d_memory, no_mask, *d_start, *found]

    d_energies, d_query, d_projected = by_query
    found += [cells.sum_of_products(previous[0], d_projected) for _ in query_weights]
    if attention.query_normalization is not None:
        found += normalization_back(attention.query_normalization, d_query, projected)[1:]
    d_keys, d_compare = attention.compare_gradients(d_energies, queries, memory.keys)
    # Every sentence's sum over target positions, (batch, source_length, gate_units).
    d_memory = ops.matmul(
        ops.cast(ops.transpose(looked, (1, 2, 0)), d_gates.dtype), ops.swapaxes(d_gates, 0, 1)
    )
    return [d_gates, d_keys, d_memory, no_mask, *d_start, *found, *d_compare]
