"""`tune`: search options chosen on validation data and stored with the model."""

import json
import shutil

import pytest
from command_line import run

from keras_attn_nmt import Translator
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.model_directory import read_config
from keras_attn_nmt.training.tuning import Trial, best_trial, tune_search


@pytest.fixture
def directory(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


def test_the_best_options_are_stored_and_used(capfd, monkeypatch, directory, tmp_path):
    sources = ["ein Haus", "zwei", "am See"]
    # Beams of 1 and 3 differ, and those of 3 are the references.
    wanted = Translator.load(directory)(sources, beam_size=3, length_penalty=0.0, max_length=200)
    (tmp_path / "s").write_text("".join(f"{each}\n" for each in sources))
    (tmp_path / "r").write_text("".join(f"{each.text}\n" for each in wanted))
    arguments = ["tune", str(directory), "--source", str(tmp_path / "s"), "--metric", "chrf"]
    arguments += ["--reference", str(tmp_path / "r"), "--beam-sizes", "1", "3"]
    arguments += ["--length-penalties", "0", "--coverage-penalties", "0", "0.1"]
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--json", "--dry-run"])
    found = json.loads(out)
    assert code == 0
    assert [each["beam_size"] for each in found["trials"]] == [5, 1, 3, 3]
    assert found["chosen"]["beam_size"] == 3
    assert found["chosen"]["score"] == max(each["score"] for each in found["trials"])
    assert read_config(directory)[2] == SearchOptions()

    code, out, err = run(capfd, monkeypatch, arguments)
    assert code == 0
    assert "beam size 3, length penalty 0, maximum length 200" in out.splitlines()[-1]
    assert "translate, evaluate and exports use it by default" in err
    assert read_config(directory)[2] == SearchOptions(3, 0.0)
    code, out, err = run(capfd, monkeypatch, ["translate", str(directory)], b"ein Haus\n")
    assert (code, out) == (0, f"{wanted[0].text}\n")
    assert "beam size 3, length penalty 0, maximum length 200 (stored with the model)" in err
    given = ["--beam-size", "3", "--max-length", "9"]
    _, _, err = run(capfd, monkeypatch, ["translate", str(directory), *given], b"ein Haus\n")
    assert "maximum length 9 (what was not given is stored with the model)" in err
    given = ["--beam-size", "3", "--length-penalty", "0"]
    code, out, err = run(capfd, monkeypatch, ["translate", str(directory), *given], b"ein Haus\n")
    assert (code, out, err) == (0, f"{wanted[0].text}\n", "")


def test_trials_keep_the_current_options_where_nothing_is_better():
    current = SearchOptions(4, 0.7, 50, 0.3)
    scores = {(5, 1.0, 0.0): 2.0, (5, 1.0, 0.4): 3.0, (4, 0.7, 0.3): 3.0}

    def measure(options):
        key = (options.beam_size, options.length_penalty, options.coverage_penalty)
        assert options.max_length == 50
        return scores.get(key, 1.0)

    trials = list(
        tune_search(
            measure,
            current,
            beam_sizes=[5, 8],
            length_penalties=[0.5, 1],
            coverage_penalties=[0.0, 0.4],
        )
    )
    assert best_trial(trials) == Trial(current, 3.0)
    assert len(trials) == len({trial.options for trial in trials}) == 6
    assert trials[-1].options == SearchOptions(5, 1.0, 50, 0.4)
    with pytest.raises(ValueError, match="coverage_penalty must be a finite number"):
        next(tune_search(measure, current, coverage_penalties=[-1.0]))


def test_beams_of_1_keep_the_length_penalty_and_have_no_others():
    current = SearchOptions(length_penalty=0.7, diversity_penalty=0.5)
    trials = tune_search(
        lambda options: -options.beam_size,
        current,
        beam_sizes=[1, 3],
        length_penalties=[0.0, 1.0],
        coverage_penalties=[0.0, 0.2],
    )
    options = [each.options for each in trials]
    kept = {each.beam_size: each.diversity_penalty for each in options}
    assert kept == {5: 0.5, 1: 0.0, 3: 0.5}
    assert [each.length_penalty for each in options if each.beam_size == 1] == [0.7]
    assert not any(each.coverage_penalty for each in options)


def test_wrong_usage_is_refused(capfd, monkeypatch, directory):
    for arguments, code, message in (
        (["--source", "x"], 2, "give both --source and --reference"),
        (["--metric", "chrf", "--tokenize", "char"], 2, "--tokenize applies to BLEU only"),
        (["--beam-sizes", "1", "--coverage-penalties", "0", "0.2"], 2, "--beam-sizes above 1"),
        (["--beam-sizes", "1", "--length-penalties", "0"], 2, "--beam-sizes above 1"),
        (["--beam-sizes", "0"], 2, "not a whole number of at least 1"),
        ([], 1, "pass files"),
    ):
        found = run(capfd, monkeypatch, ["tune", str(directory), *arguments])
        assert found[0] == code
        assert message in found[2]


@pytest.mark.parametrize("name", ["--coverage-penalty", "--diversity-penalty"])
def test_sampling_has_no_penalties(capfd, monkeypatch, model, name):
    arguments = ["translate", model, "--sample", "1", name, "0.2"]
    code, _, err = run(capfd, monkeypatch, arguments, b"ein\n")
    assert code == 2
    assert f"no beam to rank: remove {name}" in err
