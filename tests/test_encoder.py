"""The encoder against the oracle."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import (
    assert_same,
    call,
    check_layer,
    fewer_on_jax,
    flat,
    gradients,
    randomize,
    slow_on_jax,
    to_numpy,
)
from layer_weights import CELLS, Values, encoder_params
from reference.decoder import sentence_vector
from reference.encoder import encode_vectors

from keras_attn_nmt.layers.encoder import BidirectionalEncoder

MASK = np.array([[True, True, True, True], [True, True, False, False], [False] * 4])


def example(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"embedded": rng.normal(size=(3, 4, 3)).astype("float32"), "mask": MASK}


every_cell = pytest.mark.parametrize(("cell", "reset_after"), list(CELLS))


@every_cell
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize(
    "kernel", ["loop", "keras"] if keras.backend.backend() == "tensorflow" else ["loop"]
)
def test_matches_the_paper(
    rng: np.random.Generator,
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    reset_after: bool,
    bidirectional: bool,
    num_layers: int,
    kernel: str,
) -> None:
    # Without a GPU the way to cuDNN still runs, on Keras' own kernels.
    monkeypatch.setattr(BidirectionalEncoder, "runs_on_cudnn", lambda self: kernel == "keras")
    inputs = example(rng)
    encoder = BidirectionalEncoder(
        2, num_layers, cell=cell, reset_after=reset_after, bidirectional=bidirectional
    )
    encoder.build(inputs["embedded"].shape)
    randomize(encoder, rng)
    annotations, vectors = to_numpy(call(encoder, inputs))
    params = encoder_params(encoder, Values())
    for b in range(3):
        encoding = encode_vectors(
            params, inputs["embedded"][b], MASK[b], cell=CELLS[cell, reset_after]
        )
        np.testing.assert_allclose(annotations[b], encoding.annotations, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(vectors[b], sentence_vector(encoding), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("cell", "reset_after"), fewer_on_jax(list(CELLS)))
def test_layer(rng: np.random.Generator, tmp_path: Path, cell: str, reset_after: bool) -> None:
    check_layer(
        lambda dtype: BidirectionalEncoder(
            2, 2, cell=cell, reset_after=reset_after, dropout=0.5, dtype=dtype
        ),
        example(rng),
        tmp_path,
        source_inputs=["embedded"],
    )


@every_cell
def test_empty_sentence_gives_zeros(rng: np.random.Generator, cell: str, reset_after: bool) -> None:
    inputs = example(rng)
    inputs["mask"] = np.zeros_like(MASK)
    encoder = BidirectionalEncoder(2, cell=cell, reset_after=reset_after)
    for output in flat(call(encoder, inputs)):
        np.testing.assert_array_equal(output, 0)

    def total() -> Any:
        return sum(keras.ops.sum(output**2) for output in call(encoder, inputs))

    for gradient in gradients(total, encoder.trainable_weights)[1]:
        np.testing.assert_array_equal(gradient, 0)


@slow_on_jax
def test_dropout_is_between_layers_and_only_in_training(rng: np.random.Generator) -> None:
    inputs = example(rng)
    one, two = BidirectionalEncoder(2, 1, dropout=0.5), BidirectionalEncoder(2, 2, dropout=0.5)
    assert_same(one(**inputs, training=True), call(one, inputs), 0)
    assert_same(two(**inputs, training=False), call(two, inputs), 0)
    assert np.abs(flat(two(**inputs, training=True))[0] - flat(call(two, inputs))[0]).max() > 0.01


def test_unknown_cell_is_rejected() -> None:
    with pytest.raises(ValueError, match="rnn"):
        BidirectionalEncoder(2, cell="rnn").build((None, None, 3))


@pytest.mark.parametrize("value", [True, "never", None])
def test_unknown_values_of_use_cudnn_are_refused(value):
    with pytest.raises(ValueError, match="use_cudnn must be 'auto' or False"):
        BidirectionalEncoder(4, use_cudnn=value)
