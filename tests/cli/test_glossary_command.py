"""`--glossary`: translations contain the terms, other lines stay as they are."""

import json
import re

import pytest
from command_line import run

TEXT = b"ein Haus\nzwei am See\n\nein Haus am See\n"


@pytest.fixture
def glossary(tmp_path):
    path = tmp_path / "terms.tsv"
    path.write_text("# German\tEnglish\nHaus\tkleine See\nSee\tein\n", encoding="utf-8")
    return str(path)


def test_terms_are_in_the_translations(capfd, monkeypatch, model, glossary):
    options = ["translate", model, "--max-length", "30"]
    _, plain, _ = run(capfd, monkeypatch, options, TEXT)
    code, out, err = run(capfd, monkeypatch, [*options, "--glossary", glossary], TEXT)
    assert code == 0, err
    first, second, blank, both = out.split("\n")[:4]
    assert "leine See" in first  # With a capital at the beginning.
    assert re.search(r"\b[eE]in\b", second)
    assert blank == ""
    assert "leine See" in both
    # Lines without a term.
    untouched = b"zwei kleine\nkleine\n"
    _, plain, _ = run(capfd, monkeypatch, options, untouched)
    assert run(capfd, monkeypatch, [*options, "--glossary", glossary], untouched)[1] == plain


def test_terms_that_look_protected_stay(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "terms.tsv").write_text("Haus\twww.a.de\n", encoding="utf-8")
    options = ["translate", model, "--glossary", str(tmp_path / "terms.tsv"), "--max-length", "40"]
    for protection in (["--protect-defaults"], ["--markup", "--protect", "url"]):
        code, out, err = run(capfd, monkeypatch, [*options, *protection], b"ein Haus\n")
        assert (code, out.lower().count("www.a.de") >= 1) == (0, True), (out, err)


@pytest.mark.slow
def test_lines_whose_terms_are_too_long(capfd, monkeypatch, model, glossary, caplog):
    """The lines before are written; with `--too-long skip` or `crop`, also those after."""
    options = ["translate", model, "--max-length", "12", "--glossary", glossary]
    text = b"ein Haus\n" + b"Haus " * 9 + b"\nam See\n"
    code, out, err = run(capfd, monkeypatch, options, text)
    assert code == 1 and "leine See" in out and out.count("\n") == 1
    reason = r"Line 2 of the input needs \d+ target tokens for the terms .*, the limit is 12"
    assert re.search(f"{reason}: raise --max-length, or use --too-long skip", err)
    for policy in ("skip", "crop"):
        caplog.clear()
        code, out, _ = run(capfd, monkeypatch, [*options, "--too-long", policy], text)
        first, second, third = out.splitlines()
        assert code == 0 and "leine See" in first and second == "" and third
        assert any(re.match(f"{reason}: skipped", each) for each in caplog.messages)


def test_evaluate_counts_the_terms(capfd, monkeypatch, model, glossary, tmp_path):
    (tmp_path / "test.de").write_bytes(TEXT)
    options = ["evaluate", model, "--max-length", "30", "--json", "--glossary", glossary]
    files = ["--source", str(tmp_path / "test.de"), "--reference", str(tmp_path / "test.de")]
    code, out, err = run(capfd, monkeypatch, [*options, *files])
    assert code == 0, err
    assert json.loads(out)["glossary"] == {"met": 4, "terms": 4}


def test_bad_glossaries_are_refused_before_any_work(capfd, monkeypatch, model, tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_text("Haus house\n", encoding="utf-8")
    code, out, err = run(
        capfd, monkeypatch, ["translate", str(tmp_path / "no model"), "--glossary", str(path)], TEXT
    )
    assert (code, out) == (1, "")
    assert "bad.tsv, line 1: expected a source term, a tab and a target term" in err
    for more, message in (
        (["--sample", "1"], "--sample does not search"),
        ([], "has no constrained search"),
    ):
        name = model if more else "model.tflite"
        code, _, err = run(
            capfd, monkeypatch, ["translate", name, "--glossary", str(path), *more], TEXT
        )
        assert code == 2 and message in err


@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_copied_words_and_terms_are_wrong_usage(capfd, monkeypatch, command):
    options = [command, "no_model", "--glossary", "no_terms.tsv", "--copy"]
    code, out, err = run(capfd, monkeypatch, options)
    assert (code, out) == (2, "")
    assert "--copy may replace words of the terms: remove it, or --glossary." in err
