"""`fit` on two devices equals `fit` on one, also for sentences of unequal length."""

import subprocess
import sys

import keras
import pytest

PROGRAM = """
import keras
import numpy as np
import tensorflow as tf
from keras_attn_nmt import (
    FusedAdam, GuidedAlignment, MaskedCrossentropy, ModelConfig, Perplexity, TokenAccuracy,
    build_model,
)

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
generator = np.random.default_rng(1)
# One replica gets the short sentences, the other one the long ones.
lengths = np.tile([2, 2, 9, 8], 6)
source = np.array([[*generator.integers(4, 20, n), *[0] * (9 - n)] for n in lengths])
target = np.where(source > 0, np.roll(source, 1, axis=1) + 1, 0)
links = np.eye(9)[None] * (generator.random((24, 9, 1)) < 0.6) * (source > 0)[:, None]


def trained(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = build_model(ModelConfig(
            22, 22, 6, encoder_units=5, decoder_units=6, attention_units=4,
        ))
        model.compile(
            # The default would amplify the rounding of gradients near zero.
            FusedAdam(0.01, epsilon=1e-4),
            loss={"logits": MaskedCrossentropy(0.1), "attention": GuidedAlignment()},
            metrics={"logits": [TokenAccuracy(), Perplexity()]},
        )
    history = model.fit(
        {"source": source, "target": target}, {"logits": target, "attention": links},
        batch_size=4, epochs=2, shuffle=False, verbose=0,
    )
    return model.get_weights(), history.history


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
both, figures_of_both = trained(mirrored)
one, figures_of_one = trained(tf.distribute.get_strategy())
print(max(np.abs(a - b).max() for a, b in zip(both, one, strict=True)))
print(max(np.abs(np.subtract(figures_of_both[name], figures_of_one[name])).max()
          for name in ("loss", "logits_token_accuracy", "logits_perplexity")))


def clipped(strategy):
    keras.utils.set_random_seed(1)
    with strategy.scope():
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.compile(FusedAdam(0.01, epsilon=0.1, global_clipnorm=0.1), "mse")
    # Gradients of the two replicas point in different directions.
    x = np.array([[1, 0, 0], [0, 2, 1]], "float32")
    model.fit(x, np.array([[9, 0], [0, 5]]), batch_size=2, epochs=3, shuffle=False, verbose=0)
    return model.get_weights()[0]


both = clipped(mirrored)
print(np.abs(both - clipped(tf.distribute.get_strategy())).max())
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of tf.distribute")
def test_two_devices_equal_one() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights, figures, clipped_weights = map(float, done.stdout.split())
    assert weights < 1e-6
    assert figures < 1e-4
    assert clipped_weights < 1e-6
