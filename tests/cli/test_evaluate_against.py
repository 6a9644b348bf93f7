"""`evaluate --against`: the translations of a second system."""

import json
import re

import pytest
from command_line import run


@pytest.fixture
def evaluate(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "s").write_text("ein Haus\nzwei\nam See\n")
    (tmp_path / "r").write_text("a house\ntwo\nat the lake\n")
    arguments = ["evaluate", model, "--source", str(tmp_path / "s")]
    arguments += ["--reference", str(tmp_path / "r"), "--max-length", "5"]
    return lambda *more: run(capfd, monkeypatch, [*arguments, *map(str, more)])


def test_second_system_is_compared(evaluate, tmp_path):
    output, other = tmp_path / "own", tmp_path / "other"
    assert evaluate("--output", output)[0] == 0
    code, out, _ = evaluate("--against", output, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["against"]["translations"] == str(output)
    assert (found["against"]["seed"], found["against"]["samples"]) == (12345, 1000)
    for name in ("bleu", "bleu_lowercase", "chrf"):
        assert found["against"][name]["p_value"] == 1.0
        assert found["against"][name]["score"] == found[name]["score"]
    other.write_text("a house\nthree\nat the lake\n")
    code, out, err = evaluate("--against", other, "--seed", "7")
    assert (code, err) == (0, "")
    assert "paired bootstrap, 1000 samples, seed 7" in out
    assert re.search(r"chrf +\d+\.\d\d ± .* against +\d+\.\d\d ± .*: -\d+\.\d\d, p = 0\.\d{4}", out)


def test_a_file_that_does_not_fit_is_refused_before_translating(evaluate, tmp_path):
    (tmp_path / "other").write_text("a house\n")
    code, out, err = evaluate("--against", tmp_path / "other", "--output", tmp_path / "own")
    assert (code, out) == (1, "")
    assert "has 1 lines, but the test set has 3 sentences" in err
    assert not (tmp_path / "own").exists()
    code, _, err = evaluate("--seed", "7")
    assert code == 2
    assert "--seed is of the resampling for --against" in err
