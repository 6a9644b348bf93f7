"""The decoder's loop over a given target, and its gradient, written by hand.

The products that make the gradients of the weights wait for nothing: after the loop they are one
large product each, in place of one a step, and of a step only the activations are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt import cells

if TYPE_CHECKING:
    from keras_attn_nmt.decoder import AttentionDecoder, Memory


def decode(
    decoder: AttentionDecoder, gates: Any, state: cells.State, memory: Memory
) -> tuple[Any, Any]:
    """Takes `decoder.step` for every target position.

    Args:
        decoder: The decoder, built.
        gates: What `embed_gates` gave, `(target_length, batch, token_units)`.
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
        read = memory._replace(annotations=None, keys=keys, gates=memory_gates, mask=real > 0)

        def scope() -> keras.StatelessScope:
            return keras.StatelessScope(state_mapping=zip(variables, values, strict=True))

        def step(carry: tuple, step_gates: Any) -> tuple[Any, Any]:
            carry = decoder.step(step_gates, carry[0], read)
            return carry, carry

        with scope():
            weights = cells.recurrence(decoder.cell)
            # TensorFlow's scan emits what has the shapes of the carry, so all is in both.
            looked = ops.zeros_like(real, dtype="float32")
            cell_gates, _ = decoder.split_query(gates[0])
            begin = (tuple(start), looked, cells.zero_activations(weights, cell_gates))
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
        gates: What `embed_gates` gave, `(target_length, batch, token_units)`.
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

    Args:
        decoder: The decoder.
        trace: What the loop left.
        d_states: The gradient by s_i, `(target_length, batch, units)`.
        d_looked: The gradient by alpha_i, float32, `(target_length, batch, source_length)`.

    Returns:
        The gradients by gates, keys, gates and mask of the memory, s_0 and
        `decoder.step_weights()`.
    """
    memory, gates, start, states, looked, activations = trace
    attention = decoder.attention
    weights = cells.recurrence(decoder.cell)
    transposed = weights._replace(kernel=ops.transpose(weights.kernel))
    previous = cells.shift(start, states)
    by_query: tuple[Any, ...] = ()
    if attention is not None:
        projected = attention.project_query(previous[0])
        query_shift = decoder.split_query(gates)[1]
        if query_shift is not None:
            projected = projected + query_shift
        queries = attention.normalize_query(projected)
        standardized = attention.standardize_query(projected)
        # Outside of a layer's call, Keras casts no weight to the compute dtype.
        query_weights = [
            ops.transpose(ops.cast(each, queries.dtype)) for each in attention.query_weights()
        ]
        zeros = ops.zeros_like(queries[0])
        by_query = (ops.zeros_like(looked[0], dtype=queries.dtype), zeros, zeros)

    def step(carry: tuple, index: Any) -> tuple[Any, Any]:
        d_state = (carry[0][0] + d_states[index], *carry[0][1:])
        before, after = (tuple(each[index] for each in of) for of in (previous, states))
        d_sums, d_state = cells.advance_back(transposed, activations[index], before, after, d_state)
        if attention is None:
            return (d_state, d_sums, ()), (d_state, d_sums, ())
        by_gates = ops.squeeze(ops.matmul(memory.gates, ops.expand_dims(d_sums[0], -1)), -1)
        d_weights = d_looked[index] + ops.cast(by_gates, "float32")
        alpha = looked[index]
        d_energies = alpha * (d_weights - ops.sum(alpha * d_weights, axis=-1, keepdims=True))
        d_energies = ops.cast(d_energies, memory.keys.dtype)
        d_query = attention.compare_back(d_energies, queries[index], memory.keys)
        at_index = keras.tree.map_structure(lambda each: each[index], standardized)
        d_projected = attention.normalize_query_back(d_query, at_index)
        d_before = d_projected
        for each in query_weights:
            d_before = ops.matmul(d_before, each)
        d_state = (d_state[0] + d_before, *d_state[1:])
        carry = (d_state, d_sums, (d_energies, d_query, d_projected))
        return carry, carry

    # Looked up by index, as TensorFlow's scan fails on several inputs of unknown length.
    nothing = tuple(ops.zeros_like(each) for each in start)
    begin = (nothing, cells.zero_sums(weights, decoder.split_query(gates[0])[0]), by_query)
    steps = ops.arange(ops.shape(activations)[0], dtype="int32")
    (d_start, *_), (_, d_sums, by_query) = ops.scan(step, begin, steps, reverse=True)

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
    found += attention.normalization_gradients(d_query, standardized)
    d_keys, d_compare = attention.compare_gradients(d_energies, queries, memory.keys)
    # Every sentence's sum over target positions, (batch, source_length, gate_units).
    d_memory = ops.matmul(
        ops.cast(ops.transpose(looked, (1, 2, 0)), d_gates.dtype), ops.swapaxes(d_gates, 0, 1)
    )
    if decoder.token_query is not None:
        # What is added to the projected state has its gradient.
        d_gates = ops.concatenate([d_gates, d_projected], axis=-1)
    return [d_gates, d_keys, d_memory, no_mask, *d_start, *found, *d_compare]
