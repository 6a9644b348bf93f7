"""Batches of token ids, and functions compiled for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from keras_attn_nmt.text.special_ids import PAD

# On backends that compile for every shape, lengths are rounded up to a multiple of this, and the
# number of rows to a power of two.
LENGTH_STEP = 16
# dtype and shape of token ids, `(batch, length)`.
IDS = "int32", (None, None)

Tensors = TypeVar("Tensors", bound=tuple)


def batches(
    ids: Sequence[Sequence[int]], size: int, kinds: Sequence[bool] | None = None
) -> list[list[int]]:
    """Indices in batches of one kind and of similar length, longest first."""
    kinds = [False] * len(ids) if kinds is None else kinds
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    groups = [[i for i in order if kinds[i] == kind] for kind in (False, True)]
    return [group[start : start + size] for group in groups for start in range(0, len(group), size)]


def pad(rows: Sequence[Sequence[int]], batch_size: int) -> np.ndarray:
    """Padded ids, int32, `(rows, length)`; in few distinct shapes on compiling backends."""
    height, width = len(rows), max(1, *map(len, rows))
    if keras.backend.backend() != "tensorflow":
        height = min(1 << (height - 1).bit_length(), batch_size)
        width = -(-width // LENGTH_STEP) * LENGTH_STEP
    result = np.full((height, width), PAD, "int32")
    for row, ids in zip(result, rows, strict=False):
        row[: len(ids)] = ids
    return result


def pad_rows(array: np.ndarray, rows: int) -> np.ndarray:
    """Appends zeros to the first axis, up to a number of rows."""
    return np.pad(array, [(0, rows - len(array))] + [(0, 0)] * (array.ndim - 1))


def to_numpy(tensors: Tensors) -> Tensors:
    """Converts a named tuple of tensors to one of arrays."""
    return type(tensors)(*(keras.ops.convert_to_numpy(each) for each in tensors))


def compiled(
    function: Callable, variables: Sequence[Any], *arguments: tuple[str, tuple[int | None, ...]]
) -> Callable:
    """Compiles a function with the backend, on TensorFlow for any size of dimensions that are None.

    Args:
        function: Function of tensors.
        variables: The weights whose current values it uses.
        arguments: dtype and shape of each tensor, such as `IDS`.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, dtype) for dtype, shape in arguments]
        return tf.function(function, input_signature=signature, autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        # Weights are an argument, as jit treats closures as constants.
        def stateless(values: list, *inputs: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
                return function(*inputs)

        jitted = jax.jit(stateless)
        return lambda *inputs: jitted([each.value for each in variables], *inputs)
    return function
