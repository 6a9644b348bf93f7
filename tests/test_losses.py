"""The loss against the oracle."""

import json
from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import gradients, slow_on_jax, to_numpy
from reference.losses import crossentropy, divergence

from keras_attn_nmt.layers.losses import GuidedAlignment, MaskedCrossentropy, RDropCrossentropy

LABELS = np.array([[3, 5, 2, 0], [2, 0, 0, 0], [0, 0, 0, 0]], "int32")


@pytest.fixture
def logits(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(scale=3, size=(3, 4, 6)).astype("float32")


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_matches_the_paper(logits: np.ndarray, smoothing: float) -> None:
    loss = MaskedCrossentropy(smoothing)(LABELS, logits)
    assert float(loss) == pytest.approx(crossentropy(LABELS, logits, smoothing), rel=1e-5)


def test_loss_is_independent_of_padding(logits: np.ndarray, rng: np.random.Generator) -> None:
    loss = MaskedCrossentropy(0.1)
    expected = float(loss(LABELS, logits))
    labels = np.pad(LABELS, [(0, 2), (0, 3)])
    garbage = rng.normal(scale=100, size=(5, 7, 6)).astype("float32")
    garbage[:3, :4] = logits
    assert float(loss(labels, garbage)) == pytest.approx(expected, rel=1e-6)


def test_gradient(logits: np.ndarray) -> None:
    variable = keras.Variable(logits)

    def loss() -> Any:
        return MaskedCrossentropy(0.1)(LABELS, keras.ops.convert_to_tensor(variable))

    _, (gradient,) = gradients(loss, [variable])
    wide = logits.astype("float64")
    for position in np.ndindex(logits.shape):
        step = np.zeros_like(wide)
        step[position] = 1e-5
        slope = crossentropy(LABELS, wide + step, 0.1) - crossentropy(LABELS, wide - step, 0.1)
        assert gradient[position] == pytest.approx(slope / 2e-5, abs=1e-6)


def test_batch_without_sentences() -> None:
    """As a replica gets it from an incomplete batch."""
    loss = MaskedCrossentropy(0.1)(np.zeros((0, 4), "int32"), np.zeros((0, 4, 6), "float32"))
    assert float(loss) == 0


def test_batch_without_labels(logits: np.ndarray) -> None:
    variable = keras.Variable(logits)

    def loss() -> Any:
        return MaskedCrossentropy(0.1)(np.zeros_like(LABELS), keras.ops.convert_to_tensor(variable))

    value, (gradient,) = gradients(loss, [variable])
    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_are_summed_in_float32(logits: np.ndarray, dtype: str) -> None:
    half = keras.ops.cast(logits, dtype)
    loss = MaskedCrossentropy(0.1)(LABELS, half)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"
    expected = crossentropy(LABELS, to_numpy(half).astype("float64"), 0.1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_large_logits_stay_finite() -> None:
    logits = np.array([[[3e4, -3e4, 0.0, 0.0]]], "float32")
    assert float(MaskedCrossentropy()(np.array([[1]]), logits)) == pytest.approx(6e4)


@pytest.mark.parametrize("shape", [(3,), (3, 4)])
def test_sample_weights(logits: np.ndarray, shape: tuple) -> None:
    weights = np.zeros(shape, "float32")
    weights[1] = 2.0
    loss = MaskedCrossentropy(0.1)(LABELS, logits, sample_weight=weights)
    assert float(loss) == pytest.approx(crossentropy(LABELS[1:2], logits[1:2], 0.1), rel=1e-5)


def test_sample_weights_may_have_either_rank_in_one_compiled_model(logits: np.ndarray) -> None:
    inputs = keras.Input((4, 6))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    model.compile(loss=MaskedCrossentropy(0.1))
    weights = np.array([1.0, 2.0, 3.0], "float32")
    each = np.repeat(weights[:, np.newaxis], 4, axis=1)
    losses = [
        model.evaluate(logits, LABELS, sample_weight=given, verbose=0)
        for given in (weights, each, weights, each)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-6)


@pytest.mark.parametrize("labels", [LABELS[:, :1], LABELS[:1], LABELS[..., np.newaxis], LABELS[0]])
def test_labels_of_another_shape_are_refused(logits: np.ndarray, labels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"Expected labels of shape \(3, 4\), .*, got \("):
        MaskedCrossentropy()(labels, logits)
    with pytest.raises(ValueError, match=r"Expected labels of shape \(3, 4, 6\)"):
        GuidedAlignment()(labels, logits)


def test_losses_take_lists() -> None:
    assert float(MaskedCrossentropy()([[1, 0]], [[[0.0] * 4] * 2])) == pytest.approx(np.log(4))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="shapes are known on JAX")
def test_labels_of_another_shape_that_is_not_known_before_the_call(logits: np.ndarray) -> None:
    import tensorflow as tf

    specs = tf.TensorSpec((None, None), tf.int32), tf.TensorSpec((None, None, 6), tf.float32)
    loss = tf.function(MaskedCrossentropy(), input_signature=specs)
    assert float(loss(LABELS, logits)) == pytest.approx(crossentropy(LABELS, logits, 0.0), rel=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss(LABELS[:, :1], logits)


@pytest.mark.parametrize("ignored", [-1, -100])
def test_negative_labels_are_padding(logits: np.ndarray, ignored: int) -> None:
    labels = np.where(LABELS == 0, ignored, LABELS)
    assert float(MaskedCrossentropy(0.1)(labels, logits)) == float(
        MaskedCrossentropy(0.1)(LABELS, logits)
    )


def test_equal_sample_weights_change_a_sum_and_not_a_mean(logits: np.ndarray) -> None:
    weights = np.full(3, 0.5, "float32")
    for reduction, factor in (("mean_with_sample_weight", 1), ("sum", 0.5)):
        loss = MaskedCrossentropy(reduction=reduction)
        weighted = float(loss(LABELS, logits, sample_weight=weights))
        assert weighted == pytest.approx(factor * float(loss(LABELS, logits)), rel=1e-6)


def test_config_round_trip(logits: np.ndarray) -> None:
    loss = MaskedCrossentropy(0.1, name="nll")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(loss)))
    again = keras.saving.deserialize_keras_object(config)
    assert isinstance(again, MaskedCrossentropy)
    assert again.get_config() == loss.get_config()
    assert float(again(LABELS, logits)) == float(loss(LABELS, logits))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, 2])
def test_smoothing_out_of_range(smoothing: float) -> None:
    with pytest.raises(ValueError, match=str(smoothing)):
        MaskedCrossentropy(smoothing)


def r_drop(logits: np.ndarray) -> float:
    """Of LABELS read twice, smoothing 0.1 and weight 0.5, by the oracle."""
    apart = divergence(LABELS, *np.split(logits, 2))
    return crossentropy(np.tile(LABELS, (2, 1)), logits, 0.1) + 0.5 * apart


@pytest.fixture
def readings(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(scale=3, size=(6, 4, 6)).astype("float32")


def test_r_drop_matches_the_paper(readings: np.ndarray) -> None:
    labels = np.tile(LABELS, (2, 1))
    loss = RDropCrossentropy(0.1, 0.5)
    assert float(loss(labels, readings)) == pytest.approx(r_drop(readings), rel=1e-5)
    same = np.tile(readings[:3], (2, 1, 1))
    assert float(loss(labels, same)) == pytest.approx(
        float(MaskedCrossentropy(0.1)(labels, same)), rel=1e-6
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert float(again(labels, readings)) == float(loss(labels, readings))
    with pytest.raises(ValueError, match=r"-0\.5"):
        RDropCrossentropy(r_drop=-0.5)
    with pytest.raises(ValueError, match="requires an even batch size, got 3"):
        loss(LABELS, readings[:3])
    assert np.isnan(float(loss(labels[[0, 1, 2, 1, 0, 2]], readings)))


def test_gradient_of_r_drop(readings: np.ndarray) -> None:
    variable = keras.Variable(readings)

    def loss() -> Any:
        logits = keras.ops.convert_to_tensor(variable)
        return RDropCrossentropy(0.1, 0.5)(np.tile(LABELS, (2, 1)), logits)

    _, (gradient,) = gradients(loss, [variable])
    wide = readings.astype("float64")
    for position in np.ndindex(readings.shape):
        step = np.zeros_like(wide)
        step[position] = 1e-5
        slope = r_drop(wide + step) - r_drop(wide - step)
        assert gradient[position] == pytest.approx(slope / 2e-5, abs=1e-6)


@slow_on_jax
def test_guided_alignment_is_the_mean_over_aligned_positions(rng: np.random.Generator) -> None:
    attention = rng.dirichlet(np.ones(4), size=(2, 3)).astype("float32")
    gold = np.zeros((2, 3, 4), "float32")
    gold[0, 0, 1] = 1
    gold[1, 2, 2:] = 0.5
    expected = -(np.log(attention[0, 0, 1]) + np.log(attention[1, 2, 2:].sum())) / 2
    loss = GuidedAlignment()
    assert float(loss(gold, attention)) == pytest.approx(expected, rel=1e-4)
    padded = np.pad(gold, [(0, 1), (0, 2), (0, 1)]), np.pad(attention, [(0, 1), (0, 2), (0, 1)])
    assert float(loss(*padded)) == pytest.approx(expected, rel=1e-4)
    assert float(loss(np.zeros_like(gold), attention)) == 0
    unknown = np.where(gold.any(-1, keepdims=True), gold, -1)
    assert float(loss(unknown, attention)) == pytest.approx(expected, rel=1e-4)
    assert np.isfinite(float(loss(gold, np.zeros_like(attention))))
    weighted = float(loss(gold, attention, np.array([1.0, 0.0])))
    assert weighted == pytest.approx(-np.log(attention[0, 0, 1]), rel=1e-4)


def test_reductions_of_keras(logits: np.ndarray) -> None:
    tokens = int((np.asarray(LABELS) != 0).sum())
    mean = float(MaskedCrossentropy()(LABELS, logits))
    total = MaskedCrossentropy(reduction="sum")(LABELS, logits)
    assert float(total) == pytest.approx(mean * tokens, rel=1e-5)
    each = to_numpy(MaskedCrossentropy(reduction=None)(LABELS, logits))
    assert each.shape == np.shape(LABELS)
    assert each.sum() == pytest.approx(mean * tokens, rel=1e-5)


def test_loss_requires_float32() -> None:
    with pytest.raises(ValueError, match="float32 or float64, got bfloat16"):
        MaskedCrossentropy(dtype="bfloat16")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX always uses XLA")
def test_gradient_compiles_with_xla(logits: np.ndarray) -> None:
    import tensorflow as tf

    def gradient(logits: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = MaskedCrossentropy(0.1)(LABELS, logits)
        return tape.gradient(loss, logits)

    compiled = tf.function(gradient, jit_compile=True)(tf.constant(logits))
    np.testing.assert_allclose(compiled, gradient(tf.constant(logits)), atol=1e-6)
