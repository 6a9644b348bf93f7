"""A few seeded inputs of the campaign `benchmarks/campaign/fuzz.py`, and planted faults."""

import colorsys
import contextlib
import importlib
import json
import marshal
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_attn_nmt import model_directory
from keras_attn_nmt.reading import parse_json

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))

from campaign import (  # noqa: E402
    fuzz_models,
    fuzz_rest,
    fuzz_texts,
    fuzz_watch,
    fuzz_weights,
    mutations,
)

INPUTS = 60
FAST = {
    **dict.fromkeys(("recipes", "records", "lines", "tsv", "json_lines", "tmx"), fuzz_texts),
    **dict.fromkeys(("alignments", "glossaries", "vectors", "markup"), fuzz_texts),
    "rest_answers": fuzz_rest,
    **dict.fromkeys(("vocabularies", "shortlists"), fuzz_models),
}


def outcomes(target, work, monkeypatch, inputs=INPUTS):
    if target == "rest_answers":
        pytest.importorskip("requests")
    # The targets replace `stream`, which other tests need.
    from keras_attn_nmt.training import corpora, json_lines, tmx

    for module in (corpora, json_lines, tmx):
        monkeypatch.setattr(module, "stream", module.stream)
    monkeypatch.setattr(mutations, "BOMB_BYTES", 70_000_000)
    make, read = getattr(FAST[target], target)(work)
    watch = fuzz_watch.Watch(work)
    found = []
    for number in range(inputs // (3 if target == "shortlists" else 1)):
        data = make(random.Random(f"{target} 0 {number}"))
        found.append(watch.outcome(read, data))
    return found


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", "")
    folder = fuzz_watch.work_folder(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    return folder


@pytest.mark.parametrize("target", FAST)
def test_every_input_has_a_clear_error_or_a_right_answer(target, work, monkeypatch):
    found = outcomes(target, work, monkeypatch)
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
    monkeypatch.setattr(model_directory, "check_model_file", lambda *_: None)


def plant_other_texts(monkeypatch):
    from keras_attn_nmt.training import json_lines

    monkeypatch.setattr(json_lines, "_text", lambda row, field, _: str(row.get(field)).encode())


def plant_errors_of_numpy(monkeypatch):
    from keras_attn_nmt.training import vectors

    monkeypatch.setattr(vectors, "_parsed", lambda numbers, _: np.array(numbers, "float32"))


def plant_rounded_scores(monkeypatch):
    from keras_attn_nmt.export import transports

    normal = transports._array
    monkeypatch.setattr(transports, "_array", lambda value: np.round(normal(value)))


def plant_lost_text(monkeypatch):
    from keras_attn_nmt.text import restoring

    monkeypatch.setattr(restoring, "_with_kept", lambda word, marks: marks[0].raw)


PLANTED = {
    "markup": plant_lost_text,
    "json_lines": plant_other_texts,
    "vectors": plant_errors_of_numpy,
    "rest_answers": plant_rounded_scores,
    "lines": plant_other_lines,
    "recipes": plant_unchecked_sections,
    "tsv": plant_unknown_encoding,
    "vocabularies": plant_unread_digest,
}


@pytest.mark.parametrize("target", PLANTED)
def test_planted_faults_are_found(target, work, monkeypatch):
    PLANTED[target](monkeypatch)
    inputs = 200 if target == "recipes" else 5 if target == "vocabularies" else 100
    found = outcomes(target, work, monkeypatch, inputs)
    assert any(outcome not in ("answered", "refused") for outcome, _ in found)


def test_code_of_a_lambda_layer_is_noticed(work, monkeypatch):
    _, read = fuzz_weights.hand_built(work)
    content = (work / "model" / "model.keras").read_bytes()
    marker = work / "executed"
    given = keras.saving.serialize_keras_object(
        keras.layers.Lambda(fuzz_weights.writing(str(marker)))
    )
    # Instead of a layer without which the model can be built.
    place = layer_classes(content).index("Dropout")
    data = next(
        data
        for number in range(1000)
        if (data := fuzz_weights.with_other_class(content, random.Random(number), given))
        and lambda_layers(data) == [place]
    )
    watch = fuzz_watch.Watch(work)
    assert watch.outcome(read, data)[0] == "refused"

    def without_safe_mode(path):
        return keras.saving.load_model(path, compile=False, safe_mode=False)

    monkeypatch.setattr(model_directory, "load_hand_built", without_safe_mode)
    assert watch.outcome(read, data)[0] == "executed"
    # The file itself is noticed, too.
    with pytest.raises(AssertionError, match="executed code of the file"):
        read(data)
    assert not marker.exists()


def layer_classes(data):
    layers = json.loads(mutations.zip_members(data)["config.json"])["config"]["layers"]
    return [each["class_name"] for each in layers]


def lambda_layers(data):
    return [place for place, name in enumerate(layer_classes(data)) if name == "Lambda"]


def swallowed(function):
    def read(_):
        with contextlib.suppress(BaseException):
            function()

    return read


def test_what_is_executed_and_written_elsewhere_is_noticed(work):
    watch = fuzz_watch.Watch(work)
    root = work.parents[4]

    def outcome(function):
        return watch.outcome(swallowed(function), b"")[0]

    code = marshal.dumps(compile("1", "x", "eval"))
    assert outcome(lambda: subprocess.run(["true"])) == "executed"
    assert outcome(lambda: marshal.loads(code)) == "executed"  # noqa: S302
    assert outcome(Path("/outside").read_bytes) == "read elsewhere"
    assert outcome(lambda: (work / "../outside").write_bytes(b"")) == "wrote elsewhere"
    assert outcome((work / "../../outside").mkdir) == "wrote elsewhere"
    assert outcome(lambda: (work / "x").symlink_to("/x")) == "wrote elsewhere"
    assert outcome(lambda: (work / "x").rename(root / "x")) == "wrote elsewhere"
    assert not list(root.rglob("outside"))
    # As C++ code would, of which Python sees nothing: within the folder, too.
    assert outcome(lambda: h5py.File(root / "outside", "w").close()) == "wrote elsewhere"
    assert outcome(lambda: h5py.File(work / "tmp" / "outside", "w").close()) == "wrote elsewhere"
    # Python reads its own compiled files with marshal.
    assert watch.outcome(lambda _: importlib.reload(colorsys), b"") == ("answered", "")


def test_hangs_and_unclear_errors_are_noticed(work, monkeypatch):
    watch = fuzz_watch.Watch(work)

    def outcome(function):
        return watch.outcome(lambda _: function(), b"")[0]

    assert outcome(lambda: {}["x"]) == "KeyError"
    assert outcome(lambda: json.loads("[" + "1" * 50)) == "unclear message"
    assert outcome(lambda: parse_json("[" + "1" * 50)) == "refused"
    for name, loop in (("SECONDS", busy), ("WALL_SECONDS", lambda: time.sleep(5))):
        with monkeypatch.context() as patch:
            patch.setattr(fuzz_watch, name, 0.1)
            assert outcome(loop) == "hang"
            assert watch.outcome(swallowed(loop), b"")[0] == "hang"


def busy():
    while True:
        pass


def test_mutations_are_seeded_and_change_something():
    data = b"one two three\n" * 3
    first, again = (mutations.damaged(random.Random(5), data) for _ in range(2))
    assert first == again != data
