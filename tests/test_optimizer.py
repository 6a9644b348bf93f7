"""FusedAdam equals Adam, and clips embeddings as Adadelta does here."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_attn_nmt import FusedAdam
from keras_attn_nmt.layers.optimizer import ClippedAdadelta


def trained(optimizer):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Embedding(20, 6), keras.layers.Dense(3)])
    model.build((None, 5))
    model.compile(optimizer, "mse")
    # Else the step is traced once to make the optimizer's variables, and once more.
    model.optimizer.build(model.trainable_variables)
    generator = np.random.default_rng(1)
    inputs, outputs = generator.integers(0, 20, (64, 5)), generator.normal(size=(64, 5, 3))
    inputs, outputs = np.tile(inputs, (3, 1)), np.tile(outputs, (3, 1, 1))
    model.fit(inputs, outputs, batch_size=16, shuffle=False, verbose=0)
    return model


def test_fused_adam_equals_adam(tmp_path):
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 20)
    fused = trained(FusedAdam(schedule, global_clipnorm=0.5))
    plain = trained(keras.optimizers.Adam(schedule, global_clipnorm=0.5))
    for got, wanted in zip(fused.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
    for got, wanted in zip(fused.optimizer.variables, plain.optimizer.variables, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), atol=1e-5)
    fused.save(tmp_path / "model.keras")
    # In a process that knows nothing but the package, and trains on.
    program = """
import sys, keras, keras_attn_nmt, numpy
model = keras.saving.load_model(sys.argv[1])
assert type(model.optimizer).__name__ == "FusedAdam", model.optimizer
model.fit(numpy.zeros((4, 5)), numpy.zeros((4, 5, 3)), verbose=0)
print(int(model.optimizer.iterations))
"""
    command = [sys.executable, "-c", program, str(tmp_path / "model.keras")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{int(fused.optimizer.iterations) + 1}\n"


@pytest.mark.parametrize("clip", [0.01, None])
@pytest.mark.parametrize(
    "optimizer", [FusedAdam, functools.partial(FusedAdam, amsgrad=True), ClippedAdadelta]
)
def test_a_repeated_id_counts_once(optimizer, clip):
    """The gradient of an embedding is that of the whole table, as of one-hot vectors."""
    ids = np.array([[1, 1, 1, 2]])
    table = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")

    def gradients(layer, inputs):
        model = keras.Sequential([layer])
        model.build(inputs.shape)
        model.set_weights([table])
        model.compile(optimizer(global_clipnorm=clip), "mse")
        model.fit(inputs, np.zeros((1, 4, 3)), verbose=0)
        if optimizer is not ClippedAdadelta:
            return np.sqrt(np.array(model.optimizer._velocities[0]) / 0.001)
        return np.sqrt(np.array(model.optimizer._accumulated_grads[0]) / 0.05)

    dense = gradients(keras.layers.Dense(3, use_bias=False), np.eye(4)[ids])
    if clip:
        np.testing.assert_allclose(np.linalg.norm(dense), clip, rtol=1e-4)
    np.testing.assert_allclose(
        gradients(keras.layers.Embedding(4, 3), ids), dense, rtol=1e-4, atol=1e-7
    )
