"""`--ensemble`: several model directories translate together."""

import json
import shutil

import numpy as np
import pytest
from command_line import run

from keras_attn_nmt import Translator, model_directory


@pytest.fixture(scope="module")
def other(model, tmp_path_factory):
    files = model_directory.load_model(model)
    generator = np.random.default_rng(7)
    weights = [generator.normal(size=w.shape) * 0.5 for w in files.model.get_weights()]
    files.model.set_weights(weights)
    directory = tmp_path_factory.mktemp("other") / "model"
    model_directory.save_model(directory, files)
    return str(directory)


def test_models_translate_together(capfd, monkeypatch, model, other, tmp_path):
    text = "ein Haus\nam See\n"
    wanted = Translator.load(model, [other])(text.splitlines(), max_length=9)
    arguments = ["translate", model, "--ensemble", other, "--max-length", "9"]
    code, out, _ = run(capfd, monkeypatch, arguments, text.encode())
    assert (code, out.splitlines()) == (0, [each.text for each in wanted])
    (tmp_path / "s").write_text(text)
    (tmp_path / "r").write_text("".join(f"{each.text}\n" for each in wanted))
    arguments = ["evaluate", model, "--ensemble", other, "--max-length", "9", "--json"]
    arguments += ["--source", str(tmp_path / "s"), "--reference", str(tmp_path / "r")]
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert (code, json.loads(out)["exact_match"]) == (0, 1.0)


def test_wrong_models_are_refused(capfd, monkeypatch, model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "model")
    (copy / "source.spm").write_bytes((copy / "source.spm").read_bytes() + b"\0\0")
    for first, code, message in (
        ("x.tflite", 2, "a .tflite file has one model: remove --ensemble"),
        (model, 1, "source.spm"),
    ):
        arguments = ["translate", first, "--ensemble", str(copy)]
        found = run(capfd, monkeypatch, arguments, b"ein Haus\n")
        assert found[0] == code
        assert message in found[2]
