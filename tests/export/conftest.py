"""A model to export, with two vocabularies and weights from a process that ran on JAX.

Its directory keeps the options of its search, which the exports take over.
"""

import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from questions import LIMITS, OPTIONS

SAVE = """
import sys
import json
import numpy as np
from keras_attn_nmt import ModelConfig, Tokenizer, build_model, model_directory
from keras_attn_nmt.decoding.search_options import SearchOptions

german = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)
english = Tokenizer.learn(["a house by the lake", "two little houses by the lake"] * 3, 310)
config = ModelConfig(
    german.vocabulary_size, english.vocabulary_size, embedding_units=6, encoder_units=5,
    decoder_units=7, attention_units=4, query_previous_token=True,
)
model = build_model(config)
# With some other seeds everything is translated to nothing.
generator = np.random.default_rng(4)
model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
search = SearchOptions(**json.loads(sys.argv[2]))
model_directory.save_model(sys.argv[1], ModelFiles(model, config, german, english, search))
"""


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    """These tests run in one process, so that what they ask is exported once."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("export"))


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("export") / "model"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    command = [sys.executable, "-c", SAVE, str(directory), json.dumps(OPTIONS)]
    subprocess.run(command, check=True, env=environment)
    return directory


@pytest.fixture
def checked_here(monkeypatch):
    """The check of a SavedModel runs in this process, which has imported TensorFlow already."""
    from keras_attn_nmt.export import saved_model, saved_model_check

    def run(command, **_):
        problems = saved_model_check.problems(*command[-2:])
        return subprocess.CompletedProcess(command, len(problems), "; ".join(problems), "")

    monkeypatch.setattr(saved_model, "subprocess", types.SimpleNamespace(run=run))


@pytest.fixture(scope="session")
def served(model_directory, tmp_path_factory):
    """A version of the SavedModel; not to be changed."""
    from keras_attn_nmt.export import export_saved_model

    return export_saved_model(model_directory, tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def session_model(served):
    """The SavedModel in a Session, as TensorFlow Serving has it."""
    from keras_attn_nmt.export.saved_model_check import SessionModel

    model = SessionModel(served)
    yield model
    model.close()


@pytest.fixture(scope="session")
def double(served, tmp_path_factory):
    """The tests' server with the model `small`, which may be made to fail or given new versions."""
    from serving_double import ServingDouble

    directory = tmp_path_factory.mktemp("double")
    shutil.copytree(served, directory / "1")
    with ServingDouble(directory, "small") as double:
        yield double


@pytest.fixture(scope="session")
def device_file(model_directory, tmp_path_factory):
    """A `.tflite` file with its vocabularies beside it; not to be changed."""
    from keras_attn_nmt.export import export_tflite

    path = tmp_path_factory.mktemp("device") / "small.tflite"
    return export_tflite(model_directory, path, **LIMITS)


@pytest.fixture(scope="session")
def device_file_with_text(model_directory, tmp_path_factory):
    """A `.tflite` file that takes and gives text; not to be changed."""
    from keras_attn_nmt.export import export_tflite

    path = tmp_path_factory.mktemp("text") / "text.tflite"
    return export_tflite(model_directory, path, text=True, **LIMITS)
