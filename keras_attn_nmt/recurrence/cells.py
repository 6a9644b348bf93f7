"""GRU and LSTM steps and their backward passes.

The input projection, which does not depend on the state, is hoisted out of the step:

    gates = x W + b          for all time steps in one product, by the caller
    state, activations = cell_step(weights, gates, state)
    d_sums, d_previous = cell_step_backward(transposed, activations, previous, state, d_state)

Weight gradients are not part of the recurrence: `weight_gradients` computes them for all steps in
one large product. Gates are ordered as in Keras' cells (z, r, h and i, f, c, o), so that the same
weights run on cuDNN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_attn_nmt.recurrence.products import matmul_2d, sum_of_products

State = tuple[Any, ...]


class CellWeights(NamedTuple):
    """The recurrent weights of a cell.

    Attributes:
        kind: `"gru"` or `"lstm"`.
        kernel: Recurrent weights U, `(units, gates * units)`.
        bias: Recurrent bias of a GRU with `reset_after`, `(1, 3 * units)`, or `None`.
    """

    kind: str
    kernel: Any
    bias: Any | None = None


def zero_state(weights: CellWeights, gates: Any) -> State:
    """States of zeros, each `(batch, units)`, for `gates` of `(steps, batch, gates * units)`."""
    zeros = ops.zeros_like(gates[0, :, : weights.kernel.shape[0]])
    return (zeros, zeros) if weights.kind == "lstm" else (zeros,)


def cell_step(weights: CellWeights, gates: Any, state: State) -> tuple[State, Any]:
    """The next state from the previous state and the input projection.

    GRU as in A.1.1, where Keras' z is one minus the paper's; LSTM as in Hochreiter & Schmidhuber
    1997 with the forget gate of Gers et al.

    Args:
        weights: The cell's recurrent weights.
        gates: `x W + b`, shape `(..., batch, gates * units)`.
        state: `(h,)` or `(h, c)`, each `(..., batch, units)`.

    Returns:
        `(state, activations)`: the new state, of the same shapes, and the activations for
        `cell_step_backward`, `(..., batch, n * units)`: z, r, h~ (and U h with `reset_after`);
        i, f, c~, o.
    """
    if weights.kind == "lstm":
        h, c = state
        i, f, candidate, o = ops.split(gates + matmul_2d(h, weights.kernel), 4, axis=-1)
        i, f, candidate, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(candidate), ops.sigmoid(o)
        c = f * c + i * candidate
        return (o * ops.tanh(c), c), ops.concatenate([i, f, candidate, o], axis=-1)

    (h,) = state
    z, r, candidate = ops.split(gates, 3, axis=-1)
    if weights.bias is not None:  # reset_after
        recurrent = matmul_2d(h, weights.kernel) + weights.bias
        recurrent_z, recurrent_r, recurrent_h = ops.split(recurrent, 3, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + r * recurrent_h)
        activations = [z, r, candidate, recurrent_h]
    else:
        units = h.shape[-1]
        kernel_zr, kernel_h = ops.split(weights.kernel, [2 * units], axis=-1)
        recurrent_z, recurrent_r = ops.split(matmul_2d(h, kernel_zr), 2, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + matmul_2d(r * h, kernel_h))
        activations = [z, r, candidate]
    return (z * h + (1 - z) * candidate,), ops.concatenate(activations, axis=-1)


def cell_step_backward(
    transposed: CellWeights, activations: Any, previous: State, state: State, d_state: State
) -> tuple[Any, State]:
    """The backward pass of `cell_step`, except weight gradients: see `weight_gradients`.

    Args:
        transposed: The recurrent weights, with the kernel transposed.
        activations: The activations from `cell_step`.
        previous: The state before the step.
        state: The state after the step.
        d_state: Gradient with respect to the state after the step.

    Returns:
        `(d_sums, d_previous)`. `d_sums`: the gradient with respect to the gates and, with
        `reset_after`, where it differs, to the recurrent projection, each
        `(..., batch, gates * units)`. `d_previous`: the gradient with respect to the state before
        the step.
    """
    if transposed.kind == "lstm":
        (_, c), (d_h, d_c) = state, d_state
        i, f, candidate, o = ops.split(activations, 4, axis=-1)
        tanh_c = ops.tanh(c)
        d_c = d_c + d_h * o * (1 - tanh_c * tanh_c)
        d_sums = ops.concatenate(
            [
                d_c * candidate * i * (1 - i),
                d_c * previous[1] * f * (1 - f),
                d_c * i * (1 - candidate * candidate),
                d_h * tanh_c * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_sums,), (ops.matmul(d_sums, transposed.kernel), d_c * f)

    (h,), (d_h,) = previous, d_state
    if transposed.bias is not None:  # reset_after
        z, r, candidate, recurrent_h = ops.split(activations, 4, axis=-1)
        d_candidate = d_h * (1 - z) * (1 - candidate * candidate)
        d_z = d_h * (h - candidate) * z * (1 - z)
        d_r = d_candidate * recurrent_h * r * (1 - r)
        d_recurrent_h = d_candidate * r
        d_recurrent = ops.concatenate([d_z, d_r, d_recurrent_h], axis=-1)
        d_gates = ops.concatenate([d_z, d_r, d_candidate], axis=-1)
        d_previous = d_h * z + ops.matmul(d_recurrent, transposed.kernel)
        return (d_gates, d_recurrent), (d_previous,)
    z, r, candidate = ops.split(activations, 3, axis=-1)
    kernel_zr, kernel_h = ops.split(transposed.kernel, [2 * h.shape[-1]], axis=-2)
    d_candidate = d_h * (1 - z) * (1 - candidate * candidate)
    d_reset = ops.matmul(d_candidate, kernel_h)
    d_zr = ops.concatenate(
        [d_h * (h - candidate) * z * (1 - z), d_reset * h * r * (1 - r)], axis=-1
    )
    d_previous = d_h * z + d_reset * r + ops.matmul(d_zr, kernel_zr)
    return (ops.concatenate([d_zr, d_candidate], axis=-1),), (d_previous,)


def zero_activations(weights: CellWeights, gates: Any) -> Any:
    """Zeros in the shape and dtype of the activations of `cell_step`."""
    zeros = ops.zeros_like(gates)
    if weights.bias is None:
        return zeros
    return ops.concatenate([zeros, zeros[..., : weights.kernel.shape[-2]]], axis=-1)


def zero_sums(weights: CellWeights, gates: Any) -> tuple[Any, ...]:
    """Zeros in the shapes and dtype of `d_sums` of `cell_step_backward`."""
    return (ops.zeros_like(gates),) * (1 if weights.bias is None else 2)


def weight_gradients(
    weights: CellWeights, activations: Any, previous: Any, d_sums: tuple[Any, ...]
) -> list[Any]:
    """Gradients with respect to the recurrent weights, for all steps in one product.

    Args:
        weights: The cell's recurrent weights.
        activations: Activations of all steps, `(steps, batch, n * units)`.
        previous: h before each step, `(steps, batch, units)`.
        d_sums: Output of `cell_step_backward`, each `(steps, batch, gates * units)`.

    Returns:
        The gradients of the kernel and, if present, of the bias.
    """
    d_recurrent = d_sums[-1]
    if weights.bias is not None:  # reset_after
        d_bias = ops.sum(ops.sum(d_recurrent, axis=0), axis=0, keepdims=True)
        return [sum_of_products(previous, d_recurrent), d_bias]
    if weights.kind == "lstm":
        return [sum_of_products(previous, d_recurrent)]
    units = previous.shape[-1]
    d_zr, d_candidate = ops.split(d_recurrent, [2 * units], axis=-1)
    reset = activations[..., units : 2 * units]
    products = [sum_of_products(previous, d_zr), sum_of_products(reset * previous, d_candidate)]
    return [ops.concatenate(products, axis=-1)]


def shift(start: State, states: State) -> State:
    """Shifts states by one step: s_0 to s_{T-1} from s_0 and s_1 to s_T."""
    return tuple(
        ops.concatenate([ops.expand_dims(first, 0), each[:-1]], axis=0)
        for first, each in zip(start, states, strict=True)
    )
