"""FusedAdam equals Adam."""

import subprocess
import sys

import keras
import numpy as np

from keras_attn_nmt import FusedAdam


def trained(optimizer):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Embedding(20, 6), keras.layers.Dense(3)])
    model.compile(optimizer, "mse")
    generator = np.random.default_rng(1)
    inputs, outputs = generator.integers(0, 20, (64, 5)), generator.normal(size=(64, 5, 3))
    model.fit(inputs, outputs, epochs=3, batch_size=16, shuffle=False, verbose=0)
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
