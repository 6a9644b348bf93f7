"""Back-translation: aligned files, filters, and resuming after a kill."""

import gzip
import json
import os
import shutil

import numpy as np
import pytest

from keras_attn_nmt import Translator
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.sampling import SamplingOptions
from keras_attn_nmt.model import build_model
from keras_attn_nmt.text.special_ids import EOS
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import back_translation
from keras_attn_nmt.training.back_translation import BackTranslationOptions, back_translate
from keras_attn_nmt.translation import Translation

LINES = ["a house", "", "two houses", "word " * 1100, "by the lake", "a house", "a  lake "]
LANGUAGES = {"source_language": "de", "target_language": "en"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with random weights whose translations end early enough."""
    tokenizer = Tokenizer.learn(["a house by the lake", "two houses", "ein Haus am See"] * 3, 300)
    sizes = [tokenizer.vocabulary_size] * 2
    network = build_model(
        ModelConfig(*sizes, embedding_units=6, encoder_units=5, decoder_units=7, attention_units=4)
    )
    generator = np.random.default_rng(1)
    network.set_weights([generator.normal(size=w.shape) * 0.5 for w in network.get_weights()])
    (bias,) = [each for each in network.weights if each.shape == (sizes[0],)]
    bias.assign(np.where(np.arange(sizes[0]) == EOS, 3.0, np.asarray(bias)))
    directory = tmp_path_factory.mktemp("reverse") / "model"
    Translator(network, tokenizer, tokenizer).save(directory)
    return directory


@pytest.fixture(autouse=True)
def load_once(model, monkeypatch, loaded):
    """Runs share a translator, whose search is traced once."""
    monkeypatch.setattr(Translator, "load", lambda _: loaded)


@pytest.fixture(scope="module")
def loaded(model):
    return Translator.load(model)


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "mono.en"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(back_translation, "PART", 3)


def corpus(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def translation(source, target):
    tokens = [[*f"▁{text}".split(), "</s>"] if text else ["</s>"] for text in (source, target)]
    return Translation(
        target, 0.0, *tokens, np.zeros(len(tokens[1])), np.zeros((len(tokens[1]), len(tokens[0])))
    )


def test_corpus_is_aligned_and_complete(model, text, tmp_path, small_parts):
    options = BackTranslationOptions(
        sampling=SamplingOptions(0.5, 5), seed=3, max_length=30, max_ratio=1e6, tag="<BT>"
    )
    report = back_translate(model, text, tmp_path / "out", options=options, **LANGUAGES)
    found = corpus(tmp_path / "out")
    assert set(found) == {"train.de", "train.en", "back-translation.json"}
    assert json.loads(found["back-translation.json"]) == report
    sources, targets = (found[f"train.{name}"].split("\n")[:-1] for name in ("de", "en"))
    assert len(sources) == len(targets) == report["pairs"] > 0
    assert report["pairs"] + sum(report["left_out"].values()) == len(LINES)
    assert report["left_out"]["blank"] == report["left_out"]["too_long"] == 1
    # The sample of each line is that of its number in the file.
    samples = Translator.load(model).sample(
        [line if len(line) < 1000 else "" for line in LINES],
        temperature=0.5,
        top_k=5,
        seed=3,
        max_length=30,
    )
    expected = [
        (f"<BT> {' '.join(each.text.splitlines())}", line)
        for (each,), line in zip(samples, LINES, strict=True)
        if each.complete and each.text
    ]
    assert list(zip(sources, targets, strict=True)) == expected
    assert not (tmp_path / "out.unfinished").exists()


def test_a_search_has_no_seed():
    with pytest.raises(ValueError, match=r"seed=7 is of samples, but sampling=None searches"):
        BackTranslationOptions(sampling=None, seed=7)


def test_search_reads_gzip_and_the_model_defaults(model, tmp_path):
    (tmp_path / "mono.gz").write_bytes(gzip.compress(b"a house\ntwo houses\n"))
    options = BackTranslationOptions(sampling=None, beam_size=2, max_length=30, max_ratio=1e6)
    report = back_translate(
        model, tmp_path / "mono.gz", tmp_path / "out", options=options, **LANGUAGES
    )
    assert report["settings"]["lines"] == 2
    found = Translator.load(model)(["a house", "two houses"], beam_size=2, max_length=30)
    texts = [" ".join(each.text.splitlines()) for each in found if each.complete and each.text]
    assert corpus(tmp_path / "out")["train.de"] == "".join(f"{each}\n" for each in texts)


@pytest.mark.parametrize(
    ("line", "target", "reason"),
    [
        ("a house", "ein Haus", None),
        ("A  House", " a house", "copy"),
        ("zwei Ha\u0308user\u200b", "zwei Häuser", "copy"),
        ("a house", " ", "empty"),
        ("a b c d", "x", "ratio"),
        ("x", "a b c d", "ratio"),
        ("a b c d", "a b", None),
        (" ", "", "blank"),
    ],
)
def test_bad_pairs_are_left_out(line, target, reason):
    found = translation(line.strip(), target)
    assert back_translation._reason(line, True, found, 2.0) == reason
    assert back_translation._reason(line, False, found, 2.0) == (
        reason if reason == "blank" else "too_long"
    )


def test_interrupted_run_continues(model, text, tmp_path, small_parts, monkeypatch):
    options = BackTranslationOptions(max_length=30, max_ratio=1e6)
    call = {"options": options, **LANGUAGES}
    back_translate(model, text, tmp_path / "whole", **call)
    sizes = []
    translate = BackTranslationOptions.translate

    def failing(self, translator, texts, first_line, batch_size):
        sizes.append((first_line, len(texts)))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return translate(self, translator, texts, first_line, batch_size)

    monkeypatch.setattr(BackTranslationOptions, "translate", failing)
    with pytest.raises(KeyboardInterrupt):
        back_translate(model, text, tmp_path / "out", **call)
    assert not (tmp_path / "out").exists()
    other = BackTranslationOptions(max_length=30, max_ratio=1e6, seed=1)
    with pytest.raises(FileExistsError, match=r"another seed \(0, now 1\)"):
        back_translate(model, text, tmp_path / "out", options=other, **LANGUAGES)
    back_translate(model, text, tmp_path / "out", **call)
    assert sizes == [(0, 3), (3, 3), (3, 3), (6, 1)]
    assert corpus(tmp_path / "out") == corpus(tmp_path / "whole")
    # Complete: nothing is done again, or overwritten.
    back_translate(model, text, tmp_path / "out", **call)
    assert len(sizes) == 4
    with pytest.raises(FileExistsError, match="another seed"):
        back_translate(model, text, tmp_path / "out", options=other, **LANGUAGES)


@pytest.mark.parametrize(
    "changed",
    [[], LINES[:4], [*LINES, "more"], [*LINES[:-1], "the sea"], ["the sea", *LINES[1:]]],
)
def test_a_text_that_changes_during_the_run(
    model, text, tmp_path, small_parts, monkeypatch, changed
):
    call = {"options": BackTranslationOptions(max_length=30, max_ratio=1e6), **LANGUAGES}
    back_translate(model, text, tmp_path / "whole", **call)
    count_and_digest = back_translation._count_and_digest

    def counted(path):
        found = count_and_digest(path)
        path.write_text("".join(f"{line}\n" for line in changed))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(back_translation, "_count_and_digest", counted)
        with pytest.raises(ValueError, match=r"mono\.en has changed since the run began"):
            back_translate(model, text, tmp_path / "out", **call)
    # With the text as it was, parts of the other one are made anew.
    text.write_text("".join(f"{line}\n" for line in LINES))
    back_translate(model, text, tmp_path / "out", **call)
    assert corpus(tmp_path / "out") == corpus(tmp_path / "whole")


def test_a_pipe_is_refused(model, tmp_path):
    os.mkfifo(tmp_path / "mono.en")
    with pytest.raises(ValueError, match=r"mono\.en is a pipe, .* write it to a file"):
        back_translate(model, tmp_path / "mono.en", tmp_path / "out", **LANGUAGES)


def test_run_killed_before_its_end_gets_its_name(model, text, tmp_path, monkeypatch):
    call = {"options": BackTranslationOptions(max_length=30, max_ratio=1e6), **LANGUAGES}
    back_translate(model, text, tmp_path / "whole", **call)

    join = back_translation._join_parts

    def killed(*arguments):
        join(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(back_translation, "_join_parts", killed)
        back_translate(model, text, tmp_path / "out", **call)
    shutil.rmtree(tmp_path / "out.unfinished" / "parts")
    back_translate(model, text, tmp_path / "out", **call)
    assert corpus(tmp_path / "out") == corpus(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["mount point", "current folder"])
def test_a_folder_that_cannot_get_the_corpus_is_refused(model, text, tmp_path, monkeypatch, kind):
    (tmp_path / "out").mkdir()
    if kind == "current folder":
        monkeypatch.chdir(tmp_path / "out")
    else:
        monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"out cannot be replaced .* use a folder inside"):
        back_translate(model, text, tmp_path / "out", **LANGUAGES)
    assert os.listdir(tmp_path / "out") == []
    assert not (tmp_path / "out.unfinished").exists()


def test_errors_come_before_the_work(model, text, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "empty").touch()
    (tmp_path / "latin").write_bytes(b"a\n\xe4\n")
    for arguments, languages, error, message in (
        ((model, text, tmp_path / "full"), LANGUAGES, FileExistsError, "give a new folder"),
        ((model, tmp_path / "no", tmp_path / "out"), LANGUAGES, FileNotFoundError, "not exist"),
        ((model, tmp_path / "empty", tmp_path / "out"), LANGUAGES, ValueError, "is empty"),
        ((model, tmp_path / "latin", tmp_path / "out"), LANGUAGES, ValueError, "line 2: not UTF-8"),
        ((tmp_path, text, tmp_path / "out"), LANGUAGES, FileNotFoundError, "has no model"),
        (
            (model, text, tmp_path / "out"),
            {"source_language": "en", "target_language": "en"},
            ValueError,
            "are both 'en'",
        ),
    ):
        with pytest.raises(error, match=message):
            back_translate(*arguments, **languages)
        assert not (tmp_path / "out").exists()
    shortlist = BackTranslationOptions(shortlist=True)
    with pytest.raises(ValueError, match=r"The shortlist .* does not exist: learn one"):
        back_translate(model, text, tmp_path / "out", options=shortlist, **LANGUAGES)
    for options, message in (
        ({"beam_size": 2}, "options of a search"),
        ({"tag": "two words"}, "one word"),
        ({"max_ratio": 0.5}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            BackTranslationOptions(**options)
