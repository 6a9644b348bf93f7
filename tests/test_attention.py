"""Attention layers: comparison with the oracle, and properties the decoder relies on."""

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
    slow_on_jax_after,
    to_numpy,
)
from layer_weights import Values, attention_params
from reference.attention import SCORES, attend

from keras_attn_nmt.config import CHOICES, UNPROJECTED
from keras_attn_nmt.layers.attention import (
    BahdanauAttention,
    DotAttention,
    LuongAttention,
    make_attention,
)

# The last sentence has no word at all.
MASK = np.array([[True, True, True, True], [True, True, False, False], [False] * 4])


def make(kind: str, **kwargs: Any) -> keras.layers.Layer:
    return make_attention(kind, 6, **kwargs)


def units_of(kind: str) -> int:
    """State size: without projections, that of the annotations."""
    return 3 if kind in UNPROJECTED else 5


def example(rng: np.random.Generator, kind: str = "bahdanau") -> dict[str, np.ndarray]:
    return {
        "state": rng.normal(size=(3, units_of(kind))).astype("float32"),
        "annotations": rng.normal(size=(3, 4, 3)).astype("float32"),
        "mask": MASK,
    }


KINDS = [kind for kind in CHOICES["attention"] if kind != "none"]
every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_norm = pytest.mark.parametrize("norm", [False, True])


def test_every_score_has_a_reference() -> None:
    assert set(SCORES) == set(KINDS)


@every_kind
@with_and_without_norm
def test_matches_the_paper(rng: np.random.Generator, kind: str, norm: bool) -> None:
    inputs = example(rng, kind)
    attention = make(kind, layer_normalization=norm)
    call(attention, inputs)
    randomize(attention, rng)
    contexts, weights = to_numpy(call(attention, inputs))
    params = attention_params(attention, Values())
    for b in range(3):
        context, alpha = attend(kind, params, inputs["state"][b], inputs["annotations"][b], MASK[b])
        np.testing.assert_allclose(contexts[b], context, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(weights[b], alpha, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", slow_on_jax_after(1, KINDS))
@pytest.mark.parametrize("norm", fewer_on_jax([True, False]))
def test_layer(rng: np.random.Generator, tmp_path: Path, kind: str, norm: bool) -> None:
    check_layer(
        lambda dtype: make(kind, layer_normalization=norm, dtype=dtype),
        example(rng, kind),
        tmp_path,
        source_inputs=["annotations"],
        # In a product with the query, it adds a constant to all energies: the softmax cancels it.
        unused=["key_normalization/beta"] if isinstance(make(kind), LuongAttention) else [],
    )


@every_kind
def test_fully_masked_source_gives_zeros(rng: np.random.Generator, kind: str) -> None:
    inputs = example(rng, kind)
    inputs["mask"] = np.zeros_like(MASK)
    attention = make(kind, layer_normalization=True)
    for output in flat(call(attention, inputs)):
        np.testing.assert_array_equal(output, 0)

    def total() -> Any:
        context, weights = call(attention, inputs)
        return keras.ops.sum(context**2) + keras.ops.sum(weights)

    for gradient in gradients(total, attention.trainable_weights)[1]:
        np.testing.assert_array_equal(gradient, 0)


@every_kind
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_weights_are_float32_and_sum_to_1(rng: np.random.Generator, kind: str, policy: str) -> None:
    attention = make(kind, dtype=policy)
    inputs = example(rng, kind)
    # Energies far apart, as at the end of a training, and not representable as softmax in half.
    inputs["annotations"] *= 30
    _, weights = call(attention, inputs)
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    weights = to_numpy(weights)
    np.testing.assert_allclose(weights.sum(-1), [1, 1, 0], atol=1e-6)
    np.testing.assert_array_equal(weights[~MASK], 0)


@every_kind
def test_precomputed_keys_give_equal_results(rng: np.random.Generator, kind: str) -> None:
    inputs = example(rng, kind)
    attention = make(kind, layer_normalization=True)
    expected = call(attention, inputs)
    randomize(attention, rng)
    expected = call(attention, inputs)
    inputs["keys"] = to_numpy(attention.project(inputs["annotations"]))
    assert_same(call(attention, inputs), expected, 1e-6)


@every_kind
@pytest.mark.parametrize("norm", slow_on_jax_after(1, [False, True]))
def test_multiple_queries_per_sentence(rng: np.random.Generator, kind: str, norm: bool) -> None:
    inputs = example(rng, kind)
    states = rng.normal(size=(3, 2, units_of(kind))).astype("float32")
    attention = make(kind, layer_normalization=norm)
    context, weights = attention(states, inputs["annotations"], mask=MASK)
    assert context.shape == (3, 2, 3)
    assert weights.shape == (3, 2, 4)
    for query in range(2):
        single = attention(states[:, query], inputs["annotations"], mask=MASK)
        assert_same((context[:, query], weights[:, query]), single, 1e-6)


def test_dot_is_multiplicative_without_weights(rng: np.random.Generator) -> None:
    inputs = example(rng, "dot")
    dot, general = DotAttention(), LuongAttention()
    expected = call(general, inputs)
    general.set_weights([np.eye(3)])
    expected = call(general, inputs)
    assert_same(call(dot, inputs), expected, 1e-6)
    assert dot.weights == []
    with pytest.raises(ValueError, match=r"equal size, got 5 and 3"):
        DotAttention().build((None, 5), (None, None, 3))


def test_name_without_a_layer_is_rejected() -> None:
    with pytest.raises(ValueError, match="attention='local' has no layer"):
        make("local")


@every_kind
def test_annotations_may_be_a_variable(rng: np.random.Generator, kind: str) -> None:
    inputs = example(rng, kind)
    attention = make(kind)
    expected = call(attention, inputs)
    state, annotations = (keras.Variable(inputs[name]) for name in ("state", "annotations"))
    assert_same(attention(state.value, annotations.value, mask=MASK), expected, 1e-6)


def test_overridden_score_is_used(rng: np.random.Generator) -> None:
    class Zero:
        def score(self, query: Any, keys: Any) -> Any:
            return super().score(query, keys) * 0  # type: ignore[misc]

    class Uniform(Zero, BahdanauAttention):
        pass

    class Direct(BahdanauAttention):
        def score(self, query: Any, keys: Any) -> Any:
            return super().score(query, keys) * 0

    inputs = example(rng)
    for kind in (Direct, Uniform, type("Again", (Uniform,), {})):
        _, weights = call(kind(6), inputs)
        np.testing.assert_allclose(to_numpy(weights)[0], 0.25, atol=1e-6)


def test_query_projection_has_no_bias(rng: np.random.Generator) -> None:
    class Biased(BahdanauAttention):
        def build(self, state_shape: tuple, annotations_shape: tuple, **_: Any) -> None:
            super().build(state_shape, annotations_shape)
            self.query_projection = keras.layers.Dense(6)
            self.query_projection.build(state_shape)

    with pytest.raises(ValueError, match="must have no bias"):
        call(Biased(6), example(rng))


def test_subclass_that_overrides_call_is_refused() -> None:
    class Called:
        def call(self, *_: Any, **__: Any) -> None:
            pass

    with pytest.raises(TypeError, match="Scaled overrides call, which AttentionDecoder"):

        class Scaled(Called, BahdanauAttention):
            pass
