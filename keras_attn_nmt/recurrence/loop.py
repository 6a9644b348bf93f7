"""The scan of a recurrent layer over positions, with or without attention, and its gradient.

The same loop runs the encoder (whose state is frozen at padding) and the decoder (which attends to
the source at every step). If every step has a backward pass, the gradient is hand-written: weight
gradients are computed in one large product each after the loop, and only activations are kept.
Otherwise (a score without backward pass, PyTorch), the backend differentiates the loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt.recurrence import cells, scores


class Inputs(NamedTuple):
    """The inputs of the loop.

    Attributes:
        cell: The cell's recurrent weights.
        gates: The input projection `x W + b`, `(steps, batch, gate_units)`; or concatenated with a
            query shift, `(steps, batch, gate_units + key_units)`.
        start: The initial state, each `(batch, units)`.
        moving: Mask of steps that update the state, bool, `(steps, batch, 1)`; `None` for all.
        attention: The attention weights of the layer, or `None`.
        source: An `Attended` whose values are projected to the gates, or `None`.
    """

    cell: cells.CellWeights
    gates: Any
    start: cells.State
    moving: Any | None = None
    attention: scores.AttentionWeights | None = None
    source: Any = None


class Outputs(NamedTuple):
    """The outputs of the loop.

    Attributes:
        states: h after each step, `(steps, batch, units)`.
        final: h after the last step, `(batch, units)`.
        attention_weights: float32, `(steps, batch, source_length)`, or `None`.
    """

    states: Any
    final: Any
    attention_weights: Any | None = None


def split_gates(cell: cells.CellWeights, gates: Any) -> tuple[Any, Any]:
    """Splits `Inputs.gates` into gates and query shift (`None` if absent)."""
    width = cell.kernel.shape[-1]
    if gates.shape[-1] == width:
        return gates, None
    return gates[..., :width], gates[..., width:]


def run(inputs: Inputs, by_hand: bool = True) -> Outputs:
    """Runs the loop.

    Args:
        inputs: The inputs.
        by_hand: Whether to use the hand-written gradient if available, which stores activations.
    """
    attention = inputs.attention
    if attention is not None and None in attention.score[2:]:
        by_hand = False
    if not by_hand or keras.backend.backend() == "torch":
        trace = _forward(inputs, keep=False)
        return Outputs(trace.states[0], trace.final, trace.attention_weights)

    # JAX rejects traced tensors in a closure, so all are arguments; masks become floats, which
    # can have a gradient.
    leaves = keras.tree.flatten(_masks(inputs, lambda mask: ops.cast(mask, inputs.gates.dtype)))
    places = [place for place, leaf in enumerate(leaves) if ops.is_tensor(leaf)]

    @ops.custom_gradient
    def differentiable(*tensors: Any) -> tuple[Any, Any]:
        rebuilt = list(leaves)
        for place, tensor in zip(places, tensors, strict=True):
            rebuilt[place] = tensor
        given = keras.tree.pack_sequence_as(inputs, rebuilt)
        given = _masks(given, lambda mask: mask > 0)
        trace = _forward(given, keep=True)

        def gradient(*upstream: Any) -> tuple[Any, ...]:
            found = keras.tree.flatten(_backward(given, trace, *keras.tree.flatten(upstream)))
            return tuple(
                ops.zeros_like(tensor)
                if found[place] is None
                else ops.cast(found[place], tensor.dtype)
                for place, tensor in zip(places, tensors, strict=True)
            )

        outputs = (trace.states[0], trace.final, trace.attention_weights)
        return outputs[: 2 if attention is None else 3], gradient

    return Outputs(*differentiable(*(leaves[place] for place in places)))


def _masks(inputs: Inputs, change: Any) -> Inputs:
    """Applies a function to both masks, if present."""
    if inputs.moving is not None:
        inputs = inputs._replace(moving=change(inputs.moving))
    if inputs.source is not None and inputs.source.mask is not None:
        inputs = inputs._replace(source=inputs.source._replace(mask=change(inputs.source.mask)))
    return inputs


class _Trace(NamedTuple):
    """Values kept for the gradient: tensors `(steps, batch, ...)`, except `final`."""

    states: cells.State
    final: Any
    attention_weights: Any
    activations: Any


def _forward(inputs: Inputs, keep: bool) -> _Trace:
    """The forward pass; with `keep`, activations of every step are kept."""
    cell, gates, start, moving, attention, source = inputs

    def step(carry: dict[str, Any], step_gates: Any) -> tuple[Any, Any]:
        step_gates, query_shift = split_gates(cell, step_gates)
        result = {}
        if attention is not None:
            context, result["weights"] = scores.attend(
                attention, source, carry["state"][0], query_shift
            )
            step_gates = step_gates + context
        state, activations = cells.cell_step(cell, step_gates, carry["state"])
        if moving is not None:
            moves = moving[carry["index"]]
            state = tuple(
                ops.where(moves, new, old) for new, old in zip(state, carry["state"], strict=True)
            )
            result["index"] = carry["index"] + 1
        if keep:
            result["activations"] = activations
        result["state"] = state
        return result, result

    # TensorFlow's scan requires outputs in the shapes of the carry, so the carry contains all
    # outputs. It fails on two inputs of unknown length, so the mask is accessed by index.
    begin: dict[str, Any] = {"state": tuple(start)}
    first_gates, _ = split_gates(cell, gates[0])
    if attention is not None:
        begin["weights"] = ops.zeros_like(source.keys[:, :, 0], dtype="float32")
    if moving is not None:
        begin["index"] = ops.zeros((), dtype="int32")
    if keep:
        begin["activations"] = cells.zero_activations(cell, first_gates)
    last, every = ops.scan(step, begin, gates)
    final = last["state"][0]
    return _Trace(every["state"], final, every.get("weights"), every.get("activations"))


def _backward(
    inputs: Inputs, trace: _Trace, d_states: Any, d_final: Any, d_weights: Any = None
) -> Inputs:
    """The backward pass: gradients of the outputs to gradients of the inputs, or `None`."""
    cell, gates, start, moving, attention, source = inputs
    transposed = cell._replace(kernel=ops.transpose(cell.kernel))
    previous = cells.shift(start, trace.states)
    if attention is not None:
        _, query_shift = split_gates(cell, gates)
        queries = scores.trace_attention(attention, previous[0], query_shift)
        if attention.query_kernel is not None:
            query_kernel = ops.transpose(attention.query_kernel)

    def step(carry: dict[str, Any], index: Any) -> tuple[Any, Any]:
        d_state = (carry["state"][0] + d_states[index], *carry["state"][1:])
        moved = d_state
        if moving is not None:
            moved = tuple(ops.where(moving[index], each, 0) for each in d_state)
        before, after = (tuple(each[index] for each in of) for of in (previous, trace.states))
        result = {}
        result["sums"], d_previous = cells.cell_step_backward(
            transposed, trace.activations[index], before, after, moved
        )
        if attention is not None:
            d_attention = scores.attend_backward(
                *(attention, source, queries, index, trace.attention_weights[index]),
                *(result["sums"][0], d_weights[index]),
            )
            result["attention"] = d_attention
            d_query = d_attention[-1]
            if attention.query_kernel is not None:
                d_query = ops.matmul(d_query, query_kernel)
            d_previous = (d_previous[0] + d_query, *d_previous[1:])
        if moving is not None:
            d_previous = tuple(
                ops.where(moving[index], updated, kept)
                for updated, kept in zip(d_previous, d_state, strict=True)
            )
        result["state"] = d_previous
        return result, result

    begin: dict[str, Any] = {
        "state": (d_final, *(ops.zeros_like(each) for each in start[1:])),
        "sums": cells.zero_sums(cell, split_gates(cell, gates[0])[0]),
    }
    if attention is not None:
        zeros = ops.zeros_like(queries.queries[0])
        energies = ops.zeros_like(trace.attention_weights[0], dtype=source.keys.dtype)
        begin["attention"] = (energies, zeros, zeros)
    # Accessed by index, as TensorFlow's scan fails on several inputs of unknown length.
    steps = ops.arange(ops.shape(trace.activations)[0], dtype="int32")
    first, every = ops.scan(step, begin, steps, reverse=True)

    d_gates = every["sums"][0]
    d_kernel, *d_bias = cells.weight_gradients(cell, trace.activations, previous[0], every["sums"])
    found = Inputs(
        cell._replace(kernel=d_kernel, bias=d_bias[0] if d_bias else None),
        d_gates,
        first["state"],
        None,
        attention,
        source,
    )
    if attention is None:
        return found

    d_energies, d_query, d_projected = every["attention"]
    d_attention = scores.attention_gradients(attention, queries, previous[0], d_query, d_projected)
    backward_of_keys = attention.score.backward_of_keys
    assert backward_of_keys is not None  # Present if `backward` is.
    d_keys, d_score = backward_of_keys(
        d_energies, queries.queries, source.keys, *attention.score.weights
    )
    # Sum over steps, (batch, source_length, value_units).
    d_values = ops.matmul(
        ops.cast(ops.transpose(trace.attention_weights, (1, 2, 0)), d_gates.dtype),
        ops.swapaxes(d_gates, 0, 1),
    )
    if query_shift is not None:
        # The query shift has the gradient of the projected state.
        d_gates = ops.concatenate([d_gates, d_projected], axis=-1)
    return found._replace(
        gates=d_gates,
        attention=d_attention._replace(score=attention.score._replace(weights=tuple(d_score))),
        source=scores.Attended(d_keys, d_values, None),
    )
