"""Weights and initialisers of recurrent layers, held by Keras' `GRUCell` and `LSTMCell`.

The step functions are in `recurrence.cells`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt.recurrence.cells import CellWeights


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class Orthogonal(keras.initializers.OrthogonalInitializer):
    """Keras' initialiser, drawn in float32: backends have no QR decomposition in half precision."""

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        return ops.cast(super().__call__(shape, "float32"), dtype)


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class BlockOrthogonal(keras.initializers.Initializer):
    """One orthogonal matrix per gate (paper, B.1); Keras uses one for all gates.

    Args:
        seed: Random seed; `None` for a random one.
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        units, width = shape
        # One generator for all blocks, as equal seeds would give equal gates.
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
    """Creates a Keras `GRUCell` or `LSTMCell` that holds the weights.

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
    return {"kernel_initializer": "glorot_uniform", "recurrent_initializer": Orthogonal()}


def recurrent_weights(cell: Any) -> CellWeights:
    """The recurrent weights of a built Keras cell."""
    if isinstance(cell, keras.layers.GRUCell):
        bias = _weight(cell, cell.bias)[1:] if cell.reset_after else None
        return CellWeights("gru", _weight(cell, cell.recurrent_kernel), bias)
    return CellWeights("lstm", _weight(cell, cell.recurrent_kernel))


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
