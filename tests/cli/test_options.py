"""Validation of options before any work begins."""

import argparse
import json
import os

import pytest
from command_line import run
from tiny_translator import tiny_files

from keras_attn_nmt.cli.arguments import bleu_tokenizer
from keras_attn_nmt.cli.parser import build_parser
from keras_attn_nmt.model_directory import save_model
from keras_attn_nmt.training.recipe import DataRecipe, Recipe


@pytest.mark.parametrize(
    "arguments",
    [
        ["translate", "x", "--beam-size", "2", "--beam-size", "2"],
        ["translate", "x", "--length-penalty", "0", "--length-penalty=1"],
        ["evaluate", "x", "--source", "y", "--source", "z"],
        ["attention", "x", "y", "--output", "a.png", "--out", "b.png"],
        ["export", "tflite", "x", "--output", "a.tflite", "--output", "b.tflite"],
        ["export", "web", "x", "--output", "a", "--quantize", "none", "--quantize", "int8"],
        ["study", "x", "--output", "y", "--systems", "attention", "--systems", "fixed-vector"],
        ["train", "phrases", "--output", "x", "--output", "y"],
    ],
)
def test_repeated_single_value_option_is_rejected(capfd, monkeypatch, arguments):
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, out) == (2, "")
    assert "given twice" in err


@pytest.mark.parametrize(
    ("command", "split"),
    [("evaluate", "train"), ("tune", "test"), ("align", "train"), ("shortlist", "test")],
)
def test_files_exclude_a_split(capfd, monkeypatch, command, split):
    code, _, err = run(capfd, monkeypatch, [command, "x", "--source", "y", "--split", split])
    assert code == 2
    assert "--split: not allowed with argument --source" in err


@pytest.mark.parametrize("command", ["evaluate", "tune"])
def test_a_damaged_record_does_not_make_phones_words(capfd, monkeypatch, tmp_path, command):
    (tmp_path / "training.json").write_text('{"recipe": {"data": {"corpus": "dictionary"')
    arguments = [command, str(tmp_path), "--source", "words", "--reference", "phones"]
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, out) == (1, "")
    assert "training.json is damaged" in err


def test_bleu_is_measured_by_the_tokenizer_of_the_training(tmp_path):
    given = argparse.Namespace(model=str(tmp_path), tokenize="13a")
    default = argparse.Namespace(model=str(tmp_path), tokenize=None)
    assert bleu_tokenizer(default) == "13a"
    recipe = {"data": {"corpus": "tsv"}, "training": {"bleu_tokenize": "zh"}}
    (tmp_path / "training.json").write_text(json.dumps({"recipe": recipe}))
    assert [bleu_tokenizer(each) for each in (default, given)] == ["zh", "13a"]


def test_what_needs_attention_is_refused_without_it(capfd, monkeypatch, tmp_path):
    model = str(tmp_path / "model")
    save_model(model, tiny_files({"attention": "none"}))
    (tmp_path / "text").write_text("ein Haus\n")
    texts = ["--source", str(tmp_path / "text")]
    for arguments, name in (
        (["align", model, *texts, "--target", texts[1]], "alignment"),
        (["attention", model, "ein Haus", "--output", str(tmp_path / "a.png")], "picture"),
        (["translate", model, "--copy"], "copy"),
        (["tune", model, *texts, "--reference", texts[1], "--coverage-penalties", "1"], "coverage"),
    ):
        code, out, err = run(capfd, monkeypatch, arguments, b"ein Haus\n")
        assert (code, out) == (1, "")
        assert name in err and "needs attention, which this model does not have" in err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "much"])
def test_length_penalty_must_be_finite(capfd, monkeypatch, value):
    arguments = ["translate", "missing", f"--length-penalty={value}"]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert "is not a number of at least 0" in err


def test_non_utf8_argument_is_rejected(capfd, monkeypatch, tmp_path):
    arguments = ["attention", "missing", os.fsdecode(b"f\xfcnf"), "--output", "a.png"]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 2
    assert "argument sentence: not UTF-8" in err


@pytest.mark.parametrize(
    "option",
    [
        *(["--beam-size", "1"], ["--max-length", "9"], ["--diversity-penalty", "1"]),
        *(["--copy"], ["--shortlist"], ["--n-best", "2"]),
    ],
)
def test_reference_excludes_search_options(capfd, monkeypatch, tmp_path, option):
    arguments = ["attention", "missing", "ein", "--output", str(tmp_path / "a.png")]
    code, out, err = run(capfd, monkeypatch, [*arguments, "--reference", "one", *option])
    assert (code, out) == (2, "")
    assert f"{option[0]} is a search option" in err


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("--output", "--html"),
        *((each, "--output") for each in ("--source", "--reference", "--against", "--glossary")),
        ("--reference", "--html"),
    ],
)
def test_evaluate_needs_two_names_for_two_files(capfd, monkeypatch, tmp_path, first, second):
    """Otherwise the reference would be lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("one\n")
    (tmp_path / "other").write_text("one\n")
    given = {"--source": "other", "--reference": "other", first: "file", second: f"{tmp_path}/file"}
    arguments = [each for option in given.items() for each in option]
    code, out, err = run(capfd, monkeypatch, ["evaluate", "missing", *arguments])
    assert (code, out) == (2, "")
    assert f"{first} and {second} are both {tmp_path}/file: name two files." in err
    assert (tmp_path / "file").read_text() == "one\n"


def test_evaluate_compares_names_of_files_that_are_links_to_themselves(
    capfd, monkeypatch, tmp_path
):
    (tmp_path / "loop").symlink_to("loop")
    arguments = ["--source", "x", "--reference", "x", "--output", str(tmp_path / "loop")]
    code, _, err = run(capfd, monkeypatch, ["evaluate", "missing", *arguments])
    assert (code, err) == (1, "keras-attn-nmt: error: The file x does not exist.\n")


@pytest.mark.parametrize("taken", ["train.en", "val.en", "other.tsv.gz"])
def test_evaluate_replaces_no_data_of_the_model(capfd, monkeypatch, tmp_path, taken):
    mixed = {"corpus": "tsv", "folder": str(tmp_path), "train": "other.tsv"}
    data = DataRecipe("lines", folder=str(tmp_path), train="train", validation="val", mix=(mixed,))
    recorded = json.dumps({"recipe": Recipe(data=data).to_dict()})
    (tmp_path / "training.json").write_text(recorded)
    (tmp_path / taken).write_text("a house\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate", str(tmp_path), "--split", "validation", "--output", taken]
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, out) == (2, "")
    assert f"--output would replace {taken}, data of the model's corpus" in err
    assert (tmp_path / taken).read_text() == "a house\n"


@pytest.mark.parametrize("locale", ["ascii", "iso-8859-1"])
def test_arguments_are_utf8_in_any_locale(monkeypatch, locale):
    typed = "fünf".encode().decode(locale, "surrogateescape")
    monkeypatch.setattr(os, "fsencode", lambda text: text.encode(locale, "surrogateescape"))
    options = build_parser().parse_args(["attention", "model", typed, "--output", "a.png"])
    assert options.sentence == "fünf"


def write_commands(output):
    """All commands that write, with a model or recipe that does not exist."""
    yield ["train", "missing", "--output", output]
    yield ["study", "missing", "--output", output]
    yield ["demo", "--output", output, "--set", "missing.key=1"]
    yield ["evaluate", "missing", "--output", f"{output}/file"]
    yield ["evaluate", "missing", "--html", f"{output}/file.html"]
    yield ["evaluate", output, "--save-search"]
    yield ["attention", "missing", "ein", "--output", f"{output}/file.png"]
    yield ["attention", "missing", "ein", "--output", f"{output}/file.html"]
    yield ["embeddings", "missing", "--html", f"{output}/file.html"]
    yield ["shortlist", output]
    yield ["export", "saved-model", "missing", "--output", output]
    yield ["export", "serving", output]
    yield ["export", "tflite", "missing", "--output", f"{output}/file.tflite"]


def test_output_below_a_file_is_rejected_first(capfd, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "folder"):
        for arguments in write_commands(str(output)):
            code, out, err = run(capfd, monkeypatch, arguments)
            assert (code, out) == (1, "")
            assert f"{tmp_path / 'file'} is a file" in err or "does not exist" in err, err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux has a folder without room")
def test_unwritable_output_is_rejected_first(capfd, monkeypatch):
    for arguments in write_commands("/proc/self"):
        code, out, err = run(capfd, monkeypatch, arguments)
        assert (code, out) == (1, "")
        assert "error: Cannot write /proc/self" in err


def test_output_checks_leave_no_files(capfd, monkeypatch, tmp_path):
    for arguments in write_commands(str(tmp_path / "new")):
        run(capfd, monkeypatch, arguments)
    (tmp_path / "folder").mkdir()
    for arguments in write_commands(str(tmp_path / "folder")):
        if arguments[0] != "demo":
            run(capfd, monkeypatch, arguments)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_misspelled_option_suggests_the_right_one(capfd, monkeypatch):
    code, out, err = run(capfd, monkeypatch, ["translate", "model", "--beamsize", "3"])
    assert (code, out) == (2, "")
    assert "unrecognized argument --beamsize: did you mean --beam-size?" in err
    words = ["bulk-translate", "model", "--input", "in", "--output", "out", "--runner=FlinkRunner"]
    code, out, err = run(capfd, monkeypatch, words)
    assert (code, out) == (2, "")
    assert "unrecognized argument --runner=FlinkRunner: options of Beam go after --" in err
