"""Fast products of tensors and matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops


def apply_2d(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Applies a function of 2-D inputs, `(rows, in)` to `(rows, out)`, along the last axis.

    TensorFlow needs two dozen operations for the shape of a tensor-matrix product, which is slow in
    a loop over positions with few rows.

    Args:
        function: A function of matrices, such as a `Dense` layer.
        tensor: `(..., in)`.

    Returns:
        `(..., out)`.
    """
    leading = tuple(tensor.shape[:-1])
    if len(leading) == 1:
        return function(tensor)
    if leading.count(None) > 1:
        leading = ops.shape(tensor)[:-1]
    else:
        leading = tuple(-1 if size is None else size for size in leading)
    rows = function(ops.reshape(tensor, (-1, tensor.shape[-1])))
    return ops.reshape(rows, (*leading, ops.shape(rows)[-1]))


def matmul_2d(tensor: Any, matrix: Any) -> Any:
    """Matrix product along the last axis: `(..., in)` and `(in, out)` to `(..., out)`."""
    return apply_2d(lambda rows: ops.matmul(rows, matrix), tensor)


def batch_matmul(left: Any, right: Any) -> Any:
    """Batched matrix product.

    A single row of a single sentence, as on a device, is computed as product and sum, because
    XNNPACK repacks the matrix for every batched product.

    Args:
        left: `(batch, rows, in)`.
        right: `(batch, in, out)`.

    Returns:
        `(batch, rows, out)`.
    """
    if tuple(left.shape[:2]) == (1, 1):
        return row_matmul(left, right)
    return ops.matmul(left, right)


def row_matmul(left: Any, right: Any) -> Any:
    """`batch_matmul` of a single row, `(batch, 1, in)`, as product and sum."""
    return ops.sum(ops.swapaxes(left, 1, 2) * right, axis=1, keepdims=True)


def sum_of_products(left: Any, right: Any) -> Any:
    """The sum of `left^T right` over steps: `(steps, batch, m)`, `(steps, batch, n)`: `(m, n)`."""
    left, right = (ops.reshape(each, (-1, each.shape[-1])) for each in (left, right))
    return ops.matmul(ops.transpose(left), right)
