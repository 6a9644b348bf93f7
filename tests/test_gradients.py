"""Hand-written gradients against automatic differentiation of the steps."""

import re
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import (
    fewer_on_jax,
    gradients,
    randomize,
    slow_on_jax,
    slow_on_jax_after,
)
from layer_weights import CELLS

from keras_attn_nmt.config import CHOICES, UNPROJECTED
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.attention import Attention
from keras_attn_nmt.layers.decoder import AttentionDecoder
from keras_attn_nmt.layers.encoder import BidirectionalEncoder
from keras_attn_nmt.recurrence.cells import cell_step

MASK = np.array([[True, True, True, True], [True, True, False, False], [False] * 4])


class SquaredDistance(Attention):
    """A score without a backward pass: the negative distance of query and key."""

    def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
        self.query_projection = self._projection("query", state_shape, 6)
        self.key_projection = self._projection("key", annotations_shape, 6)

    def score(self, query: Any, keys: Any) -> Any:
        difference = ops.expand_dims(query, 2) - ops.expand_dims(keys, 1)
        return -ops.sum(difference**2, axis=-1)


KINDS = [kind for kind in CHOICES["attention"] if kind != "none"]
every_cell = pytest.mark.parametrize(("cell", "reset_after"), slow_on_jax_after(1, list(CELLS)))


def assert_same_gradients(
    function: Any, one_by_one: Any, variables: list[keras.Variable], rng: np.random.Generator
) -> None:
    """Both functions give structures of tensors; of both, the same random sum is taken."""
    shares: list[np.ndarray] = []

    def total(results: Any) -> Any:
        results = keras.tree.flatten(results)
        if not shares:
            shares.extend(rng.normal(size=each.shape).astype("float32") for each in results)
        return sum(ops.sum(each * share) for each, share in zip(results, shares, strict=True))

    value, found = gradients(lambda: total(function()), variables)
    expected, wanted = gradients(lambda: total(one_by_one()), variables)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for variable, a, b in zip(variables, found, wanted, strict=True):
        if b is None:  # Without attention, the annotations are not read.
            assert a is None
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=variable.path)


def variable(rng: np.random.Generator, *shape: int) -> keras.Variable:
    return keras.Variable(rng.normal(size=shape), dtype="float32")


@every_cell
@pytest.mark.parametrize(
    ("attention", "norm", "token"),
    fewer_on_jax(
        [
            *((kind, True, True) for kind in KINDS),
            *((kind, False, True) for kind in [*KINDS, SquaredDistance()]),
            *((kind, False, False) for kind in [*KINDS, "none"]),
            ("bahdanau", True, False),
        ],
        kept=2,
    ),
)
def test_decoder(
    rng: np.random.Generator,
    cell: str,
    reset_after: bool,
    attention: Any,
    norm: bool,
    token: bool,
) -> None:
    if not isinstance(attention, str):
        attention = attention.from_config(attention.get_config())
    units = 4 if attention in UNPROJECTED else 5
    decoder = AttentionDecoder(
        units,
        query_previous_token=token,
        cell=cell,
        reset_after=reset_after,
        attention=attention,
        attention_units=6,
        layer_normalization=norm,
    )
    decoder.build((None, None, 3), (None, None, 4), (None, 4))
    randomize(decoder, rng)
    inputs = [variable(rng, 3, 3, 3), variable(rng, 3, 4, 4), variable(rng, 3, 4)]

    def one_by_one() -> Any:
        embedded, annotations, vector = (each.value for each in inputs)
        memory = decoder.prepare(annotations, vector, ops.convert_to_tensor(MASK))
        gates, state = decoder.embed_gates(embedded), decoder.initial_state(vector)
        states, previous, looked = [], [], []
        for position in range(3):
            previous.append(state[0])
            state, weights = decoder.step(gates[:, position], state, memory)
            states.append(state[0])
            looked.append(weights)
        states, previous, looked = (ops.stack(each, 1) for each in (states, previous, looked))
        return states, previous, decoder.context(looked, memory), looked

    assert_same_gradients(
        lambda: decoder(*(each.value for each in inputs), mask=MASK),
        one_by_one,
        [*inputs, *decoder.trainable_weights],
        rng,
    )


@every_cell
@pytest.mark.parametrize("training", fewer_on_jax([True, False]))
def test_encoder(rng: np.random.Generator, cell: str, reset_after: bool, training: bool) -> None:
    encoder = BidirectionalEncoder(5, cell=cell, reset_after=reset_after, use_cudnn=False)
    encoder.build((None, None, 3))
    randomize(encoder, rng)
    embedded = variable(rng, 3, 4, 3)

    def one_by_one() -> Any:
        outputs, finals = [], []
        for rnn in encoder.rnns[0]:
            gates = ops.matmul(embedded.value, cells.input_kernel(rnn.cell))
            gates = gates + cells.input_bias(rnn.cell)
            state = tuple(ops.zeros((3, 5)) for _ in range(2 if cell == "lstm" else 1))
            found: list[Any] = [None] * 4
            for position in reversed(range(4)) if rnn.go_backwards else range(4):
                real = MASK[:, position, None]
                new, _ = cell_step(cells.recurrent_weights(rnn.cell), gates[:, position], state)
                state = tuple(ops.where(real, a, b) for a, b in zip(new, state, strict=True))
                found[position] = ops.where(real, state[0], 0)
            outputs.append(ops.stack(found, 1))
            finals.append(state[0])
        return ops.concatenate(outputs, -1), ops.concatenate(finals, -1)

    assert_same_gradients(
        lambda: encoder(embedded + 0.0, mask=ops.convert_to_tensor(MASK), training=training),
        one_by_one,
        [embedded, *encoder.trainable_weights],
        rng,
    )


@slow_on_jax
@pytest.mark.parametrize("attention", fewer_on_jax(["bahdanau", "luong"]))
def test_half_precision_is_close(rng: np.random.Generator, attention: str) -> None:
    inputs = [rng.normal(size=shape) for shape in ((3, 6, 3), (3, 4, 4), (3, 4))]
    found: list = []
    weights: list = []
    for policy in ("float32", "mixed_bfloat16"):
        decoder = AttentionDecoder(
            5, attention=attention, attention_units=6, query_previous_token=True, dtype=policy
        )
        decoder.build((None, None, 3), (None, None, 4), (None, 4))
        weights = weights or [rng.normal(scale=0.4, size=w.shape) for w in decoder.weights]
        decoder.set_weights(weights)
        given = [ops.convert_to_tensor(each, dtype=decoder.compute_dtype) for each in inputs]

        def total(decoder: AttentionDecoder = decoder, given: list = given) -> Any:
            return sum(
                ops.sum(ops.cast(each, "float32") ** 2)
                for each in decoder(*given, mask=ops.convert_to_tensor(MASK))
            )

        found.append(gradients(total, decoder.trainable_weights)[1])
    for single, half in zip(*found, strict=True):
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, single, rtol=0.1, atol=0.05 * np.abs(single).max())


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX shows every tensor's shape")
def test_no_source_by_target_by_units_tensor_is_stored() -> None:
    import jax

    target, source, units = 7, 11, 13
    decoder = AttentionDecoder(5, attention_units=units)
    decoder.build((None, None, 3), (None, None, 4), (None, 4))
    shapes = ((2, target, 3), (2, source, 4), (2, 4))

    def total(*inputs: Any) -> Any:
        return sum(ops.sum(each) for each in decoder(*inputs))

    program = jax.make_jaxpr(jax.grad(total, argnums=(0, 1, 2)))(*map(np.ones, shapes))
    # One position's hidden layer is there, that of all is not, whatever the order of the axes.
    assert f"[2,{source},{units}]" in str(program)
    found = re.findall(r"\[([\d,]+)\]", str(program))
    assert not [
        shape for shape in found if {target, source, units} <= set(map(int, shape.split(",")))
    ]
