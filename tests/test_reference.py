"""The oracle against Keras' recurrent layers and hand-computed values."""

import keras
import numpy as np
import pytest
from layer_weights import Values, cell_params
from reference.attention import attend
from reference.cells import gru_step
from reference.encoder import encode_vectors
from reference.losses import crossentropy
from reference.model import repeat_words, reverse_words
from reference.readout import maxout_readout

# JAX computes in float64 only where the whole process is told to.
WIDE, TOLERANCE = ("float64", 1e-12) if keras.backend.backend() != "jax" else ("float32", 1e-6)


@pytest.mark.parametrize("cell", ["gru", "gru_reset_after", "lstm"])
def test_cells_equal_keras(rng: np.random.Generator, cell: str) -> None:
    if cell == "lstm":
        layer = keras.layers.LSTM(4, return_sequences=True, dtype=WIDE)
    else:
        layer = keras.layers.GRU(
            4, return_sequences=True, reset_after=cell == "gru_reset_after", dtype=WIDE
        )
    xs = rng.normal(size=(1, 5, 3))
    layer.build(xs.shape)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    real = np.array([True, True, True, False, False])

    p = {"layers": [{"forward": cell_params(layer.cell, Values())}]}
    encoding = encode_vectors(p, xs[0], real, cell=cell)

    expected = keras.ops.convert_to_numpy(layer(xs, mask=real[None]))[0]
    np.testing.assert_allclose(encoding.annotations[:3], expected[:3], atol=TOLERANCE)
    np.testing.assert_array_equal(encoding.annotations[3:], 0)
    np.testing.assert_allclose(encoding.forward[0], expected[-1], atol=TOLERANCE)


def test_negated_update_gate_matches_the_paper(rng: np.random.Generator) -> None:
    p = {name: rng.normal(size=(2, 2)) for name in ("W", "U", "W_z", "U_z", "W_r", "U_r")}
    x, h = rng.normal(size=2), rng.normal(size=2)

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    z = sigmoid(p["W_z"] @ x + p["U_z"] @ h)
    r = sigmoid(p["W_r"] @ x + p["U_r"] @ h)
    papers = (1 - z) * h + z * np.tanh(p["W"] @ x + p["U"] @ (r * h))

    turned = {**p, "W_z": -p["W_z"], "U_z": -p["U_z"]}
    np.testing.assert_allclose(gru_step(turned, x, (h,))[0], papers, atol=1e-15)


def test_attention_by_hand() -> None:
    p = {"v_a": np.array([1.0]), "W_a": np.zeros((1, 1)), "U_a": np.ones((1, 1))}
    annotations = np.arctanh(np.log([[1.2], [1.5], [1.9]]))
    context, weights = attend(
        "bahdanau", p, np.zeros(1), annotations, np.array([True, True, False])
    )
    np.testing.assert_allclose(weights, [1.2 / 2.7, 1.5 / 2.7, 0])
    np.testing.assert_allclose(context, weights @ annotations)


def test_maxout_by_hand() -> None:
    p = {
        "U_o": np.array([[1.0], [2.0], [3.0], [-4.0]]),
        "V_o": np.zeros((4, 1)),
        "C_o": np.zeros((4, 1)),
        "W_o": np.eye(2),
    }
    s_previous, s = np.array([2.0]), np.array([100.0])
    logits = maxout_readout(p, s_previous, s, np.ones(1), np.ones(1))
    np.testing.assert_array_equal(logits, [4, 6])


def test_loss_by_hand() -> None:
    logits = np.log([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    assert crossentropy(np.array([[1, 0]]), logits) == pytest.approx(np.log(4))
    assert crossentropy(np.array([[1, 2]]), logits) == pytest.approx(-np.log([0.25, 0.8]).mean())
    assert crossentropy(np.array([[1, 0]]), logits, smoothing=0.3) == pytest.approx(
        -0.8 * np.log(0.25) - 0.1 * np.log(0.25) - 0.1 * np.log(0.5)
    )
    assert crossentropy(np.array([[0, 0]]), logits) == 0.0


def test_order_of_words() -> None:
    np.testing.assert_array_equal(reverse_words(np.array([5, 6, 2, 0, 0])), [2, 6, 5, 0, 0])
    np.testing.assert_array_equal(repeat_words(np.array([5, 2, 0])), [5, 2, 5, 2, 0, 0])
    np.testing.assert_array_equal(repeat_words(np.array([0, 0])), [0, 0, 0, 0])
