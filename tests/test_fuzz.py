"""A few seeded inputs of the campaign `benchmarks/campaign/fuzz.py`, and planted faults."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from campaign import fuzz_models, fuzz_texts, fuzz_worker, mutations  # noqa: E402

INPUTS = 60
FAST = [
    *("recipes", "records", "lines", "tsv", "json_lines", "tmx", "alignments", "glossaries"),
    *("vectors", "markup", "rest_answers"),
]
FAST_MODELS = ["vocabularies", "shortlists"]


def outcomes(target, folder, monkeypatch, inputs=INPUTS):
    if target == "rest_answers":
        pytest.importorskip("requests")
    kind = fuzz_texts if target in FAST else fuzz_models
    # The targets replace `stream`, which other tests need.
    from keras_attn_nmt.training import corpora, json_lines, tmx

    for module in (corpora, json_lines, tmx):
        monkeypatch.setattr(module, "stream", module.stream)
    monkeypatch.setattr(fuzz_models, "BOMB_BYTES", 70_000_000)
    make, read = getattr(kind, target)(folder)
    found = []
    for number in range(inputs // (3 if target == "shortlists" else 1)):
        data = make(random.Random(f"{target} 0 {number}"))
        found.append(fuzz_worker._outcome(read, data))
    return found


@pytest.mark.parametrize("target", [*FAST, *FAST_MODELS])
def test_every_input_has_a_clear_error_or_a_right_answer(target, tmp_path, monkeypatch):
    found = outcomes(target, tmp_path, monkeypatch)
    assert [each for each in found if each[0] not in ("answered", "refused")] == []
    assert any(outcome == "refused" for outcome, _ in found)


def plant_other_lines(monkeypatch):
    from keras_attn_nmt.training import textfiles

    monkeypatch.setattr(textfiles, "checked_line", lambda line, *_: line.strip(b"\r\n"))


def plant_unchecked_sections(monkeypatch):
    from keras_attn_nmt.training import recipe_files

    monkeypatch.setattr(recipe_files, "check_sections", lambda _: None)


def plant_unknown_encoding(monkeypatch):
    from keras_attn_nmt.training import textfiles

    monkeypatch.setattr(textfiles, "checked_line", lambda line, *_: line.removesuffix(b"\n"))


def plant_unread_digest(monkeypatch):
    from keras_attn_nmt import model_directory
    from keras_attn_nmt.text.tokenizer import Tokenizer

    known = []

    def load(path, digest=None):
        known[:] = known or [Tokenizer((path.parent / "target.spm").read_bytes())]
        return known[0]

    monkeypatch.setattr(Tokenizer, "load", load)
    monkeypatch.setattr(model_directory, "_check_weights", lambda *_: None)


PLANTED = {
    "lines": plant_other_lines,
    "recipes": plant_unchecked_sections,
    "tsv": plant_unknown_encoding,
    "vocabularies": plant_unread_digest,
}


@pytest.mark.parametrize("target", PLANTED)
def test_planted_faults_are_found(target, tmp_path, monkeypatch):
    PLANTED[target](monkeypatch)
    inputs = 200 if target == "recipes" else 5 if target == "vocabularies" else 100
    found = outcomes(target, tmp_path, monkeypatch, inputs)
    assert any(outcome not in ("answered", "refused") for outcome, _ in found)


def test_hangs_traces_and_written_files_are_faults(tmp_path):
    watch = fuzz_worker._watch(tmp_path / "allowed")
    watch.append(0)

    def outcome(function):
        return fuzz_worker._outcome(lambda _: function(), b"")[0]

    try:
        assert outcome(lambda: {}["x"]) == "KeyError"
        assert outcome(lambda: subprocess.run(["true"])) == "executed"
        assert outcome(Path("/outside").read_bytes) == "executed"
        assert outcome(lambda: fuzz_worker._hang()) == "hang"
    finally:
        watch.clear()


def test_mutations_are_seeded_and_change_something():
    data = b"one two three\n" * 3
    first, again = (mutations.damaged(random.Random(5), data) for _ in range(2))
    assert first == again != data
