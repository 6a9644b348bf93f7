"""The command line as a user types it."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import sacrebleu
from command_line import run

from keras_attn_nmt import Translator, model_directory


def test_help_does_not_import_tensorflow():
    code = (
        "import sys, keras_attn_nmt.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "command",
    [
        "train",
        "translate",
        "score",
        "back-translate",
        "bulk-translate",
        "evaluate",
        "attention",
        "align",
        "shortlist",
        "embeddings",
        "study",
        "demo",
        "doctor",
    ],
)
def test_every_command_has_help_with_an_example(capfd, monkeypatch, command):
    code, out, _ = run(capfd, monkeypatch, [command, "--help"])
    assert code == 0
    assert f"Example: keras-attn-nmt {command}" in " ".join(out.split())


def test_translate_is_a_filter(capfd, monkeypatch, model):
    text = "ein Haus\n\nzwei Häuser\r\nam See".encode()
    code, out, _ = run(capfd, monkeypatch, ["translate", model, "--beam-size", "2"], text)
    lines = out.split("\n")
    assert code == 0
    assert len(lines) == 5
    assert lines[1] == lines[4] == ""
    assert lines[0]


def test_translate_json_has_tokens_score_and_attention(capfd, monkeypatch, model):
    arguments = ["translate", model, "--json", "--n-best", "2", "--beam-size", "3"]
    code, out, _ = run(capfd, monkeypatch, arguments, b"ein Haus\n")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 2
    assert rows[0]["score"] >= rows[1]["score"]
    attention = np.array(rows[0]["attention"])
    assert attention.shape == (len(rows[0]["target_tokens"]), len(rows[0]["source_tokens"]))


def test_translate_reports_the_too_long_line(capfd, monkeypatch, model):
    text = b"ein\n" * 600 + b"ein " * 1000 + b"\n"
    arguments = ["translate", model, "--beam-size", "1", "--max-length", "2"]
    code, out, err = run(capfd, monkeypatch, arguments, text)
    assert code == 1
    assert "Line 601 of the input has" in err
    assert len(out.splitlines()) == 600


def test_every_line_has_n_best_translations(capfd, monkeypatch, model):
    arguments = ["translate", model, "--n-best", "2", "--beam-size", "2"]
    code, out, _ = run(capfd, monkeypatch, arguments, b"\nein Haus\n")
    assert code == 0
    assert out.split("\n")[:2] == ["", ""]
    assert len(out.split("\n")) == 5


@pytest.mark.parametrize("command", ["translate", "embeddings"])
def test_byte_order_mark_is_stripped(capfd, monkeypatch, model, command):
    plain, marked = (
        run(capfd, monkeypatch, [command, model], mark + "ein Haus\n\ufeffSee\n".encode())
        for mark in (b"", b"\xef\xbb\xbf")
    )
    assert marked == plain
    assert plain[0] == 0
    code, out, err = run(capfd, monkeypatch, [command, model], "\ufeffein\n".encode("utf-16-le"))
    assert (code, out) == (1, "")
    assert "standard input is UTF-16" in err


def test_translate_reports_the_line_with_invalid_utf8(capfd, monkeypatch, model):
    code, _, err = run(capfd, monkeypatch, ["translate", model], b"ein\n\xff\xfe\n")
    assert code == 1
    assert "standard input, line 2: not UTF-8" in err


def test_evaluate_prints_scores_with_signatures(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "t.de").write_text("ein Haus\nzwei\n")
    (tmp_path / "t.en").write_text("a house\ntwo\n")
    arguments = ["evaluate", model, "--source", str(tmp_path / "t.de")]
    arguments += ["--reference", str(tmp_path / "t.en"), "--output", str(tmp_path / "out")]
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    assert "nrefs:1|case:lc|eff:no|tok:13a" in out
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--copy", "--tokenize", "char"])
    assert code == 0
    assert "case:lc|eff:no|tok:char" in out
    code, out, err = run(capfd, monkeypatch, [*arguments, "--tokenize", "spam"])
    assert (code, out) == (1, "")
    assert "Unknown tokeniser 'spam'" in err
    assert len((tmp_path / "out").read_text().splitlines()) == 2
    code, _, err = run(capfd, monkeypatch, ["evaluate", model])
    assert code == 1
    assert "pass files" in err


def test_results_are_printed_if_the_search_cannot_be_saved(capfd, monkeypatch, model, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_directory, "save_search", full)
    (tmp_path / "t").write_text("ein Haus\n")
    arguments = ["evaluate", model, "--source", str(tmp_path / "t"), "--max-length", "5"]
    arguments += ["--reference", str(tmp_path / "t"), "--output", str(tmp_path / "out")]
    code, out, err = run(capfd, monkeypatch, [*arguments, "--save-search"])
    assert code == 1
    assert "exact match" in out
    assert "No space left" in err
    assert len((tmp_path / "out").read_text().splitlines()) == 1


def test_evaluate_rejects_files_of_unequal_length(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "t.de").write_text("ein Haus\nzwei\n")
    (tmp_path / "t.en").write_text("a house\n")
    arguments = ["evaluate", model, "--source", str(tmp_path / "t.de")]
    code, _, err = run(capfd, monkeypatch, [*arguments, "--reference", str(tmp_path / "t.en")])
    assert code == 1
    assert re.search(r"\b2 lines\b", err)
    assert re.search(r"has 1\b", err)


def test_evaluate_accepts_several_references(capfd, monkeypatch, model, tmp_path):
    sources = ["ein Haus", "zwei", "am See"]
    (tmp_path / "source").write_text("\n".join(sources) + "\n")
    found = Translator.load(model)(sources, max_length=5)
    references = {
        "a": [found[0].text, "a", "b"],
        "b": ["a", found[1].text, "b"],
        "c": ["a", "b", "c", "d"],
    }
    for name, lines in references.items():
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))

    def evaluate(*names, json_wanted=True):
        arguments = ["evaluate", model, "--source", str(tmp_path / "source"), "--max-length", "5"]
        for name in names:
            arguments += ["--reference", str(tmp_path / name)]
        return run(capfd, monkeypatch, arguments + ["--json"] * json_wanted)

    one, two = (json.loads(evaluate(*names)[1]) for names in ("a", "ab"))
    assert (one["references"], two["references"]) == (1, 2)
    assert one["exact_match"] == pytest.approx(1 / 3)
    assert two["exact_match"] == pytest.approx(2 / 3)
    assert two["bleu"]["signature"].startswith("nrefs:2|")
    assert two["chrf"]["score"] > one["chrf"]["score"]
    texts = [each.text for each in found]
    expected = sacrebleu.CHRF().corpus_score(texts, [references["a"], references["b"]])
    assert two["chrf"]["score"] == expected.score
    code, out, err = evaluate("a", "c", json_wanted=False)
    assert (code, out) == (1, "")
    assert re.search(r"has 3 lines and .* has 4", err)


def test_attention_writes_a_plot(capfd, monkeypatch, model, tmp_path):
    picture = tmp_path / "heat.png"
    arguments = ["attention", model, "ein Haus", "--output", str(picture), "--max-length", "9"]
    code, _, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    pieces = picture.read_bytes()
    assert pieces.startswith(b"\x89PNG")
    code, _, _ = run(capfd, monkeypatch, [*arguments, "--words"])
    assert code == 0
    assert picture.read_bytes() != pieces
    code, _, err = run(capfd, monkeypatch, ["attention", model, " ", "--output", str(picture)])
    assert code == 1
    assert "empty" in err


def test_attention_to_a_reference_uses_the_length_penalty(capfd, monkeypatch, model, tmp_path):
    arguments = ["attention", model, "ein Haus", "--output", str(tmp_path / "heat.png"), "--json"]
    arguments += ["--reference", "am See", "--length-penalty", "0"]
    code, out, _ = run(capfd, monkeypatch, arguments)
    assert code == 0
    found = json.loads(out)
    assert found["score"] == pytest.approx(sum(found["token_scores"]), abs=1e-4)


def test_align_writes_links_and_prints_the_error_rate(capfd, monkeypatch, model, tmp_path):
    for name, text in (("s", "ein Haus\nSee\n"), ("t", "am See\n\n"), ("g", "0-0 1p1\n\n")):
        (tmp_path / name).write_text(text)
    arguments = ["align", model, "--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]
    code, out, err = run(capfd, monkeypatch, [*arguments, "--gold", str(tmp_path / "g")])
    assert code == 0
    assert re.fullmatch(r"[01]-0 [01]-1\n\n", out)
    assert re.search(r"alignment error rate \d+\.\d\d%", err)
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--json"])
    first, blank = map(json.loads, out.splitlines())
    assert first["alignment"] and first["score"] < 0
    assert blank == {"alignment": "", "score": None}


def test_align_rejects_a_mismatched_gold_file(capfd, monkeypatch, model, tmp_path):
    golds = {"short": "0-0\n", "bad": "0-0\n0:0\n", "from 1": "1-1\n1-1\n", "empty": "\n\n"}
    for name, text in {"s": "ein\nSee\n", **golds}.items():
        (tmp_path / name).write_text(text)
    arguments = ["align", model, "--source", str(tmp_path / "s"), "--target", str(tmp_path / "s")]
    messages = {"short": "has 1", "bad": "line 2: '0:0' is not a link", "from 1": "counted from 0"}
    for name, message in messages.items():
        code, out, err = run(capfd, monkeypatch, [*arguments, "--gold", str(tmp_path / name)])
        assert (code, out) == (1, "")
        assert message in err
    code, _, err = run(capfd, monkeypatch, [*arguments, "--gold", str(tmp_path / "empty")])
    assert code == 1
    assert "gold alignment has no links" in err


def test_align_prints_no_error_rate_without_gold(capfd, monkeypatch, model, tmp_path):
    directory = shutil.copytree(model, tmp_path / "model")
    for name in ("test.de", "test.en"):
        (tmp_path / name).write_text("ein Haus\n")
    data = {"folder": str(tmp_path), "alignment": "align", "test": "test"}
    (directory / "training.json").write_text(json.dumps({"recipe": {"data": data}}))
    code, out, err = run(capfd, monkeypatch, ["align", str(directory)])
    assert (code, err) == (0, "")
    assert re.fullmatch(r"[01]-0 [01]-1\n", out)
    (tmp_path / "test.align").write_text("0-0\n")
    code, _, err = run(capfd, monkeypatch, ["align", str(directory)])
    assert "alignment error rate" in err
    data["concatenate"] = 30
    (directory / "training.json").write_text(json.dumps({"recipe": {"data": data}}))
    code, _, err = run(capfd, monkeypatch, ["align", str(directory)])
    assert (code, err) == (0, "")


def test_align_reports_the_too_long_side(capfd, monkeypatch, model, tmp_path):
    (tmp_path / "s").write_text("ein\nein\n")
    (tmp_path / "t").write_text("ein\n" + "a " * 2000 + "\n")
    arguments = ["align", model, "--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]
    code, _, err = run(capfd, monkeypatch, arguments)
    assert code == 1
    assert "Line 2 of the target has" in err


def test_translate_copies_unknown_words(capfd, monkeypatch, model):
    arguments = ["translate", model, "--copy", "--max-length", "9"]
    text = "ein 日本\na▁b▁c▁d▁e▁f\n\n".encode()
    code, out, _ = run(capfd, monkeypatch, arguments, text)
    assert code == 0
    assert len(out.splitlines()) == 3


def test_shortlist_is_learned_and_used(capfd, monkeypatch, model, tmp_path):
    directory = str(shutil.copytree(model, tmp_path / "model"))
    (tmp_path / "s").write_text("ein Haus\nzwei\n")
    translate = ["translate", directory, "--shortlist", "--max-length", "9"]
    for command in (
        translate,
        ["export", "saved-model", directory, "--output", "x", "--shortlist"],
    ):
        code, _, err = run(capfd, monkeypatch, command, b"ein Haus\n")
        assert code == 1
        assert "keras-attn-nmt shortlist MODEL" in err
    # A damaged file does not prevent relearning.
    (tmp_path / "model" / "shortlist.npz").write_bytes(b"PK, but no more")
    code, _, err = run(capfd, monkeypatch, translate, b"ein Haus\n")
    assert code == 1
    assert "is damaged" in err
    # The second pair is too long, the fourth one too many.
    (tmp_path / "s").write_text("ein Haus\n" + "ein " * 1000 + "\nzwei\nHaus\n")
    arguments = ["shortlist", directory, "--source", str(tmp_path / "s"), "--common", "2"]
    arguments += ["--target", str(tmp_path / "s"), "--candidates", "3", "--pairs", "3"]
    code, out, err = run(capfd, monkeypatch, arguments)
    assert (code, out.strip()) == (0, f"{directory}/shortlist.npz")
    assert "learned from 2 sentence pairs" in err
    with np.load(tmp_path / "model" / "shortlist.npz") as file:
        assert file["common"].shape == (2,)
        assert file["candidates"].shape[1] <= 1 + 3
    code, out, _ = run(capfd, monkeypatch, translate, b"ein Haus\n\n")
    assert (code, len(out.splitlines())) == (0, 2)


def test_embeddings_prints_one_line_per_sentence(capfd, monkeypatch, model):
    code, out, _ = run(capfd, monkeypatch, ["embeddings", model], b"ein Haus\nSee\n")
    assert code == 0
    assert [len(line.split("\t")) for line in out.splitlines()] == [10, 10]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["translate", "missing"], 1, "The model directory missing does not exist"),
        (["shortlist", "missing"], 1, "The model directory missing does not exist"),
        (["train", "nothing", "--output", "x"], 1, "Unknown recipe 'nothing'"),
        (["train", "phrases", "--output", "x", "--set", "a.b=1"], 1, "Unknown section of a recipe"),
        (
            ["train", "multi30k", "--output", "x", "--set", "data.folder=none"],
            1,
            "none/train.de nor train.de.gz exists. Correct the folder in the recipe or with --set",
        ),
        (["translate"], 2, "required: model"),
        (
            ["translate", "x.tflite", "--glossary", "y"],
            2,
            "file has no constrained search: remove",
        ),
        (
            ["translate", "x.tflite", "--sample", "1"],
            2,
            "or use the model directory that the file",
        ),
        (["evaluate", __file__], 1, "is a file, but this needs a model directory"),
        (["translate", "x", "--beam-size", "0"], 2, "not a whole number of at least 1"),
        (["translate", "x", "--n-best", "9", "--beam-size", "5"], 2, "requires --beam-size"),
        (["evaluate", "x", "--source", "y"], 2, "give both --source and --reference"),
        (["translate", "x.tflite", "--shortlist"], 1, "The model x.tflite does not exist"),
        (["align", "x", "--source", "y"], 2, "give both --source and --target"),
        (["align", "x", "--gold", "y"], 2, "--gold needs --source and --target"),
        (["attention", "x", "y", "--output", "heat"], 2, "must end with .png"),
        (["attention", "x", "y", "--output", ".png"], 2, "must end with .png"),
        (["attention", "x", "y", "--output", "a.png", "--n-best", "2"], 2, "needs an --output of"),
        (["embeddings", "x", "--method", "tsne"], 2, "it needs --html"),
        (["fly"], 2, "invalid choice"),
        ([], 2, "required: COMMAND"),
    ],
)
def test_errors_print_one_message_and_exit(capfd, monkeypatch, arguments, code, message):
    got, out, err = run(capfd, monkeypatch, arguments)
    assert got == code
    assert message in err
    assert "Traceback" not in err
    assert out == ""


def test_files_that_tensorflow_cannot_write_are_one_message(capfd, monkeypatch, tmp_path):
    """As TensorBoard's logs during training, on a disk that fails."""
    errors = pytest.importorskip("tensorflow").errors

    def fail(error):
        def train(*_, **__):
            raise error(None, None, "events.out.tfevents; No space left on device")

        monkeypatch.setattr("keras_attn_nmt.training.train", train)
        return run(capfd, monkeypatch, ["train", "phrases", "--output", str(tmp_path / "model")])

    code, _, err = fail(errors.ResourceExhaustedError)
    assert code == 1
    assert "error: events.out.tfevents; No space left on device" in err
    assert "Traceback" not in err
    with pytest.raises(errors.InvalidArgumentError):  # A mistake in the program.
        fail(errors.InvalidArgumentError)


def test_memory_that_jax_lacks_is_a_message(capfd, monkeypatch, tmp_path):
    errors = pytest.importorskip("jax").errors

    def fail(message):
        def train(*_, **__):
            raise errors.JaxRuntimeError(message)

        monkeypatch.setattr("keras_attn_nmt.training.train", train)
        return run(capfd, monkeypatch, ["train", "phrases", "--output", str(tmp_path / "model")])

    code, _, err = fail("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
    assert code == 1
    assert "error: RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes." in err
    with pytest.raises(errors.JaxRuntimeError):  # A mistake in the program.
        fail("INVALID_ARGUMENT: shapes")


def test_doctor_lists_versions_and_devices(capfd, monkeypatch):
    code, out, _ = run(capfd, monkeypatch, ["doctor", "--json"])
    assert code == 0
    assert {"tensorflow", "keras", "gpus", "problems"} <= set(json.loads(out))
