"""The decoder against the oracle, as a full sequence and step by step."""

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
    slow_on_jax_after,
    to_numpy,
)
from layer_weights import CELLS, Values, decoder_params
from reference.decoder import decode
from reference.encoder import Encoding

from keras_attn_nmt.config import CHOICES, UNPROJECTED
from keras_attn_nmt.layers.attention import BahdanauAttention
from keras_attn_nmt.layers.decoder import AttentionDecoder

UNITS = 5
MASK = np.array([[True, True, True, True], [True, True, False, False], [False] * 4])


def make(**kwargs: Any) -> AttentionDecoder:
    # Without projections, states need the size of the annotations.
    units = 4 if kwargs.get("attention") in UNPROJECTED else UNITS
    return AttentionDecoder(units, **{"attention_units": 6, "initial_state_units": 2, **kwargs})


def example(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "embedded": rng.normal(size=(3, 3, 3)).astype("float32"),
        "annotations": (rng.normal(size=(3, 4, 4)) * MASK[:, :, None]).astype("float32"),
        "sentence_vector": rng.normal(size=(3, 4)).astype("float32"),
        "mask": MASK,
    }


def built(rng: np.random.Generator, **kwargs: Any) -> AttentionDecoder:
    decoder = make(**kwargs)
    decoder.build((None, None, 3), (None, None, 4), (None, 4))
    randomize(decoder, rng)
    return decoder


every_attention = pytest.mark.parametrize("attention", CHOICES["attention"])
every_cell = pytest.mark.parametrize(("cell", "reset_after"), list(CELLS))


@every_cell
@pytest.mark.parametrize(
    ("attention", "norm", "token"),
    slow_on_jax_after(
        5,
        [
            (attention, *options)
            for options in [(False, False), (True, True), (False, True), (True, False)]
            for attention in CHOICES["attention"]
            if attention != "none" or not any(options)
        ],
    ),
)
def test_matches_the_paper(
    rng: np.random.Generator, cell: str, reset_after: bool, attention: str, norm: bool, token: bool
) -> None:
    inputs = example(rng)
    decoder = built(
        rng,
        cell=cell,
        reset_after=reset_after,
        attention=attention,
        layer_normalization=norm,
        query_previous_token=token,
    )
    results = to_numpy(call(decoder, inputs))
    params = decoder_params(decoder, Values())
    for b in range(3):
        forward, backward = np.split(inputs["sentence_vector"][b], 2)
        encoding = Encoding(inputs["annotations"][b], (forward,), (backward,))
        expected = decode(
            params,
            encoding,
            MASK[b],
            inputs["embedded"][b],
            cell=CELLS[cell, reset_after],
            attention=attention,
        )
        for result, reference in zip(results, expected, strict=True):
            np.testing.assert_allclose(result[b], reference, rtol=1e-5, atol=1e-5)


def test_initial_state_defaults_to_the_whole_vector(rng: np.random.Generator) -> None:
    inputs = example(rng)
    decoder = built(rng, initial_state_units=None)
    params = decoder_params(decoder, Values())
    (state,) = to_numpy(decoder.initial_state(inputs["sentence_vector"]))
    expected = np.tanh(inputs["sentence_vector"] @ params["W_s"].T + params["b_s"])
    np.testing.assert_allclose(state, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "attention", "token"),
    fewer_on_jax(
        [("gru", "bahdanau", True), ("lstm", "luong", False), ("gru", "none", False)], kept=2
    ),
)
def test_layer(
    rng: np.random.Generator, tmp_path: Path, cell: str, attention: str, token: bool
) -> None:
    check_layer(
        lambda dtype: make(cell=cell, attention=attention, query_previous_token=token, dtype=dtype),
        example(rng),
        tmp_path,
        source_inputs=["annotations"],
    )


@pytest.mark.parametrize("attention", slow_on_jax_after(1, CHOICES["attention"]))
def test_fully_masked_source(rng: np.random.Generator, attention: str) -> None:
    inputs = example(rng)
    inputs["mask"] = np.zeros_like(MASK)
    decoder = built(rng, attention=attention)
    *_, contexts, weights = call(decoder, inputs)
    np.testing.assert_array_equal(to_numpy(weights), 0)
    if attention != "none":
        np.testing.assert_array_equal(to_numpy(contexts), 0)

    def total() -> Any:
        return sum(keras.ops.sum(output**2) for output in call(decoder, inputs))

    for gradient in gradients(total, decoder.trainable_weights)[1]:
        assert gradient is None or np.isfinite(gradient).all()


def run_steps(
    decoder: AttentionDecoder, inputs: dict[str, np.ndarray], queries: int | None = None
) -> tuple[list, list]:
    """States and weights by `step`, as search runs it; with `queries` equal hypotheses."""
    memory = decoder.prepare(inputs["annotations"], inputs["sentence_vector"], inputs["mask"])
    state = decoder.initial_state(inputs["sentence_vector"])
    embedded = keras.ops.convert_to_tensor(inputs["embedded"])
    if queries is not None:
        state = tuple(keras.ops.repeat(each[:, None], queries, axis=1) for each in state)
        embedded = keras.ops.repeat(embedded[:, None], queries, axis=1)
    states, weights = [], []
    for i in range(inputs["embedded"].shape[1]):
        gates = decoder.embed_gates(embedded[..., i, :])
        state, attention = decoder.step(gates, state, memory)
        states.append(state[0])
        weights.append(attention)
    return states, weights


@every_attention
@pytest.mark.parametrize(("cell", "token"), slow_on_jax_after(1, [("gru", True), ("lstm", False)]))
def test_stepwise_equals_full_sequence(
    rng: np.random.Generator, cell: str, token: bool, attention: str
) -> None:
    inputs = example(rng)
    decoder = built(
        rng,
        cell=cell,
        attention=attention,
        query_previous_token=token and attention != "none",
        layer_normalization=True,
    )
    states, _, _, weights = call(decoder, inputs)
    steps = run_steps(decoder, inputs)
    assert_same([keras.ops.stack(each, axis=1) for each in steps], [states, weights], 1e-6)

    for each, together in zip(run_steps(decoder, inputs, queries=2), steps, strict=True):
        for beam, single in zip(each, together, strict=True):
            assert beam.shape[1] == 2
            assert_same([beam[:, 0], beam[:, 1]], [single, single], 1e-6)


@pytest.mark.parametrize(
    ("attention", "policy"),
    slow_on_jax_after(
        0, [("bahdanau", "mixed_bfloat16"), ("luong", "mixed_float16"), ("none", "mixed_float16")]
    ),
)
def test_half_precision(rng: np.random.Generator, attention: str, policy: str) -> None:
    inputs = example(rng)
    decoder = built(rng, attention=attention, dtype=policy)
    states, _, _, weights = call(decoder, inputs)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    total = 0 if attention == "none" else 1
    np.testing.assert_allclose(to_numpy(weights).sum(-1)[:2], total, atol=1e-6)
    half = {
        name: keras.ops.cast(value, decoder.compute_dtype) if value.dtype == "float32" else value
        for name, value in inputs.items()
    }
    steps = run_steps(decoder, half)
    assert_same([keras.ops.stack(each, axis=1) for each in steps], [states, weights], 0.05)


@pytest.mark.parametrize("wrong", [{"cell": "rnn"}, {"attention": "local"}])
def test_unknown_option_is_rejected(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"rnn|local"):
        make(**wrong).build((None, None, 3), (None, None, 4), (None, 4))


def test_query_options_require_attention() -> None:
    with pytest.raises(ValueError, match="query_previous_token"):
        make(attention="none", query_previous_token=True)


@slow_on_jax
def test_query_projections_are_initialized_independently() -> None:
    decoder = make(query_previous_token=True, initializer="paper")
    decoder.build((None, None, UNITS), (None, None, 4), (None, 4))
    query, token = decoder.attention.query_projection.kernel, decoder.token_query.kernel
    assert query.shape == token.shape
    assert not np.allclose(to_numpy(query.value), to_numpy(token.value))


def test_outputs_are_finite_for_large_inputs(rng: np.random.Generator) -> None:
    inputs = example(rng)
    decoder = built(rng)
    for name in ("embedded", "annotations", "sentence_vector"):
        inputs[name] = inputs[name] * 1e4
    assert all(np.isfinite(each).all() for each in flat(call(decoder, inputs)))


def test_attention_of_another_dtype_is_rejected() -> None:
    attention = BahdanauAttention(4, dtype="float32")
    decoder = AttentionDecoder(5, attention=attention, dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="computes in float32 and the decoder in bfloat16"):
        decoder.build((None, None, 3), (None, None, 4), (None, 4))
