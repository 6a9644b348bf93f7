"""`demo` from beginning to end: training, scores, plots and both exports."""

import json

import pytest
from command_line import run

TINY = ["data.size=3000", "data.validation_size=40", "training.epochs=1", "model.encoder_units=16"]
TINY += ["training.bleu_tokenize=char"]


@pytest.mark.slow
def test_demo_writes_model_plots_and_exports(capfd, monkeypatch, tmp_path):
    arguments = ["demo", "--output", str(tmp_path / "demo"), "--sentence", "zwei"]
    for value in TINY:
        arguments += ["--set", value]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 0, err
    report = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    assert report["exports_agree"]
    assert "tok:char" in report["bleu_signature"]
    assert report["translations"][4]["source"] == "zwei"
    assert (tmp_path / "demo" / "model" / "model.keras").is_file()
    recipe = json.loads((tmp_path / "demo" / "model" / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["training"]["guided_alignment"] == 0.5
    assert recipe["data"]["size"] == 3000
    for number in range(1, 6):
        picture = tmp_path / "demo" / f"attention_{number}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "demo" / "served").iterdir())
    assert list((tmp_path / "demo").glob("*.tflite"))
    # Without npm and a network, the demo has no page and says so.
    assert (tmp_path / "demo" / "web" / "index.html").is_file() != ("no web page" in err)


def test_a_blank_sentence_is_refused(capfd, monkeypatch, tmp_path):
    arguments = ["demo", "--output", str(tmp_path / "demo"), "--sentence", " "]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 1
    assert "The sentence is blank" in err
    assert not (tmp_path / "demo").exists()
