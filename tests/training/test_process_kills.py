"""Training by the command in several processes: whoever is killed, nothing is lost."""

import json
import os
import socket
import subprocess
import sys
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
    # With TensorFlow, each process drops out its own rows.
    "model.embedding_dropout": 0,
    "model.readout_dropout": 0,
    "training.epochs": 3,
    "training.tokens_per_batch": 300,
    "training.schedule": "constant",
    "training.bleu_sentences": 8,
    "training.patience": 0,
}
# Where a process kills itself, in the second epoch.
KILLS = {
    "in an epoch": "callbacks.Progress.on_train_batch_end = in_second_epoch",
    "at the end of an epoch": "run_callbacks.InFirstProcess.on_epoch_end = before_waiting",
    "writing a checkpoint": "callbacks.Checkpoints.on_epoch_end = half_written",
}
PROGRAM = """
import os, signal, sys
from keras_attn_nmt import cli
from keras_attn_nmt.training import callbacks, run_callbacks

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def in_second_epoch(self, number, logs=None):
    if os.path.exists(os.environ["FIRST_EPOCH"]):
        die()

wait = run_callbacks.InFirstProcess.on_epoch_end

def before_waiting(self, epoch, logs=None):
    if epoch:
        die()
    wait(self, epoch, logs)

in_order = callbacks.Checkpoints.on_epoch_end

def half_written(self, epoch, logs=None):
    save = self.save_weights
    self.save_weights = lambda path: (save(path), epoch and die())
    in_order(self, epoch, logs)

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


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def backend(request):
    return request.param


def train(backend, corpus, output, processes, *options, kill="", killed=None):
    """Starts the processes of a training, and waits for them: exit code and messages of each."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in servers]
    for each in servers:
        each.close()
    settings = {**SETTINGS, "data.folder": corpus}
    if processes > 1 and backend == "tensorflow":
        settings["training.distribution"] = "multi_worker"
    command = ["train", "phrases", "--output", str(output), "--quiet", *options]
    command += [f"--set={name}={value}" for name, value in settings.items()]
    started = []
    for index in range(processes):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        own = [
            "--processes",
            str(processes),
            "--coordinator",
            addresses[0],
            "--process",
            str(index),
        ]
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_CONFIG": json.dumps(task) if backend == "tensorflow" else "",
            "FIRST_EPOCH": str(Path(output, "training.json")),
            "KILL": kill if index == killed else "",
        }
        started.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-c", PROGRAM, *command),
                    *(own if processes > 1 and backend == "jax" else []),
                ],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    messages = [each.communicate(timeout=300)[0] for each in started]
    return [(each.returncode, text) for each, text in zip(started, messages, strict=True)]


def weights(output):
    """Weights and optimizer of the last epoch."""
    found = {}

    def read(name, each):
        if isinstance(each, h5py.Dataset):
            found[name] = each[()]

    with h5py.File(output / "checkpoints" / "epoch_003.weights.h5") as file:
        file.visititems(read)
    return found


@pytest.fixture(scope="module")
def expected(backend, corpus, tmp_path_factory):
    """The weights of one process."""
    output = tmp_path_factory.mktemp("one") / "model"
    [(code, messages)] = train(backend, corpus, output, 1)
    assert code == 0, messages
    return weights(output)


@pytest.mark.parametrize(
    ("when", "killed"),
    [
        ("in an epoch", 0),
        ("in an epoch", 1),
        ("at the end of an epoch", 1),
        ("writing a checkpoint", 0),
    ],
)
def test_the_other_misses_a_killed_process_and_the_run_can_be_resumed(
    backend, corpus, expected, tmp_path, when, killed
):
    output = tmp_path / "model"
    results = train(backend, corpus, output, 2, kill=KILLS[when], killed=killed)
    assert results[killed][0] == -9, results[killed][1]
    code, messages = results[1 - killed]
    assert code == 1, messages
    last = messages.strip().splitlines()[-1]
    assert last.startswith(f"keras-attn-nmt: error: Process {killed} ("), messages
    assert "--resume" in last
    # Resumed by another number of processes, too.
    results = train(backend, corpus, output, 1 if killed else 2, "--resume")
    assert [code for code, _ in results] == [0] * len(results), results
    found = weights(output)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if "seed_generator" not in name:
            np.testing.assert_allclose(found[name], value, atol=1e-6, err_msg=name)
