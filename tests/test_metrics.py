"""Token accuracy and perplexity against the oracle."""

import json

import keras
import numpy as np
import pytest
from reference.losses import perplexity, token_accuracy

from keras_attn_nmt.layers.losses import MaskedCrossentropy
from keras_attn_nmt.layers.metrics import Perplexity, TokenAccuracy

LABELS = np.array([[3, 5, 2, 0], [2, 4, 0, 0], [1, 2, 3, 4], [0, 0, 0, 0]], "int32")


@pytest.fixture
def logits(rng: np.random.Generator) -> np.ndarray:
    scores = rng.normal(size=(4, 4, 6)).astype("float32")
    hit = rng.random((4, 4)) < 0.5
    scores[hit, LABELS[hit]] = 4.0
    # A model that predicts padding at padding is not right about a word.
    scores[LABELS == 0, 0] = 9.0
    return scores


@pytest.mark.parametrize(
    ("metric", "reference"), [(TokenAccuracy, token_accuracy), (Perplexity, perplexity)]
)
def test_metric_is_over_all_tokens_of_all_batches(
    logits: np.ndarray, metric: type, reference: type
) -> None:
    measured = metric()
    for rows in (slice(0, 1), slice(1, 4)):
        measured.update_state(LABELS[rows], logits[rows])
    assert float(measured.result()) == pytest.approx(reference(LABELS, logits), rel=1e-5)
    measured.reset_state()
    measured.update_state(LABELS[1:2], logits[1:2])
    expected = reference(LABELS[1:2], logits[1:2])
    assert float(measured.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("metric", "reference"), [(TokenAccuracy, token_accuracy), (Perplexity, perplexity)]
)
def test_batches_of_any_width_count_by_their_tokens(
    logits: np.ndarray, metric: type, reference: type
) -> None:
    measured = metric()
    # Rows of two tokens without padding, and one of four among padding.
    measured.update_state(LABELS[1:2, :2], logits[1:2, :2])
    wide = np.pad(LABELS[2:3], [(0, 0), (0, 5)]), np.pad(logits[2:3], [(0, 0), (0, 5), (0, 0)])
    measured.update_state(*wide)
    expected = reference(LABELS[1:3], logits[1:3])
    assert float(measured.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("metric", [TokenAccuracy, Perplexity])
def test_sample_weights_and_config(logits: np.ndarray, metric: type) -> None:
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(metric(name="named"))))
    weighted = keras.saving.deserialize_keras_object(config)
    assert weighted.name == "named"
    weighted.update_state(LABELS, logits, sample_weight=np.array([0, 1, 0, 0], "float32"))
    single = metric()
    single.update_state(LABELS[1:2], logits[1:2])
    assert float(weighted.result()) == pytest.approx(float(single.result()), rel=1e-6)


@pytest.mark.parametrize(("metric", "mode"), [(TokenAccuracy, "max"), (Perplexity, "min")])
def test_callbacks_know_what_is_better(metric: type, mode: str) -> None:
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(4), keras.layers.Reshape((1, 4))]
    )
    model.compile(loss=MaskedCrossentropy(), metrics=[metric()])
    stopping = keras.callbacks.EarlyStopping(monitor=f"val_{metric().name}")
    data = np.ones((2, 1), "float32"), np.array([[1], [2]])
    model.fit(*data, validation_data=data, epochs=2, verbose=0, callbacks=[stopping])
    assert stopping.monitor_op is {"max": keras.ops.greater, "min": keras.ops.less}[mode]
