"""A streamed corpus through the command: several files, a sample, resume after a kill."""

import json
import random
import subprocess
import sys

import h5py
import numpy as np
import pytest
from command_line import run_in_shell

RECIPE = """
[data]
folder = "corpus"
train = "part-* more"
validation = ""
sample = 3000
[vocabulary]
source_size = 290
target_size = 290
[model]
embedding_units = 8
encoder_units = 8
decoder_units = 8
attention_units = 8
embedding_dropout = 0.1
[training]
epochs = 3
steps_per_epoch = 30
tokens_per_batch = 1024
bleu_sentences = 5
monitor = "val_loss"
"""
# Kills itself in the middle of the second epoch.
KILLED = """
import os, signal, sys
from keras_attn_nmt import cli
from keras_attn_nmt.training import callbacks

def in_second_epoch(self, number, logs=None):
    if number == 15 and os.path.exists("parts/training.json"):
        os.kill(os.getpid(), signal.SIGKILL)

callbacks.Progress.on_train_batch_end = in_second_epoch
cli.main()
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    generator = random.Random(1)
    words = "ein zwei Haus Garten grün und Männer im Park See am steht".split()  # noqa: SIM905
    (tmp_path / "corpus").mkdir()
    for name, count in (("part-1", 3000), ("part-2", 2500), ("more", 1500)):
        lines = [
            " ".join(generator.choices(words, k=generator.randint(1, 9))) for _ in range(count)
        ]
        for language in ("de", "en"):
            text = "".join(f"{line}\n" for line in lines)
            (tmp_path / "corpus" / f"{name}.{language}").write_text(text, encoding="utf-8")
    (tmp_path / "large.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(directory):
    with h5py.File(directory / "checkpoints" / "epoch_003.weights.h5") as file:
        found = {}
        file.visititems(
            lambda name, each: found.update({name: each[()]} if hasattr(each, "shape") else {})
        )
        return found


@pytest.mark.slow
def test_stream_resumed_after_a_kill_ends_at_the_same_weights(folder):
    code, _, err = run_in_shell(["train", "large.toml", "--output", "whole", "--quiet"], "")
    assert code == 0, err
    assert "7,000 sentence pairs so far" in err
    assert "estimated from a sample of 3,000 pairs" in err
    report = json.loads((folder / "whole" / "training.json").read_text())
    assert report["recipe"]["training"]["steps_per_epoch"] == 30
    part = ["train", "large.toml", "--output", "parts", "--quiet"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *part], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert json.loads((folder / "parts" / "checkpoints" / "state.json").read_text())["epochs"] == 1
    code, _, err = run_in_shell([*part, "--resume"], "")
    assert code == 0, err
    whole, parts = weights(folder / "whole"), weights(folder / "parts")
    assert whole.keys() == parts.keys() and len(whole) > 50
    for name, value in whole.items():
        np.testing.assert_array_equal(value, parts[name], err_msg=name)
