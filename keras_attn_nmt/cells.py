"""GRU and LSTM recurrences with everything that does not depend on the state hoisted out.

The weights live in Keras' own `GRUCell` and `LSTMCell`, in their layout (gates z, r, h and
i, f, c, o side by side), so that a layer can hand the same weights to cuDNN. What is here is the
part of a step that has to wait for the previous state, and the way back through it:

    gates = x W + b          for all time steps in one product, by the caller
    state, activations = advance(weights, gates, state)
    d_sums, d_previous = advance_back(transposed, activations, previous, state, d_state)

The gradient is written by hand, as the products that make the gradients of the weights wait for
nothing: one large product after the loop in place of one a step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt.rows import by_rows

State = tuple[Any, ...]


class Recurrence(NamedTuple):
    """What `advance` needs of a cell.

    Attributes:
        kind: `"gru"` or `"lstm"`.
        kernel: Recurrent weights U, `(units, gates * units)`.
        bias: Bias inside of the reset gate of a GRU with `reset_after`, `(1, 3 * units)`, or
            `None`.
    """

    kind: str
    kernel: Any
    bias: Any | None = None


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class BlockOrthogonal(keras.initializers.Initializer):
    """One orthogonal matrix for each gate (paper, B.1), where Keras makes one for all gates.

    Args:
        seed: Seed of the draws; `None` draws anew.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        units, width = shape
        # One generator for all blocks, as equal seeds would make equal gates.
        seeds = keras.random.SeedGenerator(self.seed)
        draws = [
            keras.random.normal((units, units), dtype="float32", seed=seeds)
            for _ in range(width // units)
        ]
        return ops.cast(ops.concatenate([ops.qr(draw)[0] for draw in draws], axis=1), dtype)

    def get_config(self) -> dict[str, Any]:
        return {"seed": self.seed}


def make_cell(
    kind: str, units: int, *, reset_after: bool, initializer: str, **kwargs: Any
) -> keras.layers.Layer:
    """A Keras `GRUCell` or `LSTMCell` that holds the weights.

    Args:
        kind: `"gru"` or `"lstm"`.
        units: State size.
        reset_after: GRU only, see `ModelConfig`.
        initializer: `"glorot"` or `"paper"`.
        **kwargs: `name`, `dtype` and the like.
    """
    options = {**recurrent_initializers(initializer), **kwargs}
    if kind == "gru":
        return keras.layers.GRUCell(units, reset_after=reset_after, **options)
    return keras.layers.LSTMCell(units, **options)


def recurrent_initializers(initializer: str) -> dict[str, Any]:
    """Keras' initialiser arguments for `initializer`, `"glorot"` or `"paper"` (B.1)."""
    if initializer == "paper":
        return {
            "kernel_initializer": keras.initializers.RandomNormal(stddev=0.01),
            "recurrent_initializer": BlockOrthogonal(),
        }
    return {"kernel_initializer": "glorot_uniform", "recurrent_initializer": "orthogonal"}


def recurrence(cell: Any) -> Recurrence:
    """The recurrent weights of a built Keras cell."""
    if isinstance(cell, keras.layers.GRUCell):
        bias = _weight(cell, cell.bias)[1:] if cell.reset_after else None
        return Recurrence("gru", _weight(cell, cell.recurrent_kernel), bias)
    return Recurrence("lstm", _weight(cell, cell.recurrent_kernel))


def input_kernel(cell: Any) -> Any:
    """The weights W of `x W + b`, `(input_units, gates * units)`."""
    return _weight(cell, cell.kernel)


def _weight(cell: Any, variable: Any) -> Any:
    # Keras casts to the compute dtype only inside of a layer's call; a search calls methods.
    return ops.cast(variable.value, cell.compute_dtype)


def input_bias(cell: Any) -> Any:
    """The bias that is added to `x W`, `(gates * units,)`."""
    stacked = isinstance(cell, keras.layers.GRUCell) and cell.reset_after
    bias = _weight(cell, cell.bias)
    return bias[0] if stacked else bias


def advance(weights: Recurrence, gates: Any, state: State) -> tuple[State, Any]:
    """The next state from the state before it and the input's share of the gates.

    GRU as in A.1.1, with Keras' z, which is one minus the paper's; LSTM as in Hochreiter &
    Schmidhuber 1997 with Gers' forget gate.

    Args:
        weights: The cell's recurrent weights.
        gates: `x W + b`, shape `(..., batch, gates * units)`.
        state: `(h,)` or `(h, c)`, each `(..., batch, units)`.

    Returns:
        `(state, activations)`: the new state, of the same shapes, and what `advance_back` needs to
        know of the step, `(..., batch, n * units)`: z, r, h~ (and U h with `reset_after`); i, f,
        c~, o.
    """
    if weights.kind == "lstm":
        h, c = state
        i, f, candidate, o = ops.split(gates + _times(h, weights.kernel), 4, axis=-1)
        i, f, candidate, o = ops.sigmoid(i), ops.sigmoid(f), ops.tanh(candidate), ops.sigmoid(o)
        c = f * c + i * candidate
        return (o * ops.tanh(c), c), ops.concatenate([i, f, candidate, o], axis=-1)

    (h,) = state
    z, r, candidate = ops.split(gates, 3, axis=-1)
    if weights.bias is not None:  # reset_after
        recurrent = _times(h, weights.kernel) + weights.bias
        recurrent_z, recurrent_r, recurrent_h = ops.split(recurrent, 3, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + r * recurrent_h)
        activations = [z, r, candidate, recurrent_h]
    else:
        units = h.shape[-1]
        kernel_zr, kernel_h = ops.split(weights.kernel, [2 * units], axis=-1)
        recurrent_z, recurrent_r = ops.split(_times(h, kernel_zr), 2, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + _times(r * h, kernel_h))
        activations = [z, r, candidate]
    return (z * h + (1 - z) * candidate,), ops.concatenate(activations, axis=-1)


def _times(state: Any, kernel: Any) -> Any:
    return by_rows(lambda rows: ops.matmul(rows, kernel), state)


def advance_back(
    transposed: Recurrence, activations: Any, previous: State, state: State, d_state: State
) -> tuple[Any, State]:
    """The gradient of `advance`, but for that of the weights: see `weight_gradients`.

    Args:
        transposed: The cell's recurrent weights, the kernel transposed.
        activations: What `advance` gave beside the state.
        previous: The state before the step.
        state: The state after it.
        d_state: The gradient of the loss by the state after it.

    Returns:
        `(d_sums, d_previous)`. `d_sums`: the gradient by the gates, and with `reset_after`, where
        it is another, that by what `h U` is added to, each `(..., batch, gates * units)`.
        `d_previous`: the gradient by the state before the step.
    """
    if transposed.kind == "lstm":
        (_, c), (h_back, c_back) = state, d_state
        i, f, candidate, o = ops.split(activations, 4, axis=-1)
        squashed = ops.tanh(c)
        c_back = c_back + h_back * o * (1 - squashed * squashed)
        d_sums = ops.concatenate(
            [
                c_back * candidate * i * (1 - i),
                c_back * previous[1] * f * (1 - f),
                c_back * i * (1 - candidate * candidate),
                h_back * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_sums,), (ops.matmul(d_sums, transposed.kernel), c_back * f)

    (h,), (back,) = previous, d_state
    if transposed.bias is not None:  # reset_after
        z, r, candidate, recurrent_h = ops.split(activations, 4, axis=-1)
        d_candidate = back * (1 - z) * (1 - candidate * candidate)
        d_z = back * (h - candidate) * z * (1 - z)
        d_r = d_candidate * recurrent_h * r * (1 - r)
        d_recurrent_h = d_candidate * r
        d_recurrent = ops.concatenate([d_z, d_r, d_recurrent_h], axis=-1)
        d_gates = ops.concatenate([d_z, d_r, d_candidate], axis=-1)
        d_previous = back * z + ops.matmul(d_recurrent, transposed.kernel)
        return (d_gates, d_recurrent), (d_previous,)
    z, r, candidate = ops.split(activations, 3, axis=-1)
    kernel_zr, kernel_h = ops.split(transposed.kernel, [2 * h.shape[-1]], axis=-2)
    d_candidate = back * (1 - z) * (1 - candidate * candidate)
    d_reset = ops.matmul(d_candidate, kernel_h)
    d_zr = ops.concatenate(
        [back * (h - candidate) * z * (1 - z), d_reset * h * r * (1 - r)], axis=-1
    )
    d_previous = back * z + d_reset * r + ops.matmul(d_zr, kernel_zr)
    return (ops.concatenate([d_zr, d_candidate], axis=-1),), (d_previous,)


def zero_activations(weights: Recurrence, gates: Any) -> Any:
    """Zeros of the shape and dtype of what `advance` gives beside the state."""
    zeros = ops.zeros_like(gates)
    if weights.bias is None:
        return zeros
    return ops.concatenate([zeros, zeros[..., : weights.kernel.shape[-2]]], axis=-1)


def zero_sums(weights: Recurrence, gates: Any) -> tuple[Any, ...]:
    """Zeros of the shapes and dtype of the first that `advance_back` gives."""
    return (ops.zeros_like(gates),) * (1 if weights.bias is None else 2)


def weight_gradients(
    weights: Recurrence, activations: Any, previous: Any, d_sums: tuple[Any, ...]
) -> list[Any]:
    """The gradients by the recurrent weights, of all steps in one product.

    Args:
        weights: The cell's recurrent weights.
        activations: Of all steps, `(steps, batch, n * units)`.
        previous: h before each of them, `(steps, batch, units)`.
        d_sums: What `advance_back` gave first, each `(steps, batch, gates * units)`.

    Returns:
        Those by the kernel and, where there is one, by the bias.
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


def sum_of_products(left: Any, right: Any) -> Any:
    """The sum of `left^T right` over steps: `(steps, batch, m)`, `(steps, batch, n)`: `(m, n)`."""
    left, right = (ops.reshape(each, (-1, each.shape[-1])) for each in (left, right))
    return ops.matmul(ops.transpose(left), right)


def shift(start: State, states: State) -> State:
    """The states before every step: from s_0, and from s_1 to s_T, s_0 to s_{T-1}."""
    return tuple(
        ops.concatenate([ops.expand_dims(first, 0), each[:-1]], axis=0)
        for first, each in zip(start, states, strict=True)
    )
