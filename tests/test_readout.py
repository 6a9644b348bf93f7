"""Readouts and tied embedding against the oracle."""

from pathlib import Path

import keras
import numpy as np
import pytest
from layer_checks import call, check_layer, randomize, to_numpy
from layer_weights import Values, readout_params
from reference.readout import READOUTS, word_scores

from keras_attn_nmt.layers.readout import MaxoutReadout, TanhReadout, TiedEmbedding

LAYERS = {"maxout": MaxoutReadout, "tanh": TanhReadout}
every_readout = pytest.mark.parametrize("kind", list(LAYERS))


def example(rng: np.random.Generator) -> dict[str, np.ndarray]:
    sizes = {"embedded": 3, "state": 5, "previous_state": 5, "context": 4}
    return {name: rng.normal(size=(2, 3, size)).astype("float32") for name, size in sizes.items()}


@every_readout
@pytest.mark.parametrize("norm", [False, True])
def test_matches_the_paper(rng: np.random.Generator, kind: str, norm: bool) -> None:
    inputs = example(rng)
    readout = LAYERS[kind](4, layer_normalization=norm)
    call(readout, inputs)
    randomize(readout, rng)
    outputs = to_numpy(call(readout, inputs))
    params = readout_params(readout, 5, 3, Values())
    for position in np.ndindex(2, 3):
        e, s, s_previous, c = (value[position] for value in inputs.values())
        expected = READOUTS[kind](params, s_previous, s, e, c)
        np.testing.assert_allclose(outputs[position], expected, rtol=1e-5, atol=1e-5)


@every_readout
@pytest.mark.parametrize("norm", [False, True])
def test_layer(rng: np.random.Generator, tmp_path: Path, kind: str, norm: bool) -> None:
    check_layer(
        lambda dtype: LAYERS[kind](4, layer_normalization=norm, dtype=dtype),
        example(rng),
        tmp_path,
    )


@every_readout
@pytest.mark.parametrize("axes", [(2,), (2, 3), (2, 3, 2)])
def test_accepts_steps_and_beams(rng: np.random.Generator, kind: str, axes: tuple) -> None:
    inputs = [rng.normal(size=(*axes, size)).astype("float32") for size in (3, 5, 5, 4)]
    readout = LAYERS[kind](4)
    together = to_numpy(readout(*inputs))
    assert together.shape == (*axes, 4)
    flattened = readout(*(each.reshape(-1, each.shape[-1]) for each in inputs))
    np.testing.assert_allclose(together.reshape(-1, 4), to_numpy(flattened), atol=1e-6)


def test_maxout_uses_the_previous_state_and_tanh_the_new_one(
    rng: np.random.Generator,
) -> None:
    inputs = example(rng)
    for kind, unread in (("maxout", "state"), ("tanh", "previous_state")):
        readout = LAYERS[kind](4)
        expected = to_numpy(call(readout, inputs))
        np.testing.assert_array_equal(
            to_numpy(call(readout, {**inputs, unread: -inputs[unread]})), expected
        )


def test_tied_embedding_matches_the_paper(rng: np.random.Generator) -> None:
    embedding = TiedEmbedding(7, 3)
    ids = rng.integers(0, 7, size=(2, 4)).astype("int32")
    embedding(ids)
    randomize(embedding, rng)
    E = to_numpy(embedding.embeddings).T
    np.testing.assert_array_equal(to_numpy(embedding(ids))[1, 2], E[:, ids[1, 2]])

    t = rng.normal(size=(2, 3)).astype("float32")
    scores = word_scores({"W_o": E.T, "b_o": to_numpy(embedding.bias)}, t[1])
    logits = to_numpy(embedding(t, reverse=True))
    np.testing.assert_allclose(logits[1], scores, rtol=1e-5, atol=1e-5)
    of_a_copy = to_numpy(embedding(t, reverse=True, kernel=E))
    np.testing.assert_allclose(of_a_copy, logits, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_tied_embedding_layer(rng: np.random.Generator, tmp_path: Path, reverse: bool) -> None:
    if reverse:
        inputs = {"inputs": rng.normal(size=(2, 4, 3)).astype("float32")}
    else:
        inputs = {"inputs": rng.integers(0, 7, size=(2, 4)).astype("int32")}

    def make(dtype: str) -> keras.layers.Layer:
        return Reversed(7, 3, dtype=dtype) if reverse else TiedEmbedding(7, 3, dtype=dtype)

    check_layer(make, inputs, tmp_path, unused=[] if reverse else ["bias"])


@keras.saving.register_keras_serializable(package="tests")
class Reversed(TiedEmbedding):
    """The tied embedding called from features to logits."""

    def call(self, inputs: object) -> object:
        return super().call(inputs, reverse=True)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return super().compute_output_spec(inputs, reverse=True)
