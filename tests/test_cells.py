"""The paper's initialisation (appendix B.1). The steps are checked in the layers that run them."""

import json

import keras
import numpy as np
import pytest
from layer_checks import to_numpy

from keras_attn_nmt.layers.cells import BlockOrthogonal, make_cell


def test_gates_are_orthogonal_and_independent() -> None:
    matrix = to_numpy(BlockOrthogonal(seed=1)((4, 12), "float32"))
    gates = np.split(matrix, 3, axis=1)
    for gate in gates:
        np.testing.assert_allclose(gate @ gate.T, np.eye(4), atol=1e-5)
    assert np.abs(gates[0] - gates[1]).max() > 0.1


def test_seed_and_config() -> None:
    first = BlockOrthogonal(seed=3)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(first)))
    again = keras.saving.deserialize_keras_object(config)
    drawn = to_numpy(first((2, 6), "float32"))
    np.testing.assert_array_equal(to_numpy(again((2, 6), "float32")), drawn)
    assert np.abs(to_numpy(BlockOrthogonal(seed=4)((2, 6), "float32")) - drawn).max() > 0.01


@pytest.mark.parametrize(("kind", "gates"), [("gru", 3), ("lstm", 4)])
def test_paper_cell(kind: str, gates: int) -> None:
    cell = make_cell(kind, 20, reset_after=False, initializer="paper", dtype="float32")
    cell.build((None, 30))
    assert to_numpy(cell.kernel).std() == pytest.approx(0.01, rel=0.1)
    for gate in np.split(to_numpy(cell.recurrent_kernel), gates, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(20), atol=1e-5)


@pytest.mark.parametrize("initializer", ["glorot", "paper"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cells_of_half_precision(dtype: str, initializer: str) -> None:
    cell = make_cell("gru", 8, reset_after=True, initializer=initializer, dtype=dtype)
    cell.build((None, 5))
    kernel = to_numpy(cell.recurrent_kernel).astype("float32")
    gram = kernel @ kernel.T / (3 if initializer == "paper" else 1)
    np.testing.assert_allclose(gram, np.eye(8), atol=0.05)
