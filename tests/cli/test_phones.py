"""Letters to phones: a dictionary goes through train, evaluate, translate, align and exports."""

import json
import random
import re
from pathlib import Path

import pytest
from command_line import run

from keras_attn_nmt import cli

PHONES = {"A": "AH", "B": "B", "C": "K", "D": "D", "E": "EH", "T": "T", "S": "S"}
SMALL = {
    "model.embedding_units": 8,
    "model.encoder_units": 8,
    "model.encoder_layers": 1,
    "model.decoder_units": 16,
    "model.attention_units": 8,
    "training.epochs": 1,
    "training.tokens_per_batch": 512,
    "training.warmup_steps": 0,
    "training.ema_momentum": 0.0,
    "training.bleu_sentences": 0,
    "training.monitor": "val_loss",
    "training.dtype_policy": "float32",
}


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory):
    generator = random.Random(1)
    words = sorted({"".join(generator.choices(list(PHONES), k=4)) for _ in range(300)})
    lines = [f"{word}  {' '.join(PHONES[letter] for letter in word)}\n" for word in words]
    path = tmp_path_factory.mktemp("phones") / "tiny.dict"
    path.write_text(";;; a dictionary\n" + "".join(lines) + f"{words[0]}(1)  AH AH\n")
    return path


@pytest.fixture(scope="module")
def phones_model(dictionary):
    settings = {"data.train": dictionary, **SMALL}
    arguments = ["train", "g2p", "--quiet", "--output", str(dictionary.parent / "model")]
    for name, value in settings.items():
        arguments += ["--set", f"{name}={value}"]
    assert cli.main(arguments) == 0
    return str(dictionary.parent / "model")


def test_evaluate_gives_word_and_phone_error_rates(capfd, monkeypatch, phones_model, tmp_path):
    arguments = ["evaluate", phones_model, "--beam-size", "2", "--output", str(tmp_path / "out")]
    code, out, _ = run(capfd, monkeypatch, [*arguments, "--json"])
    result = json.loads(out)
    assert code == 0
    assert 0 < result["word_error_rate"] <= 1
    assert result["phone_error_rate"] > 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert len(lines) == result["words"] > 5
    # A test set of what it said is right, whatever other pronunciations are given.
    (tmp_path / "words").write_text("".join(f"{line.split()[0]}\n" * 2 for line in lines))
    (tmp_path / "phones").write_text(
        "".join(f"X\n{' '.join(line.split()[1:])}\n" for line in lines)
    )
    given = ["--source", str(tmp_path / "words"), "--reference", str(tmp_path / "phones")]
    code, out, _ = run(capfd, monkeypatch, [*arguments, *given])
    assert code == 0
    assert "word error rate     0.00%\nphone error rate    0.00%\n" in out
    assert f"{len(lines)} words with {2 * len(lines)} pronunciations" in out


@pytest.mark.parametrize("option", [["--html", "page.html"], ["--tokenize", "char"]])
def test_options_of_bleu_are_refused(capfd, monkeypatch, phones_model, tmp_path, option):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capfd, monkeypatch, ["evaluate", phones_model, *option])
    assert (code, out) == (2, "")
    assert f"{option[0]} is about BLEU" in err


def test_pronunciations_and_their_alignment(capfd, monkeypatch, phones_model, tmp_path):
    arguments = ["translate", phones_model, "--n-best", "3", "--beam-size", "3", "--json"]
    code, out, _ = run(capfd, monkeypatch, arguments, b"CAB\n")
    assert code == 0
    assert len(out.splitlines()) == 3
    (tmp_path / "words").write_text("CAB\n")
    (tmp_path / "phones").write_text("K AH B\n")
    files = ["--source", str(tmp_path / "words"), "--target", str(tmp_path / "phones")]
    code, out, _ = run(capfd, monkeypatch, ["align", phones_model, *files, "--tokens"])
    assert code == 0
    links = [tuple(map(int, link.split("-"))) for link in out.split()]
    assert [phone for _, phone in links] == [0, 1, 2]
    assert {letter for letter, _ in links} <= {0, 1, 2}
    code, _, _ = run(
        capfd, monkeypatch, ["attention", phones_model, "CAB", "--output", str(tmp_path / "a.html")]
    )
    assert code == 0
    assert re.search('"▁[A-Z]+"', (tmp_path / "a.html").read_text())
    gold = ["--gold", str(tmp_path / "phones"), "--tokens"]
    code, _, err = run(capfd, monkeypatch, ["align", phones_model, *files, *gold])
    assert code == 2
    assert "--gold links words: leave out --tokens" in err


WORDS = ["CAB", "D", "XÄ", "BAD CAT", "", " A"]


@pytest.mark.slow
def test_exports_agree(capfd, monkeypatch, phones_model, tmp_path):
    """Both exporters compare their file with the model; text is the same, unknown letters, too."""
    import tensorflow as tf

    from keras_attn_nmt.export import TFLiteTranslator, export_saved_model, export_tflite
    from keras_attn_nmt.translator import Translator

    wanted = [each.text for each in Translator.load(phones_model)(WORDS)]
    export_tflite(phones_model, tmp_path / "model.tflite")
    found = TFLiteTranslator(tmp_path / "model.tflite")(WORDS)
    assert [each.text for each in found] == wanted
    export_saved_model(phones_model, tmp_path / "served")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "served" / "1"))
        signature = meta.signature_def["translate"]
        output = session.run(
            signature.outputs["translation"].name, {signature.inputs["text"].name: WORDS}
        )
    assert [text.decode() for text in output] == wanted
    code, _, err = run(
        capfd,
        monkeypatch,
        ["export", "tflite", phones_model, "--output", str(tmp_path / "text.tflite"), "--text"],
    )
    assert code == 1
    assert "is not a unigram model" in err
    assert not Path(tmp_path, "text.tflite").exists()
