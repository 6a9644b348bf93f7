"""`fit` in two processes equals `fit` in one, also for rows of unequal length and empty rows."""

import sys

import keras
import pytest
from training_processes import (
    WITHOUT_DROPOUT,
    check_equal_weights,
    free_addresses,
    run_together,
    tf_config,
    train,
    weights,
    write_corpus,
)

COSINE = {**WITHOUT_DROPOUT, "training.schedule": "cosine", "training.warmup_steps": 4}
WITH_DROPOUT = {"model.embedding_dropout": 0.3, "training.r_drop": 0.5}

PROGRAM = """
import json, os
import keras
import numpy as np
import tensorflow as tf
from keras_attn_nmt import (
    FusedAdam, GuidedAlignment, MaskedCrossentropy, ModelConfig, Perplexity, RDropCrossentropy,
    build_model,
)
from keras_attn_nmt.training.workers import WorkerModel

process = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
strategy = tf.distribute.MultiWorkerMirroredStrategy()
generator = np.random.default_rng(1)
lengths = np.array([2, 3, 9, 8, 5])
source = np.array([[*generator.integers(4, 20, n), *[0] * (9 - n)] for n in lengths])
target = np.where(source > 0, np.roll(source, 1, axis=1) + 1, 0)
links = np.eye(9)[None] * (generator.random((5, 9, 1)) < 0.6) * (source > 0)[:, None]


def shard(rows):
    padded = np.concatenate([rows, np.zeros((6 - len(rows), *rows.shape[1:]), rows.dtype)])
    return padded[3 * process : 3 * process + 3]


def trained(wrap, rows, policy="float32", passes=1, average=False):
    keras.utils.set_random_seed(1)
    keras.config.set_dtype_policy(policy)
    model = wrap(build_model(ModelConfig(
        22, 22, 6, encoder_units=5, decoder_units=6, attention_units=4,
    )))
    loss = MaskedCrossentropy(0.1) if passes == 1 else RDropCrossentropy(0.1, 0.5)
    # Rounding is not amplified as by a small epsilon.
    optimizer = FusedAdam(
        0.01, epsilon=1e-3, global_clipnorm=0.5, use_ema=average, ema_momentum=0.9
    )
    if policy == "mixed_float16":
        # The initial scale of 32,768 exceeds float16 in one process, but not in each of two: one
        # would omit a step.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024)
    model.compile(
        optimizer,
        loss={"logits": loss, "attention": GuidedAlignment()},
        metrics={"logits": [Perplexity()]},
    )

    def batch_of(start, end):
        x, y, a = (
            tf.constant(np.concatenate([rows(each[start:end])] * passes))
            for each in (source, target, links)
        )
        batch = {"source": tf.cast(x, tf.int32), "target": tf.cast(y, tf.int32)}
        return tf.data.Dataset.from_tensors((batch, {"logits": batch["target"], "attention": a}))

    # The second batch has no row for process 1.
    data = batch_of(0, 5).concatenate(batch_of(0, 2))
    history = model.fit(data.repeat(10), validation_data=data, verbose=0)
    averages = model.optimizer.variables if average else []
    return [*model.get_weights(), *(each.numpy() for each in averages)], history.history


for settings, tolerance in (
    ({}, 1e-6),
    ({"passes": 2, "average": True}, 1e-6),
    # Two sums of halves are rounded otherwise than one.
    ({"policy": "mixed_float16"}, 2e-3),
):
    one, figures_of_one = trained(lambda model: model, lambda rows: rows, **settings)
    two, figures_of_two = trained(lambda model: WorkerModel(model, strategy), shard, **settings)
    off = max(np.abs(a - b).max() for a, b in zip(one, two, strict=True))
    assert off < tolerance, (settings, off)
    assert figures_of_one.keys() == figures_of_two.keys()
    for name, figure in figures_of_one.items():
        np.testing.assert_allclose(
            figures_of_two[name], figure, atol=100 * tolerance, err_msg=f"{settings} {name}"
        )
"""


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of tf.distribute")
def test_two_processes_equal_one() -> None:
    addresses = free_addresses(2)
    command = [sys.executable, "-c", PROGRAM]
    for code, _, messages in run_together(
        [(command, {"TF_CONFIG": tf_config(addresses, index)}) for index in range(2)]
    ):
        assert code == 0, messages


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="of tf.distribute")
def test_a_parent_with_cosine_and_resumed_dropout_passes(tmp_path):
    corpus = write_corpus(tmp_path)

    def run(name, processes, settings, *options):
        results = train(
            "tensorflow", corpus, tmp_path / name, processes, *options, settings=settings
        )
        assert [code for code, _ in results] == [0] * processes, results
        return tmp_path / name

    run("parent", 1, {**WITHOUT_DROPOUT, "training.epochs": 1})
    parent = ("--from", tmp_path / "parent", "--keep-optimizer")
    one, two = (run(f"cosine {count}", count, COSINE, *parent) for count in (1, 2))
    check_equal_weights(two, weights(one))
    # Their masks are not those of one process.
    whole = run("whole", 2, {**WITH_DROPOUT, "training.epochs": 2})
    run("resumed", 2, {**WITH_DROPOUT, "training.epochs": 1})
    resumed = run("resumed", 2, {**WITH_DROPOUT, "training.epochs": 2}, "--resume")
    check_equal_weights(resumed, weights(whole, 2), epoch=2)
