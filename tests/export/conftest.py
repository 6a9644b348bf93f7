"""A model to export, with two vocabularies and weights from a process that ran on JAX.

Its directory keeps the options of its search, which the exports take over.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import web_browser
from questions import LIMITS, OPTIONS

SAVE = """
import sys
import json
import numpy as np
from keras_attn_nmt.cli.keras_import import import_keras
import_keras()  # Takes half the time of a plain import.
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
files = model_directory.ModelFiles(model, config, german, english, search)
model_directory.save_model(sys.argv[1], files)
"""


# Tests that ask the same SavedModel run in one process, where it is loaded once; likewise those of
# `.tflite` files. All others run wherever there is room, one file in one process.
GROUPS = {
    "served": (
        *(
            "bad_input",
            "client",
            "cpp_loader",
            "faults",
            "saved_model",
            "served_attention",
            "served_constraints",
        ),
        "serving_config",
    ),
    "device": ("browser", "tflite", "tflite_runner"),
}


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    group_of = {f"test_{name}": group for group, names in GROUPS.items() for name in names}
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            name = group_of.get(item.path.stem, item.path.stem)
            item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """Calls a function with a new folder, once for all processes of this run."""

    def make(name, function):
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent  # Each process has its own below.
        folder = root / f"once_{name}"
        with open(root / f"once_{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = root / f"unfinished_{name}"
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                function(unfinished)
                unfinished.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model_directory(made_once):
    def save(folder):
        environment = {**os.environ, "KERAS_BACKEND": "jax"}
        command = [sys.executable, "-c", SAVE, str(folder / "model"), json.dumps(OPTIONS)]
        subprocess.run(command, check=True, env=environment)

    return made_once("model", save) / "model"


@pytest.fixture
def foreign_vocabulary(tmp_path):
    """Learns a vocabulary with SentencePiece's defaults, such as remove_extra_whitespaces."""
    import sentencepiece

    from keras_attn_nmt import Tokenizer

    def learn(**options):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["ein Haus am See"] * 3),
            model_prefix=str(tmp_path / "foreign"),
            vocab_size=40,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
        return Tokenizer.from_sentencepiece(tmp_path / "foreign.model")

    return learn


@pytest.fixture(scope="session")
def translator(model_directory):
    """Traces each search once for all tests of a process."""
    from keras_attn_nmt import Translator

    return Translator.load(model_directory)


@pytest.fixture(scope="session")
def served(model_directory, made_once):
    """A version of the SavedModel; not to be changed."""
    from keras_attn_nmt.export import export_saved_model

    def export(folder):
        export_saved_model(model_directory, folder, constraints=True)

    return made_once("served", export) / "1"


@pytest.fixture
def versions(served, tmp_path):
    """A directory that version 1 is served from."""
    return shutil.copytree(served.parent, tmp_path / "versions")


@pytest.fixture
def writes(served, monkeypatch):
    """What is exported is the known version, damaged by a function."""
    from keras_attn_nmt.export import saved_model

    def write(damage):
        def copy(files, options, unfinished, *_):
            shutil.copytree(served, unfinished, dirs_exist_ok=True)
            damage(unfinished)

        monkeypatch.setattr(saved_model, "_write", copy)

    return write


@pytest.fixture
def expects(monkeypatch):
    """What the `Translator` answers takes long to find out: here it is a blank text's answer, which
    a function may change."""
    from keras_attn_nmt.export import saved_model

    def expect(change=lambda expected: None):
        blank = {"translation": np.array([b""]), "score": np.zeros(1, "float32")}
        expected = {"text": [""], "reference": [""], "translate": blank}
        change(expected)
        monkeypatch.setattr(saved_model, "_expected", lambda *_: expected)

    return expect


@pytest.fixture(scope="session")
def session_model(served):
    """The SavedModel in a Session, as TensorFlow Serving has it."""
    from keras_attn_nmt.export.saved_model_check import SessionModel

    model = SessionModel(served)
    yield model
    model.close()


@pytest.fixture(scope="session")
def known_model(session_model):
    """Makes a model of any version: the loaded one, which is not closed."""
    known = types.SimpleNamespace(
        signatures=session_model.signatures, run=session_model.run, close=lambda: None
    )
    return lambda *_: known


@pytest.fixture
def loaded_already(checked_here, known_model, monkeypatch):
    """The check runs here, and asks the Session of the known version."""
    from keras_attn_nmt.export import saved_model_check

    monkeypatch.setattr(saved_model_check, "SessionModel", known_model)


@pytest.fixture(scope="session")
def double(served, tmp_path_factory):
    """The tests' server with the model `small`, which may be made to fail or given new versions."""
    from serving_double import ServingDouble

    directory = tmp_path_factory.mktemp("double")
    shutil.copytree(served, directory / "1")
    with ServingDouble(directory, "small") as double:
        yield double


@pytest.fixture(scope="session")
def device_file(model_directory, made_once):
    """A `.tflite` file with its vocabularies; read-only."""
    from keras_attn_nmt.export import export_tflite

    def export(folder):
        export_tflite(model_directory, folder / "small.tflite", **LIMITS)

    return made_once("device", export) / "small.tflite"


@pytest.fixture(scope="session")
def int8_file(model_directory, made_once):
    """A quantised `.tflite` file with its vocabularies; read-only."""
    from keras_attn_nmt.export import export_tflite

    def export(folder):
        export_tflite(model_directory, folder / "int8.tflite", quantize="int8", **LIMITS)

    return made_once("int8", export) / "int8.tflite"


@pytest.fixture(scope="session")
def dot_file(model_directory, made_once):
    """A quantised file of a model whose annotations are the keys of its attention; read-only."""
    from keras_attn_nmt import ModelConfig, build_model
    from keras_attn_nmt.export import export_tflite
    from keras_attn_nmt.model_directory import ModelFiles, load_model, save_model

    def export(folder):
        known = load_model(model_directory)
        tokenizers = known.source_tokenizer, known.target_tokenizer
        sizes = (each.vocabulary_size for each in tokenizers)
        units = {"embedding_units": 6, "encoder_units": 5, "decoder_units": 10}
        config = ModelConfig(*sizes, **units, attention="dot", layer_normalization=False)
        model = build_model(config)
        generator = np.random.default_rng(4)
        model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
        save_model(folder / "model", ModelFiles(model, config, *tokenizers, known.search))
        export_tflite(folder / "model", folder / "dot.tflite", quantize="int8", **LIMITS)

    return made_once("dot", export) / "dot.tflite"


@pytest.fixture(scope="session")
def device_file_with_text(model_directory, made_once):
    """A `.tflite` file that takes and gives text; not to be changed."""
    from keras_attn_nmt.export import export_tflite

    def export(folder):
        export_tflite(model_directory, folder / "text.tflite", text=True, **LIMITS)

    return made_once("text", export) / "text.tflite"


@pytest.fixture(scope="module")
def runtime():
    """A folder with the archives of LiteRT.js."""
    from keras_attn_nmt.export import web_runtime

    try:
        web_runtime.runtime_files()
    except OSError as error:
        pytest.skip(str(error))
    return web_runtime.cache_folder()


@pytest.fixture(scope="module")
def exported(model_directory, runtime, made_once):
    """A folder with a float32 model, and a single file with an int8 one and the step-through."""
    from keras_attn_nmt.export import export_web

    def export(folder):
        options = {**web_browser.LIMITS, "examples": web_browser.SENTENCES[:2]}
        export_web(model_directory, folder / "folder", quantize="none", **options)
        export_web(model_directory, folder / "single", single_file=True, steps=True, **options)

    return made_once("web", export)


@pytest.fixture
def open_page(chromium, exported):
    """Opens a page by its shape; fails if it logged anything or sent a request elsewhere."""
    with contextlib.ExitStack() as stack:
        opened = []

        def open_page(shape, folder=None, **options):
            page = stack.enter_context(contextlib.closing(chromium.new_page(**options)))
            address = (exported / "single" / "index.html").as_uri()
            if shape == "folder":
                address = stack.enter_context(web_browser.served(folder or exported / "folder"))
            opened.append(web_browser.WebPage(page, address))
            return opened[-1]

        yield open_page
        assert [problem for page in opened for problem in page.problems] == []


@pytest.fixture
def changed_folder(exported, tmp_path):
    """A copy of the folder with code appended to a script, and URLs without versions."""

    def change(name, code):
        folder = shutil.copytree(exported / "folder", tmp_path / "web")
        with open(folder / name, "a") as script:
            script.write(code)
        for named in ("index.html", "models.json"):
            text = (folder / named).read_text("utf-8")
            (folder / named).write_text(re.sub(r"\?v=\w+", "", text), "utf-8")
        return folder

    return change
