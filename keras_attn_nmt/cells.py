"""GRU and LSTM recurrences with everything that does not depend on the state hoisted out.

The weights live in Keras' own `GRUCell` and `LSTMCell`, in their layout (gates z, r, h and
i, f, c, o side by side), so that a layer can hand the same weights to cuDNN. What is here is the
part of a step that has to wait for the previous state:

    gates = x W + b          for all time steps in one product, by the caller
    state = advance(cell, gates, state)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

State = tuple[Any, ...]


class Recurrence(NamedTuple):
    """What `advance` needs of a cell, or of several cells stacked on a leading axis.

    Attributes:
        kind: `"gru"` or `"lstm"`.
        kernel: Recurrent weights U, `(..., units, gates * units)`.
        bias: Bias inside of the reset gate of a GRU with `reset_after`, `(..., 1, 3 * units)`,
            or `None`.
    """

    kind: str
    kernel: Any
    bias: Any | None


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
    return Recurrence("lstm", _weight(cell, cell.recurrent_kernel), None)


def input_kernel(cell: Any) -> Any:
    """The weights W of `x W + b`, `(input_units, gates * units)`."""
    return _weight(cell, cell.kernel)


def _weight(cell: Any, variable: Any) -> Any:
    # Keras casts to the compute dtype only inside of a layer's call; a search calls methods.
    return ops.cast(variable.value, cell.compute_dtype)


def stack(recurrences: list[Recurrence]) -> Recurrence:
    """Recurrences of one kind side by side, to be advanced in one batched product."""
    first = recurrences[0]
    return Recurrence(
        first.kind,
        ops.stack([each.kernel for each in recurrences]),
        None if first.bias is None else ops.stack([each.bias for each in recurrences]),
    )


def input_bias(cell: Any) -> Any:
    """The bias that is added to `x W`, `(gates * units,)`."""
    stacked = isinstance(cell, keras.layers.GRUCell) and cell.reset_after
    bias = _weight(cell, cell.bias)
    return bias[0] if stacked else bias


def advance(weights: Recurrence, gates: Any, state: State) -> State:
    """The next state from the state before it and the input's share of the gates.

    GRU as in A.1.1, with Keras' z, which is one minus the paper's; LSTM as in Hochreiter &
    Schmidhuber 1997 with Gers' forget gate.

    Args:
        weights: The cell's recurrent weights.
        gates: `x W + b`, shape `(..., batch, gates * units)`.
        state: `(h,)` or `(h, c)`, each `(..., batch, units)`.

    Returns:
        The new state, of the same shapes.
    """
    if weights.kind == "lstm":
        h, c = state
        i, f, candidate, o = ops.split(gates + ops.matmul(h, weights.kernel), 4, axis=-1)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(candidate)
        return ops.sigmoid(o) * ops.tanh(c), c

    (h,) = state
    z, r, candidate = ops.split(gates, 3, axis=-1)
    if weights.bias is not None:  # reset_after
        recurrent = ops.matmul(h, weights.kernel) + weights.bias
        recurrent_z, recurrent_r, recurrent_h = ops.split(recurrent, 3, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + r * recurrent_h)
    else:
        units = h.shape[-1]
        kernel_zr, kernel_h = ops.split(weights.kernel, [2 * units], axis=-1)
        recurrent_z, recurrent_r = ops.split(ops.matmul(h, kernel_zr), 2, axis=-1)
        z, r = ops.sigmoid(z + recurrent_z), ops.sigmoid(r + recurrent_r)
        candidate = ops.tanh(candidate + ops.matmul(r * h, kernel_h))
    return (z * h + (1 - z) * candidate,)
