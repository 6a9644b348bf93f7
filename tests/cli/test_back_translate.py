"""The command `back-translate`."""

import gzip
import json
import random
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from command_line import PROGRAM, run

from keras_attn_nmt.run_record import TRAINING


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
        (["--length-penalty", "1"], "--length-penalty is an option of a search: it needs --beam"),
        (["--coverage-penalty", "1"], "--coverage-penalty is an option of a search: it needs"),
        (["--max-ratio", "0.5"], "not a number of at least 1"),
    ],
)
def test_wrong_usage_is_refused(capfd, monkeypatch, reverse, tmp_path, arguments, message):
    arguments = ["back-translate", *reverse, "--output", str(tmp_path / "out"), *arguments]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert message in err


@pytest.mark.slow
def test_documented_commands_run_in_a_chain(tmp_path):
    """A reverse model, a synthetic corpus and a model trained on the mixture, as documented."""
    page = (Path(__file__).parents[2] / "docs" / "back-translation.md").read_text("utf-8")
    commands = re.search(r"## Three commands.*?```\n(.*?)```", page, re.DOTALL)[1].splitlines()
    mixed = re.search(r"```toml\n(# mixed.toml.*?)```", page, re.DOTALL)[1]
    generator = random.Random(1)
    (tmp_path / "corpus").mkdir()
    for split, size in (("train", 400), ("validation", 20), ("mono", 300)):
        pairs = [generator.choices(range(20), k=generator.randint(1, 5)) for _ in range(size)]
        for language, stem in (("de", "wort"), ("en", "word")):
            text = "".join(" ".join(f"{stem}{chr(97 + i)}" for i in each) + "\n" for each in pairs)
            (tmp_path / "corpus" / f"{split}.{language}").write_text(text)
    mono = (tmp_path / "corpus" / "mono.en").read_bytes()
    (tmp_path / "mono.en.gz").write_bytes(gzip.compress(mono))
    small = """
[vocabulary]
source_size = 300
target_size = 300

[model]
embedding_units = 24
encoder_units = 24
decoder_units = 32
attention_units = 24
embedding_dropout = 0.0

[training]
epochs = 20
learning_rate = 5e-3
"""
    (tmp_path / "mixed.toml").write_text(mixed + small)
    data = mixed.split("[[data.mix]]")[0]
    swapped = data.replace('"de"', '"?"').replace('"en"', '"de"').replace('"?"', '"en"')
    (tmp_path / "reverse.toml").write_text(swapped + small)
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "keras-attn-nmt"
        done = subprocess.run(
            [*PROGRAM, *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "synthetic" / "back-translation.json").read_text())
    assert report["pairs"] > 50
    # Samples: a space may come first.
    assert (tmp_path / "synthetic" / "train.de").read_text().lstrip(" ").startswith("wort")
    training = json.loads((tmp_path / "model" / TRAINING).read_text())
    (mix,) = training["recipe"]["data"]["mix"]
    assert mix["folder"] == "synthetic"
