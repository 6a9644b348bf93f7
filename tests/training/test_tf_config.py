"""The environment variable `TF_CONFIG`: the processes it names, and what is wrong with it."""

import json
from typing import Any

import keras
import pytest

from keras_attn_nmt.cli import main
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.tf_config import connect_workers, read_task

HOSTS = ["a:1", "b:2"]


def task(cluster: Any, kind: str = "worker", index: Any = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_number_of_the_process() -> None:
    assert read_task(task({"worker": HOSTS}, index=1)) == (1, (("a", 1), ("b", 2)))
    both = {"chief": HOSTS[:1], "worker": HOSTS[1:]}
    assert read_task(task(both, "chief")) == (0, (("a", 1), ("b", 2)))
    assert read_task(task(both)).process == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, r"needs the environment variable TF_CONFIG .*or set training\.distribution='none'"),
        ({"TF_CONFIG": "worker 1"}, "does not describe .*expected .* got worker 1"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "'task' is missing"),
        (task({"worker": HOSTS, "ps": HOSTS}), "tasks of type ps have no part in it"),
        (task({"worker": HOSTS}, "evaluator"), "tasks of type evaluator"),
        (task({"worker": HOSTS}, index=2), "the cluster has no worker 2"),
        (task({"worker": HOSTS}, index="0"), "an index is a number"),
        (task({"worker": ["a", "b:2"]}), "must be HOST:PORT"),
        (task({"worker": ["a:1", "a:1"]}), "two tasks have the same address"),
    ],
)
def test_malformed(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_task(environment)


def test_options_that_do_not_combine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    multi_worker = "training.distribution=multi_worker"
    command = ["train", "phrases", "--output", str(tmp_path / "model"), "--set", multi_worker]
    assert main([*command, "--processes", "2", "--process", "0"]) == 2
    assert "do not go with training.distribution=multi_worker" in capsys.readouterr().err
    assert main([*command[:-2], "--wait", "5"]) == 2
    assert "--wait needs other processes to wait for" in capsys.readouterr().err
    for options in (["--processes", "2"], ["--set", "training.devices=2"]):
        assert main([*command[:-2], *options]) == 1
        assert "set KERAS_BACKEND=jax" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"training\.devices=2 is not supported with"):
        load_recipe("phrases", [multi_worker, "training.devices=2"])
    with pytest.raises(ValueError, match=r"cluster=connect_workers\(\)"):
        train(load_recipe("phrases", [multi_worker]), tmp_path / "model")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="needs Keras' TensorFlow backend, and this is jax"):
        connect_workers()
    assert not (tmp_path / "model").exists()
