"""Runs `keras-attn-nmt train` in processes of its own, for tests."""

import contextlib
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np

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
    "training.epochs": 3,
    "training.tokens_per_batch": 300,
    "training.schedule": "constant",
    "training.monitor": "val_loss",
    "training.bleu_sentences": 8,
    "training.patience": 0,
}
# The masks of R-Drop, and on TensorFlow all of them, depend on the number of processes.
WITHOUT_DROPOUT = {"model.embedding_dropout": 0, "model.readout_dropout": 0}
COMMAND = "import sys; from keras_attn_nmt import cli; sys.exit(cli.main())"


def write_corpus(folder):
    """A small corpus of letters, and the same in capitals."""
    generator = np.random.default_rng(1)
    for split, count in (("train", 100), ("validation", 24), ("test", 20)):
        lines = [" ".join(generator.choice(list("abcde"), 3)) for _ in range(count)]
        (folder / f"{split}.de").write_text("\n".join(lines) + "\n")
        (folder / f"{split}.en").write_text("\n".join(lines).upper() + "\n")
    return folder


def arguments(corpus, output, settings, options=()):
    """The command that trains on a corpus."""
    settings = {**SETTINGS, "data.folder": corpus, **settings}
    command = ["train", "phrases", "--output", str(output), "--quiet", *map(str, options)]
    return command + [f"--set={name}={value}" for name, value in settings.items()]


def free_addresses(count):
    """Addresses of this machine that nothing listens at."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in servers]
    for each in servers:
        each.close()
    return addresses


def tf_config(addresses, index):
    task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
    return json.dumps(task)


def train(
    backend, corpus, output, processes, *options, settings=None, program=COMMAND, environments=()
):
    """Runs the processes of a training: exit code and messages of each.

    Args:
        backend: `"jax"` or `"tensorflow"`.
        corpus: Folder of `write_corpus`.
        output: Model directory.
        processes: Number of processes.
        options: Further options of the command.
        settings: Recipe values.
        program: Python code that runs the command.
        environments: Further environment variables of each process.
    """
    addresses = free_addresses(processes)
    settings = dict(settings or {})
    if processes > 1 and backend == "tensorflow":
        settings["training.distribution"] = "multi_worker"
    command = [sys.executable, "-c", program, *arguments(corpus, output, settings, options)]
    commands = []
    for index in range(processes):
        own = [
            "--processes",
            str(processes),
            "--coordinator",
            addresses[0],
            "--process",
            str(index),
        ]
        environment = {
            "KERAS_BACKEND": backend,
            "TF_CONFIG": tf_config(addresses, index) if backend == "tensorflow" else "",
            **(environments[index] if environments else {}),
        }
        own = own if processes > 1 and backend == "jax" else []
        commands.append((command + own, environment))
    results = run_together(commands)
    for index, (code, out, _) in enumerate(results):
        # Of JAX's collectives, neither: the report of process 0 is all.
        assert len(out.splitlines()) == (index == 0 and not code), out
    return [(code, messages) for code, _, messages in results]


def run_together(commands, timeout=600):
    """Runs commands, each with further environment variables, at the same time.

    All of them are ended if one takes longer than `timeout` seconds.

    Returns:
        Exit code, output and messages of each.
    """
    with contextlib.ExitStack() as stack:
        started = []
        for command, environment in commands:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.callback(process.kill)
            started.append(process)
        # All at once: one that waits for another's messages to be read would not end.
        with ThreadPoolExecutor(len(started)) as readers:
            messages = list(readers.map(lambda each: each.communicate(timeout=timeout), started))
        return [(each.returncode, *said) for each, said in zip(started, messages, strict=True)]


def weights(output, epoch=3):
    """Weights and optimizer of a checkpoint, without the state of dropout."""
    found = {}

    def read(name, each):
        if isinstance(each, h5py.Dataset) and "seed_generator" not in name:
            found[name] = each[()]

    with h5py.File(Path(output, "checkpoints", f"epoch_{epoch:03d}.weights.h5")) as file:
        file.visititems(read)
    return found


def check_equal_weights(output, expected, tolerance=1e-6, epoch=3):
    found = weights(output, epoch)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=tolerance, err_msg=name)
