"""Lines above the maximum source length."""

import json

import pytest
from command_line import run

LONG = "ein Haus " * 1000
BLANK = "\u3000" * 400  # 1,200 bytes, which are tokens
LINES = ["ein Haus", LONG, "am See", "日本" * 400, "zwei"]


@pytest.fixture
def command(capfd, monkeypatch, model, caplog):
    """Runs a command on LINES: exit code, lines of standard output, standard error, warnings."""

    def run_command(name, *arguments):
        text = "".join(f"{line}\n" for line in LINES).encode()
        caplog.clear()
        code, out, err = run(capfd, monkeypatch, [name, model, *arguments], text)
        warnings = [each for each in caplog.messages if each.startswith("Line ")]
        return code, out.splitlines(), err, warnings

    return run_command


@pytest.mark.parametrize("name", ["translate", "embeddings"])
def test_lines_before_a_too_long_one_are_written(command, name):
    code, out, err, _ = command(name)
    assert (code, len(out)) == (1, 1)
    assert "error: Line 2 of the input has " in err
    assert "the limit is 1000: split it" in err
    assert command(name, "--too-long", "stop")[:3] == (code, out, err)


@pytest.mark.parametrize("name", ["translate", "embeddings"])
def test_skipped_lines_equal_empty_lines(command, name):
    code, out, _, warnings = command(name, "--too-long", "skip")
    assert (code, len(out)) == (0, 5)
    empty = "" if name == "translate" else "\t".join(["0.0"] * 10)
    assert [line == empty for line in out] == [False, True, False, True, False]
    assert [each.split(" of ")[0] for each in warnings] == ["Line 2", "Line 4"]
    assert all(each.endswith("the limit is 1000: skipped") for each in warnings)


def test_skipped_lines_have_n_best_translations(command):
    options = ["--too-long", "skip", "--n-best", "2", "--beam-size", "2", "--max-length", "5"]
    code, out, *_ = command("translate", *options)
    assert (code, len(out)) == (0, 10)


def test_the_first_tokens_of_cropped_lines_are_translated(command):
    options = ["--too-long", "crop", "--json", "--beam-size", "1", "--max-length", "5"]
    code, out, _, warnings = command("translate", *options)
    assert code == 0
    rows = [json.loads(line) for line in out]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["source"] for row in rows] == LINES
    # A character in bytes is not cut in two.
    assert 997 < len(rows[3]["source_tokens"]) <= len(rows[1]["source_tokens"]) == 1000
    begun = "".join(rows[1]["source_tokens"][:-1]).replace("▁", " ").lstrip()
    assert LONG.startswith(begun)
    assert [each.split(" of ")[0] for each in warnings] == ["Line 2", "Line 4"]
    assert command("embeddings", "--too-long", "crop")[0] == 0


def test_blank_line_is_never_too_long(capfd, monkeypatch, model):
    text = f"ein\n{BLANK}\n".encode()
    code, out, err = run(capfd, monkeypatch, ["translate", model, "--max-length", "5"], text)
    assert (code, out.count("\n"), out[-2:]) == (0, 2, "\n\n"), err


def test_pairs_before_a_too_long_one_are_aligned(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "s").write_text("ein Haus\n" * 3 + LONG + "\n")
    (tmp_path / "t").write_text("ein\nein\n" + LONG + "\nein\n")
    arguments = ["align", model, "--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, len(out.splitlines())) == (1, 2)
    assert "Line 3 of the target has" in err
