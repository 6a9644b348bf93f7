"""The matrix of a dense layer, for layers that multiply by it themselves."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def kernel_of(layer: keras.layers.Dense) -> Any:
    """The kernel that a dense layer computes with, `(inputs, units)`.

    After `model.quantize`, `layer.kernel` holds integers without their scales.
    """
    if not getattr(layer, "quantization_mode", None):
        return layer.kernel
    rows = layer(ops.eye(layer.input_spec.axes[-1], dtype=layer.compute_dtype))
    return rows if layer.bias is None else rows - ops.cast(layer.bias, rows.dtype)
