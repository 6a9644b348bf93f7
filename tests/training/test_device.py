"""The versions that a training and `doctor` report."""

import importlib.metadata

import keras
import tensorflow as tf

from keras_attn_nmt.training.device import versions


def test_versions_of_nightly_builds_are_known(monkeypatch):
    """Their packages have other names. Processes with other versions may not train together."""
    packages = {"keras-nightly": "1", "tf-nightly": "2", "tensorflow-text-nightly": "2.22.0.dev1"}

    def version(name):
        if name not in packages:
            raise importlib.metadata.PackageNotFoundError(name)
        return packages[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = versions()
    assert found["keras"] == keras.__version__
    assert found["tensorflow"] == tf.__version__
    assert found["tensorflow-text"] == "2.22.0.dev1"
    assert found["sacrebleu"] == "not installed"
