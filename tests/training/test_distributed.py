"""Training in several processes, by the command: the weights of one process, whoever is killed."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

pytestmark = pytest.mark.slow

SETTINGS = {
    "data.corpus": "lines",
    "data.size": 0,
    "data.max_length": 20,
    "vocabulary.source_size": 280,
    "vocabulary.target_size": 280,
    "model.embedding_units": 8,
    "model.encoder_units": 8,
    "model.decoder_units": 12,
    "model.attention_units": 8,
    "model.embedding_dropout": 0.2,
    "training.epochs": 3,
    "training.tokens_per_batch": 300,
    "training.learning_rate": 0.01,
    "training.schedule": "constant",
    "training.bleu_sentences": 8,
    "training.patience": 0,
}
# Where a process kills itself.
KILLS = {
    "while data is read": "trainer.load_training = die",
    "in an epoch": "callbacks.Progress.on_train_batch_end = in_second_epoch",
    "at the end of an epoch": "run_callbacks.InFirstProcess.on_epoch_end = in_second_epoch",
    "writing a checkpoint": "callbacks.Checkpoints.on_epoch_end = half_written",
}
PROGRAM = """
import os, signal, sys
from keras_attn_nmt import cli, writing
from keras_attn_nmt.training import callbacks, run_callbacks, trainer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def in_second_epoch(self, number, logs=None):
    if os.path.exists(os.environ["FIRST_EPOCH"]):
        die()

in_order = callbacks.Checkpoints.on_epoch_end

def half_written(self, epoch, logs=None):
    save = self.save_weights
    self.save_weights = lambda path: (save(path), epoch and die())
    in_order(self, epoch, logs)

if os.environ.get("KILL"):
    exec(os.environ["KILL"])
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(1)
    for split, count in (("train", 100), ("validation", 24), ("test", 20)):
        lines = [" ".join(generator.choice(list("abcde"), 3)) for _ in range(count)]
        (folder / f"{split}.de").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.en").write_text("\n".join(lines).upper() + "\n")
    return folder


@pytest.fixture(scope="module")
def train(corpus, tmp_path_factory):
    """Starts the processes of a training, and waits for them: exit code and messages of each."""
    cache = tmp_path_factory.mktemp("compiled")

    def run(output, processes, *options, kill=None, killed=None):
        with socket.create_server(("127.0.0.1", 0)) as server:
            coordinator = f"127.0.0.1:{server.getsockname()[1]}"
        settings = [f"{name}={value}" for name, value in SETTINGS.items()]
        common = ["train", "phrases", "--output", str(output), "--quiet", *options]
        common += [f"--set=data.folder={corpus}", *(f"--set={each}" for each in settings)]
        if processes > 1:
            common += ["--processes", str(processes), "--coordinator", coordinator]
        started = []
        for number in range(processes):
            environment = {
                **os.environ,
                "KERAS_BACKEND": "jax",
                "JAX_COMPILATION_CACHE_DIR": str(cache),
                "FIRST_EPOCH": str(Path(output, "training.json")),
                "KILL": kill if number == killed else "",
            }
            own = ["--process", str(number)] if processes > 1 else []
            started.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, *common, *own],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        results = []
        for each in started:
            messages, _ = each.communicate(timeout=900)
            results.append((each.returncode, messages))
        return results

    return run


def weights(output):
    """Weights and optimizer of the last epoch."""
    found = {}
    path = max((output / "checkpoints").glob("epoch_*.weights.h5"))
    assert path.name == "epoch_003.weights.h5"
    with h5py.File(path) as file:
        file.visititems(
            lambda name, each: (
                found.update({name: each[()]}) if isinstance(each, h5py.Dataset) else None
            )
        )
    return found


def assert_same(output, expected):
    found = weights(output)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module")
def expected(train, tmp_path_factory):
    """The weights of one process."""
    output = tmp_path_factory.mktemp("one") / "model"
    [(code, messages)] = train(output, 1)
    assert code == 0, messages
    return weights(output)


@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("when", list(KILLS))
def test_the_others_miss_a_killed_process_and_the_run_can_be_resumed(
    train, expected, tmp_path, when, killed
):
    if when == "writing a checkpoint" and killed:
        pytest.skip("process 0 alone writes")
    output = tmp_path / "model"
    start = time.monotonic()
    results = train(output, 2, kill=KILLS[when], killed=killed)
    assert time.monotonic() - start < 600
    assert results[killed][0] == -9, results[killed][1]
    code, messages = results[1 - killed]
    assert code == 1, messages
    last = messages.strip().splitlines()[-1]
    assert last.startswith(f"keras-attn-nmt: error: Process {killed} ("), messages
    assert "--resume" in last
    if when == "while data is read":
        results = train(output, 2)
    else:
        # Resumed by another number of processes, too.
        results = train(output, 1 if killed else 2, "--resume")
    assert [code for code, _ in results] == [0] * len(results), results
    assert_same(output, expected)


def test_one_process_with_two_devices_and_r_drop(train, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "XLA_FLAGS", f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    )
    options = ("--set=training.devices=2", "--set=training.r_drop=0.5")
    [(code, messages)] = train(tmp_path / "model", 1, *options)
    assert code == 0, messages
    [(code, messages)] = train(tmp_path / "more", 1, "--set=training.devices=3")
    assert code == 1
    assert "set training.devices to at most 2" in messages
