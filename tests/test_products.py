"""Functions of matrices, applied along the last axis of tensors."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import to_numpy

from keras_attn_nmt.recurrence.products import apply_2d, batch_matmul

KERNEL = np.arange(12, dtype="float32").reshape(3, 4)


def product(tensor):
    return apply_2d(lambda rows: ops.matmul(rows, KERNEL), tensor)


@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (2, 1, 5, 3), (0, 5, 3)])
def test_matmul_2d_is_along_the_last_axis(rng: np.random.Generator, shape: tuple) -> None:
    tensor = rng.normal(size=shape).astype("float32")
    np.testing.assert_allclose(
        to_numpy(product(ops.convert_to_tensor(tensor))), tensor @ KERNEL, rtol=1e-5
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX knows every size")
@pytest.mark.parametrize("known", [(None, 5, 3), (None, None, 3), (2, None, None, 3)])
def test_unknown_sizes(rng: np.random.Generator, known: tuple) -> None:
    import tensorflow as tf

    tensor = rng.normal(size=(2, 5, 3) if len(known) == 3 else (2, 5, 1, 3)).astype("float32")
    function = tf.function(product, input_signature=[tf.TensorSpec(known)])
    np.testing.assert_allclose(to_numpy(function(tensor)), tensor @ KERNEL, rtol=1e-5)


@pytest.mark.parametrize(("batch", "rows"), [(1, 1), (1, 2), (2, 1), (2, 3)])
def test_batch_matmul_per_sentence(rng: np.random.Generator, batch: int, rows: int) -> None:
    left = rng.normal(size=(batch, rows, 3)).astype("float32")
    right = rng.normal(size=(batch, 3, 4)).astype("float32")
    found = batch_matmul(ops.convert_to_tensor(left), ops.convert_to_tensor(right))
    np.testing.assert_allclose(to_numpy(found), left @ right, rtol=1e-5, atol=1e-6)
