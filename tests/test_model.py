"""The teacher-forced model: comparison with the oracle, gradients and typical use."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import (
    assert_same,
    call,
    fewer_on_jax,
    gradients,
    randomize,
    slow_on_jax,
    slow_on_jax_after,
    to_numpy,
)
from layer_weights import Values, model_options, model_params
from reference.losses import crossentropy
from reference.model import teacher_forced

from keras_attn_nmt import ModelConfig, build_model
from keras_attn_nmt.layers.losses import MaskedCrossentropy
from keras_attn_nmt.model import SourceOrder

# A sentence, a shorter one, and one without any word; likewise targets.
SOURCE = np.array([[4, 7, 5, 2], [6, 2, 0, 0], [0, 0, 0, 0]], "int32")
TARGET = np.array([[1, 5, 4], [1, 6, 0], [1, 0, 0]], "int32")
LABELS = np.array([[5, 4, 2], [6, 2, 0], [2, 0, 0]], "int32")
BATCH = {"source": SOURCE, "target": TARGET}

PAPER = {
    "reset_after": False,
    "readout": "maxout",
    "tie_target_embeddings": False,
    "layer_normalization": False,
    "initializer": "paper",
}
NO_ATTENTION = {"attention": "none", "layer_normalization": False}
OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": PAPER,
    "lstm": {"cell": "lstm"},
    "two layers": {"encoder_layers": 2, "layer_normalization": False},
    "one direction": {"bidirectional": False, "cell": "lstm"},
    "luong": {"attention": "luong"},
    "asked with the previous token": {"query_previous_token": True},
    "luong, no normalization": {"attention": "luong", "layer_normalization": False},
    "maxout, normalized": {"readout": "maxout", "tie_target_embeddings": False},
    "untied": {"tie_target_embeddings": False},
    "no attention": {"attention": "none"},
    "no attention, one direction": {**NO_ATTENTION, "bidirectional": False},
    "no attention, reversed": {**NO_ATTENTION, "source_order": "reversed"},
    "no attention, twice, lstm": {**NO_ATTENTION, "source_order": "twice", "cell": "lstm"},
    "paper without attention": {**PAPER, "attention": "none"},
}
every_option = pytest.mark.parametrize("name", slow_on_jax_after(3, list(OPTIONS)))
some_options = pytest.mark.parametrize(
    "name", slow_on_jax_after(1, ["default", "paper", "lstm", "luong", "no attention, twice, lstm"])
)


def config(**options: Any) -> ModelConfig:
    return ModelConfig(
        **{
            "source_vocabulary_size": 9,
            "target_vocabulary_size": 8,
            "embedding_units": 3,
            "encoder_units": 2,
            "decoder_units": 4,
            "attention_units": 5,
            "readout_units": 3,
            **options,
        }
    )


@functools.cache
def made(name: str, policy: str = "float32") -> keras.Model:
    """A model of OPTIONS[name] with random weights. Tests share it and leave it as it is."""
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = build_model(config(**OPTIONS[name]))
    finally:
        keras.config.set_dtype_policy(previous)
    randomize(model, np.random.default_rng(0), scale=0.5)
    return model


@every_option
def test_matches_the_paper(name: str) -> None:
    outputs = to_numpy(call(made(name), BATCH))
    chosen = config(**OPTIONS[name])
    logits, weights = teacher_forced(
        model_params(made(name), chosen, Values()), SOURCE, TARGET, **model_options(chosen)
    )
    np.testing.assert_allclose(outputs["logits"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outputs["attention"], weights, rtol=1e-5, atol=1e-5)


@some_options
def test_gradient_by_finite_differences(name: str) -> None:
    """By differences of the oracle in float64; three entries of every weight."""
    # JAX computes in float64 only where the whole process is told to.
    model = made(name, "float64" if keras.backend.backend() == "tensorflow" else "float32")
    chosen = config(**OPTIONS[name])
    values = Values()
    params = model_params(model, chosen, values)

    def loss() -> Any:
        return MaskedCrossentropy(0.1)(LABELS, call(model, BATCH)["logits"])

    def reference() -> float:
        logits, _ = teacher_forced(params, SOURCE, TARGET, **model_options(chosen))
        return crossentropy(LABELS, logits, smoothing=0.1)

    value, found = gradients(loss, model.trainable_weights)
    assert value == pytest.approx(reference(), rel=1e-5)
    for weight, gradient in zip(model.trainable_weights, found, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        entries = values(weight)
        # Where the gradient is large, and so shows most.
        for index in np.argsort(-np.abs(gradient), axis=None)[:3]:
            position = np.unravel_index(index, gradient.shape)
            before = entries[position]
            entries[position] = before + 1e-5
            above = reference()
            entries[position] = before - 1e-5
            below = reference()
            entries[position] = before
            slope = (above - below) / 2e-5
            assert gradient[position] == pytest.approx(slope, rel=1e-4, abs=1e-6), weight.path


@some_options
def test_results_are_independent_of_batch_composition(name: str) -> None:
    outputs = to_numpy(call(made(name), BATCH))
    single = to_numpy(call(made(name), {"source": SOURCE[1:2, :2], "target": TARGET[1:2, :2]}))
    np.testing.assert_allclose(single["logits"][0], outputs["logits"][1, :2], atol=2e-6)
    np.testing.assert_allclose(single["attention"][0], outputs["attention"][1, :2, :2], atol=1e-6)


@some_options
def test_results_are_independent_of_padding(name: str) -> None:
    outputs = to_numpy(call(made(name), BATCH))
    more = {
        "source": np.pad(SOURCE, [(0, 0), (0, 3)]),
        "target": np.pad(TARGET, [(0, 0), (0, 2)]),
    }
    padded = to_numpy(call(made(name), more))
    np.testing.assert_allclose(padded["logits"][:, :3], outputs["logits"], atol=2e-6)
    np.testing.assert_allclose(padded["attention"][:, :3, :4], outputs["attention"], atol=1e-6)
    np.testing.assert_array_equal(padded["attention"][:, :, 4:], 0)


def test_source_order() -> None:
    source = np.array([[5, 6, 2, 0], [2, 0, 0, 0], [0, 0, 0, 0], [7, 6, 5, 2]], "int32")
    expected = {
        "forward": source,
        "reversed": [[2, 6, 5, 0], [2, 0, 0, 0], [0, 0, 0, 0], [2, 5, 6, 7]],
        "twice": [
            [5, 6, 2, 5, 6, 2, 0, 0],
            [2, 2, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [7, 6, 5, 2, 7, 6, 5, 2],
        ],
    }
    for order, result in expected.items():
        ordered = SourceOrder(order)(source)
        assert keras.backend.standardize_dtype(ordered.dtype) == "int32"
        np.testing.assert_array_equal(to_numpy(ordered), result)


@every_option
def test_saves_and_loads(tmp_path: Path, name: str) -> None:
    model = made(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for weight, again in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(again), to_numpy(weight), err_msg=weight.path)
    assert_same(call(loaded, BATCH), call(model, BATCH), 0)


@slow_on_jax
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy: str) -> None:
    half = made("default", policy)
    assert {weight.dtype for weight in half.weights} == {"float32"}
    outputs = call(half, BATCH)
    for output in outputs.values():
        assert keras.backend.standardize_dtype(output.dtype) == "float32"
    np.testing.assert_allclose(
        to_numpy(outputs["attention"]).sum(-1), [[1] * 3, [1] * 3, [0] * 3], atol=1e-6
    )
    assert_same(outputs, call(made("default"), BATCH), 0.06)


@slow_on_jax
@pytest.mark.parametrize(
    "rate",
    fewer_on_jax(["embedding_dropout", "annotation_dropout", "readout_dropout", "word_dropout"]),
)
def test_dropout_is_active_only_in_training(rate: str) -> None:
    plain = made("default")
    expected = to_numpy(call(plain, BATCH))["logits"]
    model = build_model(config(**{rate: 0.5}))
    for weight, value in zip(model.trainable_weights, plain.trainable_weights, strict=True):
        weight.assign(value)
    np.testing.assert_allclose(to_numpy(call(model, BATCH))["logits"], expected, atol=1e-6)
    trained = to_numpy(model(BATCH, training=True))["logits"]
    assert np.abs(trained - expected).max() > 0.01


RATES = {name: 0.5 for name in ("embedding_dropout", "annotation_dropout", "readout_dropout")}


@pytest.mark.parametrize(
    ("settings", "layers", "constant_over"),
    [
        ({"word_dropout": 0.5}, 2, 2),
        # Of source and target embeddings, between encoder layers, of annotations, of the readout.
        ({"dropout_per_sentence": True, "encoder_layers": 2, **RATES}, 5, 1),
    ],
)
def test_dropout_of_words_and_of_units(
    settings: dict[str, Any], layers: int, constant_over: int
) -> None:
    model = build_model(config(**settings))
    found = [
        each
        for each in (*model.layers, *model.get_layer("encoder").dropouts)
        if isinstance(each, keras.layers.Dropout) and each.rate
    ]
    assert len(found) == layers
    for layer in found:
        kept = to_numpy(layer(np.ones((8, 5, 6), "float32"), training=True)) > 0
        assert 0 < kept.mean() < 1
        for axis in (0, 1, 2):
            same = (kept == np.take(kept, [0], axis)).all()
            assert same == (axis == constant_over), axis


@slow_on_jax
def test_paper_initialization() -> None:
    keras.utils.set_random_seed(0)
    sizes = {name: 40 for name in ("embedding_units", "encoder_units", "decoder_units")}
    model = build_model(config(**{**PAPER, **sizes, "attention_units": 40, "readout_units": 40}))
    seen = {weight.path: to_numpy(weight) for weight in model.trainable_weights}
    for path, value in seen.items():
        kind = path.split("/")[-1]
        if kind in ("bias", "score_vector"):
            np.testing.assert_array_equal(value, 0, err_msg=path)
        elif kind == "recurrent_kernel":
            for gate in np.split(value, 3, axis=1):
                np.testing.assert_allclose(gate @ gate.T, np.eye(40), atol=1e-5, err_msg=path)
        else:
            deviation = 0.001 if "attention" in path else 0.01
            assert value.std() == pytest.approx(deviation, rel=0.15), path
            assert value.mean() == pytest.approx(0, abs=deviation / 5), path


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="every call is compiled on JAX")
@pytest.mark.parametrize("name", ["paper", "no attention, twice, lstm"])
def test_compiled_equals_eager(name: str) -> None:
    model = made(name)
    assert_same(model.predict(BATCH, verbose=0), model(BATCH))
    shorter = {"source": SOURCE[:2, :3], "target": TARGET[:2, :2]}
    assert_same(model.predict(shorter, verbose=0), model(shorter))


# Run where TensorFlow cannot be imported: it loads what this process saved, and trains.
ON_JAX = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "tensorflow_text", "tensorflow_datasets"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import keras_attn_nmt

assert "keras" not in sys.modules, "importing the package has to be quick"
import json
import keras
import numpy as np
from keras_attn_nmt import MaskedCrossentropy, ModelConfig, TokenAccuracy, build_model

folder = sys.argv[1]
assert keras.backend.backend() == "jax"
model = build_model(ModelConfig.from_json(open(f"{folder}/config.json").read()))
model.load_weights(f"{folder}/model.keras")
batch = dict(np.load(f"{folder}/batch.npz"))
labels = batch.pop("labels")
np.savez(f"{folder}/outputs.npz", **model.predict(batch, verbose=0))
model.compile(
    "adam", loss={"logits": MaskedCrossentropy(0.1)}, metrics={"logits": [TokenAccuracy()]}
)
history = model.fit(batch, {"logits": labels}, epochs=3, verbose=0).history
print(json.dumps(history["loss"]))
assert "tensorflow" not in sys.modules
"""


@pytest.mark.slow
@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="compares with TensorFlow: run it there"
)
def test_jax_without_tensorflow(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    model = made("default")
    model.save(tmp_path / "model.keras")
    (tmp_path / "config.json").write_text(config().to_json(), encoding="utf-8")
    np.savez(tmp_path / "batch.npz", labels=LABELS, source=SOURCE, target=TARGET)
    finished = subprocess.run(
        [sys.executable, "-c", ON_JAX, str(tmp_path)],
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    outputs = np.load(tmp_path / "outputs.npz")
    for name, expected in to_numpy(call(model, BATCH)).items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-5)
    losses = json.loads(finished.stdout)
    assert losses[2] < losses[0]


@slow_on_jax
def test_weights_are_initialized_independently() -> None:
    for initializer in ("glorot", "paper"):
        model = build_model(
            ModelConfig(
                20,
                20,
                embedding_units=6,
                encoder_units=4,
                decoder_units=8,
                attention_units=8,
                tie_target_embeddings=False,
                initializer=initializer,
            )
        )
        drawn = [w for w in (to_numpy(each) for each in model.trainable_weights) if w.std() > 0]
        starts = [tuple(np.sign(weight.ravel()[:24])) for weight in drawn]
        assert len(set(starts)) == len(starts)
