"""N-best lists and samples of `translate`."""

import json
import re

import pytest
from command_line import run

from keras_attn_nmt import Translator
from keras_attn_nmt.results import moses_line, one_line

TEXT = "ein Haus\n\nzwei Häuser\nam See\nein Haus\n".encode()
SAMPLE = ["--sample", "0.9", "--top-k", "20", "--max-length", "9"]


def test_moses_format_has_all_hypotheses_with_log_probabilities(capfd, monkeypatch, model):
    arguments = ["translate", model, "--n-best", "2", "--beam-size", "3", "--max-length", "9"]
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--format", "moses"], TEXT)
    assert code == 0
    rows = [line.split(" ||| ") for line in out.splitlines()]
    # A blank line has one, empty translation.
    assert [row[0] for row in rows] == list("001223344")
    _, json_out, _ = run(capfd, monkeypatch, [*arguments, "--json"], TEXT)
    found = [json.loads(line) for line in json_out.splitlines()]
    for row, expected in zip(rows, found, strict=True):
        assert len(row) == 4
        assert (int(row[0]), row[1]) == (expected["line"] - 1, expected["translation"])
        scores = expected["token_scores"]
        features = re.fullmatch(r"LogProb= (-?\d+\.\d{6}) Tokens= (\d+)", row[2])
        assert float(features[1]) == pytest.approx(sum(scores), abs=1e-4)
        assert int(features[2]) == len(scores)
        assert float(row[3]) == pytest.approx(expected["score"], abs=2e-6)


def test_the_limit_that_cut_a_translation_is_named(capfd, caplog, monkeypatch, model):
    arguments = ["translate", model, "--beam-size", "1", "--max-length", "300", "--json"]
    _, out, _ = run(capfd, monkeypatch, arguments, b"ein Haus am See\n")
    found = json.loads(out)
    assert not found["complete"]
    assert len(found["target_tokens"]) == 3 * len(found["source_tokens"]) + 20
    assert "in any case 3 x source tokens + 20" in caplog.text


def test_diverse_hypotheses(capfd, monkeypatch, model):
    arguments = ["translate", model, "--n-best", "4", "--beam-size", "4", "--max-length", "9"]
    arguments += ["--diversity-penalty", "1"]
    code, out, _ = run(capfd, monkeypatch, arguments, b"ein Haus\n")
    options = {"beam_size": 4, "max_length": 9}
    (found,) = Translator.load(model).nbest(["ein Haus"], diversity_penalty=1, **options)
    (plain,) = Translator.load(model).nbest(["ein Haus"], **options)
    assert code == 0
    assert out.splitlines() == [each.text for each in found] != [each.text for each in plain]
    arguments = ["translate", model, "--beam-size", "1", "--diversity-penalty", "1"]
    code, out, err = run(capfd, monkeypatch, arguments, b"ein Haus\n")
    assert (code, out) == (1, "")
    assert "diversity_penalty=1 needs a beam_size from 2 to 100, got 1" in err


def test_separators_in_a_text_are_escaped_in_moses_format(model):
    (found,) = Translator.load(model).score(["ein"], ["a ||| b||||\n|c"])
    _, text, *rest = moses_line(0, found).split(" ||| ")
    assert text == "a &#124;&#124;&#124; b&#124;&#124;&#124;| |c"
    assert len(rest) == 2


def test_samples_are_reproducible(capfd, monkeypatch, model):
    def sampled(*arguments, text=TEXT):
        code, out, err = run(capfd, monkeypatch, ["translate", model, *SAMPLE, *arguments], text)
        assert code == 0, err
        return out.splitlines()

    lines = sampled("--seed", "3")
    assert len(lines) == 5
    assert lines[1] == ""
    assert lines[0] != lines[4]
    # Also in other chunks; the first two of three samples are those of a run for two.
    assert sampled("--seed", "3", "--batch-size", "1") == lines
    assert sampled() == sampled("--seed", "0") != lines
    many = sampled("--seed", "3", "--n-best", "3")
    assert many[::3] == lines
    rows = [json.loads(line) for line in sampled("--seed", "3", "--n-best", "2", "--json")]
    assert [row["rank"] for row in rows if row["line"] == 1] == [1, 2]
    texts = [one_line(row["translation"]) for row in rows if row["source"]]
    assert texts[:2] == many[:2]
    assert rows[0]["attention"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-k", "3"], "--top-k needs --sample"),
        (["--seed", "0"], "--seed needs --sample"),
        (["--sample", "1", "--beam-size", "1"], "either --sample or --beam-size"),
        (["--sample", "0"], "not a number above 0"),
        (["--sample", "1", "--seed", "-1"], "not a whole number of at least 0"),
        (["--format", "moses", "--json"], "remove --format"),
    ],
)
def test_conflicting_options_are_refused(capfd, monkeypatch, model, arguments, message):
    code, out, err = run(capfd, monkeypatch, ["translate", model, *arguments])
    assert (code, out) == (2, "")
    assert message in err
