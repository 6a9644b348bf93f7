"""The command `back-translate`."""

import json
import shutil

import pytest
from command_line import run

from keras_attn_nmt.model_directory import TRAINING


@pytest.fixture
def reverse(model, tmp_path):
    """A model from English to German that records its languages, and an English text."""
    directory = shutil.copytree(model, tmp_path / "reverse")
    data = {"source_language": "en", "target_language": "de"}
    (directory / TRAINING).write_text(json.dumps({"recipe": {"data": data}}))
    (tmp_path / "mono.en").write_text("ein Haus\n\nam See\n")
    return [str(directory), "--target", str(tmp_path / "mono.en")]


def test_corpus_has_the_languages_of_the_model(capfd, monkeypatch, reverse, tmp_path):
    arguments = ["back-translate", *reverse, "--output", str(tmp_path / "out"), "--max-length", "9"]
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, out) == (0, f"{tmp_path}/out\n")
    assert "lines left out (blank 1" in err
    assert {path.suffix for path in (tmp_path / "out").glob("train.*")} == {".de", ".en"}
    # The same command finds it complete.
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--json"])
    assert code == 0
    settings = json.loads(out)["settings"]
    assert settings["sampling"] == {"temperature": 1.0, "top_k": 10}
    code, _, err = run(capfd, monkeypatch, [*arguments, "--beam-size", "2"])
    assert code == 1
    assert "was written with another sampling" in err


def test_languages_may_be_given(capfd, monkeypatch, model, reverse, tmp_path):
    arguments = ["back-translate", model, *reverse[1:], "--output", str(tmp_path / "out")]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert "give --source-language CODE" in err
    arguments += ["--source-language", "de", "--target-language", "en", "--json", "--top-k", "0"]
    arguments += ["--beam-size", "2"]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert "--beam-size runs a search: remove" in err
    arguments[-3:] = ["--beam-size", "2", "--length-penalty", "0.5", "--max-length", "9"]
    arguments.remove("--top-k")
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    settings = json.loads(out)["settings"]
    assert settings["sampling"] is None
    assert (settings["source_language"], settings["beam_size"]) == ("de", 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--length-penalty", "1"], "it needs --beam-size"),
        (["--max-ratio", "0.5"], "not a number of at least 1"),
    ],
)
def test_wrong_usage_is_refused(capfd, monkeypatch, reverse, tmp_path, arguments, message):
    arguments = ["back-translate", *reverse, "--output", str(tmp_path / "out"), *arguments]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert message in err
