"""Training on several JAX devices and in several processes ends as on one device."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from training_processes import (
    WITHOUT_DROPOUT,
    arguments,
    check_equal_weights,
    train,
    weights,
    write_corpus,
)

pytestmark = pytest.mark.slow

AVERAGED = {
    "model.embedding_dropout": 0.2,
    "training.ema_momentum": 0.9,
    "training.schedule": "cosine",
    "training.warmup_steps": 4,
    "training.monitor": "val_loss",
}
# R-Drop needs a rate of dropout; this one never drops anything, so that both passes are equal.
ADAPTED = {
    **WITHOUT_DROPOUT,
    "model.embedding_dropout": 1e-9,
    "training.schedule": "plateau",
    "training.warmup_steps": 0,
    "training.plateau_patience": 1,
    # Too small to improve on the loss of the parent.
    "training.learning_rate": 1e-9,
    "training.monitor": "val_loss",
    "training.r_drop": 0.5,
}
WITH_DROPOUT = {**ADAPTED, "model.embedding_dropout": 0.3, "training.epochs": 2}
TWO_DEVICES = {"training.devices": 2}
TWO_CPUS = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_force_host_platform_device_count=2"
}
PROGRAM = """
import json, sys
from keras_attn_nmt import cli
for command in json.loads(sys.argv[1]):
    assert cli.main(command) == 0
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def folder(corpus, tmp_path_factory):
    """Trainings on one and on two devices of a process."""
    folder = tmp_path_factory.mktemp("runs")
    parent = ("--from", folder / "one")
    runs = {
        "one": (AVERAGED, ()),
        "two": (AVERAGED | TWO_DEVICES, ()),
        "adapted": (ADAPTED, parent),
        "adapted by two": (ADAPTED | TWO_DEVICES, parent),
        "r-drop": (WITH_DROPOUT, parent),
        "r-drop of two": (WITH_DROPOUT | TWO_DEVICES, parent),
        "continued": (AVERAGED, (*parent, "--keep-optimizer")),
    }
    commands = [arguments(corpus, folder / name, *each) for name, each in runs.items()]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)],
        env={**os.environ, "KERAS_BACKEND": "jax", **TWO_CPUS},
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    return folder


def check_equal_runs(run, expected, epoch=3):
    check_equal_weights(run, weights(expected, epoch), epoch=epoch)
    histories = [json.loads((each / "training.json").read_text()) for each in (run, expected)]
    for found, wanted in zip(*(each["history"] for each in histories), strict=True):
        for name in wanted.keys() - {"seconds", "tokens_per_second"}:
            assert found[name] == pytest.approx(wanted[name], rel=1e-4), name


def test_two_devices_equal_one_with_dropout_and_averaged_weights(folder):
    check_equal_runs(folder / "two", folder / "one")


def test_two_devices_equal_one_with_a_parent_and_plateau(folder):
    check_equal_runs(folder / "adapted by two", folder / "adapted")
    history = json.loads((folder / "adapted" / "training.json").read_text())["history"]
    assert history[-1]["learning_rate"] < history[0]["learning_rate"]


def test_two_processes_of_two_devices_equal_one_device(corpus, folder, tmp_path):
    results = train(
        "jax",
        corpus,
        tmp_path / "model",
        2,
        "--from",
        folder / "one",
        settings=ADAPTED | TWO_DEVICES,
        environments=[TWO_CPUS] * 2,
    )
    assert [code for code, _ in results] == [0, 0], results
    check_equal_runs(tmp_path / "model", folder / "adapted")


def test_dropout_passes_on_two_devices_have_masks_of_their_own(folder):
    losses = [
        [
            epoch["loss"]
            for epoch in json.loads((folder / name / "training.json").read_text())["history"]
        ]
        for name in ("r-drop", "r-drop of two")
    ]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert losses[0] != losses[1]


def test_two_processes_equal_one_with_a_parent_and_cosine(corpus, folder, tmp_path):
    output = tmp_path / "model"
    options = ("--from", folder / "one", "--keep-optimizer")
    results = train("jax", corpus, output, 2, *options, settings=AVERAGED)
    assert [code for code, _ in results] == [0, 0], results
    check_equal_runs(output, folder / "continued")


def test_masks_of_two_processes_are_those_of_two_devices_also_resumed(corpus, folder, tmp_path):
    output = tmp_path / "model"
    for epochs, option in ((1, ("--from", folder / "one")), (2, ("--resume",))):
        settings = WITH_DROPOUT | {"training.epochs": epochs}
        results = train("jax", corpus, output, 2, *option, settings=settings)
        assert [code for code, _ in results] == [0, 0], results
    check_equal_runs(output, folder / "r-drop of two", epoch=2)
