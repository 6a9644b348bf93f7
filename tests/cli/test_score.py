"""The command `score`: given translations in, log-probabilities out."""

import json
import math
import os
import re
import subprocess
import threading

import numpy as np
import pytest
from command_line import PROGRAM, run

from keras_attn_nmt import Translator

SOURCES = ["ein Haus", "", "zwei Häuser", "am See", "ein Haus"]
TARGETS = ["am See", "ein", "zwei  Häuser ", "", "am See"]
TSV = "".join(f"{source}\t{target}\n" for source, target in zip(SOURCES, TARGETS, strict=True))
SCORED = [0, 2, 4]


@pytest.fixture
def score(capfd, monkeypatch, model):
    """Runs the command: exit code, lines of standard output, standard error."""

    def run_score(*arguments, text=TSV):
        code, out, err = run(capfd, monkeypatch, ["score", model, *arguments], text.encode())
        return code, out.splitlines(), err

    return run_score


@pytest.fixture
def expected(model):
    found = Translator.load(model).score(SOURCES, TARGETS)
    return [each if index in SCORED else None for index, each in enumerate(found)]


def test_every_pair_has_a_line(score, expected):
    code, lines, err = score()
    assert code == 0
    assert [line == "" for line in lines] == [each is None for each in expected]
    for index in SCORED:
        assert float(lines[index]) == pytest.approx(expected[index].score, abs=1e-5)
    scores = np.concatenate([expected[index].token_scores for index in SCORED])
    summary = re.search(
        r"5 pairs, 2 without a score .*, (\d+) target tokens, log-probability (\S+), "
        r"perplexity (\S+) per token",
        err,
    )
    assert int(summary[1]) == len(scores)
    assert float(summary[2]) == pytest.approx(scores.sum(), abs=0.01)
    assert float(summary[3]) == pytest.approx(math.exp(-scores.mean()), rel=1e-3)


def test_files_and_chunks_give_the_scores_of_a_stream(score, tmp_path):
    for name, lines in (("s", SOURCES), ("t", TARGETS)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    files = ["--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]
    code, lines, err = score(*files, text="")
    assert (code, lines, err) == score()
    numbers, others = (
        [float(each or 0) for each in row] for row in (lines, score("--batch-size", "1")[1])
    )
    np.testing.assert_allclose(others, numbers, atol=1e-5)
    (tmp_path / "t").write_text("ein\n")
    code, lines, err = score(*files)
    assert (code, lines) == (1, [])
    assert "has 5 lines" in err
    # A pipe cannot be counted before.
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=["ein\n"])
    writer.start()
    code, lines, err = score(*files[:3], str(tmp_path / "pipe"))
    writer.join()
    assert (code, len(lines)) == (1, 1)
    assert "different numbers of lines" in err


def test_tokens_and_json_have_log_probabilities_of_tokens(score, expected):
    code, lines, _ = score("--tokens", "--length-penalty", "0")
    assert code == 0
    assert lines[1] == "\t\t"
    total, tokens, scores = lines[2].split("\t")
    assert tokens.split(" ") == expected[2].target_tokens
    numbers = [float(each) for each in scores.split(" ")]
    np.testing.assert_allclose(numbers, expected[2].token_scores, atol=1e-5)
    assert float(total) == pytest.approx(sum(numbers), abs=1e-4)
    code, lines, _ = score("--json")
    rows = [json.loads(line) for line in lines]
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["translation"] for row in rows] == TARGETS
    assert rows[1] == {"line": 2, "source": "", "translation": "ein", "score": None}
    assert rows[2]["log_probability"] == pytest.approx(float(total), abs=1e-5)
    assert rows[2]["score"] == pytest.approx(expected[2].score, abs=1e-5)
    assert rows[2]["target_tokens"] == expected[2].target_tokens


@pytest.mark.parametrize("side", ["input", "target"])
def test_too_long_sides_follow_the_policy(score, side):
    long = "ein Haus " * 1000
    pair = f"{long}\tam See" if side == "input" else f"am See\t{long}"
    text = f"ein\tein\n{pair}\n\nein\tein\n".replace("\n\n", "\n\t\n")
    code, lines, err = score(text=text)
    assert (code, len(lines)) == (1, 1)
    assert f"Line 2 of the {side} has " in err
    code, lines, _ = score("--too-long", "skip", text=text)
    assert (code, [line == "" for line in lines]) == (0, [False, True, True, False])
    code, lines, _ = score("--too-long", "crop", text=text)
    assert (code, [line == "" for line in lines]) == (0, [False, False, True, False])


def test_lines_before_a_bad_one_are_scored(score):
    for bad, columns in (("ein", 1), ("ein\tein\tein", 3)):
        code, lines, err = score(text=f"ein\tein\n{bad}\n")
        assert (code, len(lines)) == (1, 1)
        assert f"standard input, line 2: expected 'source TAB target', got {columns}" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--source", "y"], "give both --source and --target"),
        (["x.tflite"], "score needs a model directory"),
        (["x", "--json", "--tokens"], "remove --tokens"),
    ],
)
def test_wrong_usage_is_refused(capfd, monkeypatch, arguments, message):
    code, out, err = run(capfd, monkeypatch, ["score", *arguments])
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.slow
def test_scores_are_streamed_through_a_pipe(model):
    with subprocess.Popen(
        [*PROGRAM, "score", model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        lines = []
        for text in ("ein Haus\tam See\n", "am See\tein\n", "ein Haus\tam See\n"):
            process.stdin.write(text.encode())
            lines.append(process.stdout.readline())
        process.stdin.close()
        assert process.wait() == 0
    assert lines[0] == lines[2] != lines[1]
