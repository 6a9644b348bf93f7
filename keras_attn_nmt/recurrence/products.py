"""Products of tensors and matrices, in forms that run fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops


def apply_2d(function: Callable[[Any], Any], tensor: Any) -> Any:
    """Applies a function of matrices, `(rows, in)` to `(rows, out)`, along a tensor's last axis.

    TensorFlow takes two dozen operations to find the shape of a product of a tensor and a matrix:
    in a loop over positions, with few rows, these took time that could be measured.

    Args:
        function: What is done with rows, such as a `Dense` layer.
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
    """Product of a tensor and a matrix: `(..., in)` and `(in, out)` to `(..., out)`."""
    return apply_2d(lambda rows: ops.matmul(rows, matrix), tensor)


def batch_matmul(left: Any, right: Any) -> Any:
    """Product of the matrices of each sentence.

    The one row of a single sentence, which is what a device has, is multiplied and summed up: for
    a batch of products, XNNPACK lays out the matrix anew each time.

    Args:
        left: `(batch, rows, in)`.
        right: `(batch, in, out)`.

    Returns:
        `(batch, rows, out)`.
    """
    if tuple(left.shape[:2]) == (1, 1):
        return ops.sum(ops.swapaxes(left, 1, 2) * right, axis=1, keepdims=True)
    return ops.matmul(left, right)


def sum_of_products(left: Any, right: Any) -> Any:
    """The sum of `left^T right` over steps: `(steps, batch, m)`, `(steps, batch, n)`: `(m, n)`."""
    left, right = (ops.reshape(each, (-1, each.shape[-1])) for each in (left, right))
    return ops.matmul(ops.transpose(left), right)
