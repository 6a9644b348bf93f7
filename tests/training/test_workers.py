"""`fit` in two processes equals `fit` in one, also for rows of unequal length and empty rows."""

import json
import os
import socket
import subprocess
import sys

import keras
import pytest

PROGRAM = """
import json, os
import keras
import numpy as np
import tensorflow as tf
from keras_attn_nmt import (
    FusedAdam, GuidedAlignment, MaskedCrossentropy, ModelConfig, Perplexity, build_model,
)
from keras_attn_nmt.training.workers import WorkerModel

process = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
strategy = tf.distribute.MultiWorkerMirroredStrategy()
generator = np.random.default_rng(1)
lengths = np.array([2, 3, 9, 8, 5])
source = np.array([[*generator.integers(4, 20, n), *[0] * (9 - n)] for n in lengths])
target = np.where(source > 0, np.roll(source, 1, axis=1) + 1, 0)
links = np.eye(9)[None] * (generator.random((5, 9, 1)) < 0.6) * (source > 0)[:, None]


def trained(wrap, rows):
    keras.utils.set_random_seed(1)
    model = wrap(build_model(ModelConfig(
        22, 22, 6, encoder_units=5, decoder_units=6, attention_units=4,
    )))
    model.compile(
        # Rounding is not amplified as by a small epsilon.
        FusedAdam(0.01, epsilon=1e-3, global_clipnorm=0.5),
        loss={"logits": MaskedCrossentropy(0.1), "attention": GuidedAlignment()},
        metrics={"logits": [Perplexity()]},
    )
    x, y, a = (tf.constant(rows(each)) for each in (source, target, links))
    batch = {"source": tf.cast(x, tf.int32), "target": tf.cast(y, tf.int32)}
    data = tf.data.Dataset.from_tensors((batch, {"logits": batch["target"], "attention": a}))
    history = model.fit(data.repeat(20), validation_data=data, verbose=0)
    return model.get_weights(), history.history


def shard(rows):
    padded = np.concatenate([rows, np.zeros((1, *rows.shape[1:]), rows.dtype)])
    return padded[3 * process : 3 * process + 3]


one, figures_of_one = trained(lambda model: model, lambda rows: rows)
two, figures_of_two = trained(lambda model: WorkerModel(model, strategy), shard)
print(max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)))
assert figures_of_one.keys() == figures_of_two.keys()
print(max(np.abs(np.subtract(figures_of_one[name], figures_of_two[name])).max()
          for name in figures_of_one))
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of tf.distribute")
def test_two_processes_equal_one() -> None:
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in servers]
    for each in servers:
        each.close()
    started = []
    for index in range(2):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                env={**os.environ, "TF_CONFIG": json.dumps(task)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for each in started:
        output, messages = each.communicate(timeout=300)
        assert each.returncode == 0, messages
        weights, figures = map(float, output.split())
        assert weights < 1e-6
        assert figures < 1e-4
