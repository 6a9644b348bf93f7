"""The speed that an evaluation reports, and references that BLEU cannot measure."""

import logging
import unicodedata
from unittest import mock
from urllib.error import URLError

import keras
import pytest

from keras_attn_nmt import Glossary
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.callbacks import ValidationBleu
from keras_attn_nmt.training.evaluation import (
    check_references,
    corpus_scores,
    sentence_scores,
    timed,
    translate_and_score,
)
from keras_attn_nmt.training.phone_errors import error_rates
from keras_attn_nmt.training.significance import paired_bootstrap
from keras_attn_nmt.training.tuning import measure_translations
from keras_attn_nmt.translation import Translation

JAPANESE = ["私は学生です。", "彼は東京に住んでいます。", "これは 本 です か 。"]


@pytest.mark.parametrize(("backend", "before"), [("tensorflow", 1), ("jax", 3)])
def test_compilation_is_not_timed(backend, before, monkeypatch):
    calls = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    found, seconds = timed(lambda texts, **_: calls.append(texts) or texts, "abc", beam_size=2)
    assert [len(texts) for texts in calls] == [before, 3]
    assert found == ["a", "b", "c"]
    assert seconds >= 0


@pytest.mark.parametrize(
    "terms",
    [{"glossary": Glossary({"Hund": "hound"})}, {"constraints": [[], [], ["hound"], ["hound"]]}],
)
def test_tracing_of_a_constrained_search_is_not_timed(terms, monkeypatch):
    calls = []
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    texts = ["ein Haus", "eins", "ein Hund", "Hund"]
    timed(lambda texts, **options: calls.append((texts, options)) or texts, texts, **terms)
    before, timed_call = calls
    assert before[0] == ["ein Haus", "ein Hund"]
    assert before[1].get("constraints") == ([[], ["hound"]] if "constraints" in terms else None)
    assert timed_call == (texts, terms)


@pytest.mark.parametrize("references", [JAPANESE[:2], ["two apples", "three red houses"]])
def test_nothing_is_chosen_by_a_bleu_of_zero(references):
    uses = (
        lambda: measure_translations(None, references, references),
        lambda: measure_translations(None, references, [references, references]),
    )
    for use in uses:
        with pytest.raises(ValueError, match=r"0 of \d references for the tokeniser 13a\. Choose"):
            use()
    measure_translations(None, references, references, metric="chrf")
    # Exact translations have no score, and longer ones may have one.
    assert corpus_scores(references, references)["bleu"]["score"] == 0


def test_references_that_are_mostly_too_short_for_bleu_are_named(caplog):
    check_references(JAPANESE[1:], "13a")
    check_references(JAPANESE, "char")
    assert not caplog.records
    check_references([["a b c d", "x y z w"], ["a b c e", None]], "13a")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_references(JAPANESE, "13a")
        ValidationBleu(None, JAPANESE[:2], JAPANESE[:2])
    with pytest.raises(ValueError, match="Got 2 references for 3 sources"):
        ValidationBleu(None, JAPANESE, JAPANESE[:2])
    assert ["1 of 3 references" in caplog.text, "0 of 2 references" in caplog.text] == [True, True]


def test_texts_that_look_the_same_are_the_same(caplog):
    composed = ["một hai ba bốn năm", "sáu bảy tám chín mười"]
    references = [unicodedata.normalize("NFD", composed[0]), composed[1].replace("y", "y\u200b")]
    translations = [Translation(text, 0.0, [], [], [], []) for text in composed]
    translator = mock.Mock(return_value=translations, search=SearchOptions())
    found, _ = translate_and_score(translator, composed, [references, [None, None]])
    assert found["bleu"]["score"] == pytest.approx(100)
    assert (found["chrf"]["score"], found["exact_match"]) == (100, 1)
    assert "2 of 2 references have decomposed or invisible characters" in caplog.text
    for each in sentence_scores(references, composed):
        assert each["chrf"] == 100
    assert paired_bootstrap(references, composed, composed, samples=2)["chrf"]["score"] == 100
    assert error_rates(composed, [[each] for each in references])["word_error_rate"] == 0


def test_training_by_a_bleu_that_measures_nothing_is_refused(tmp_path, monkeypatch, caplog):
    words = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four"}
    (tmp_path / "words.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in words.items()) * 5)
    sizes = ["vocabulary.source_size=280", "vocabulary.target_size=280", "model.encoder_units=4"]
    files = [f"data.{name}={tmp_path / 'words.tsv'}" for name in ("train", "validation")]
    (tmp_path / "words.toml").write_text("[data]\ncorpus = 'tsv'\n")

    def begin(*overrides):
        recipe = load_recipe(tmp_path / "words.toml", [*files, *sizes, *overrides])
        train(recipe, tmp_path / "run", quiet=True)

    monkeypatch.setattr(keras.Model, "fit", mock.Mock(side_effect=InterruptedError))
    with pytest.raises(ValueError, match="Unknown tokeniser 'foo'"):
        loss = ["training.monitor=val_loss", "training.bleu_sentences=0"]
        begin("training.bleu_tokenize=foo", *loss)
    with pytest.raises(ValueError, match="Unknown tokeniser 'foo'"):
        begin("training.bleu_tokenize=foo")
    assert not (tmp_path / "run" / "source.spm").exists()
    with pytest.raises(ValueError, match="0 of 20 references for the tokeniser 13a"):
        begin()
    caplog.clear()
    with pytest.raises(InterruptedError):
        begin("training.monitor=val_loss")
    assert "0 of 20 references for the tokeniser 13a" in caplog.text


def test_a_tokeniser_that_cannot_be_downloaded_is_named(monkeypatch):
    download = "sacrebleu.tokenizers.tokenizer_spm.download_file"
    monkeypatch.setattr(download, mock.Mock(side_effect=URLError("no network")))
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_spm.SACREBLEU_DIR", "absent")
    with pytest.raises(ValueError, match=r"'flores200' cannot be used.*no network>\)\. Try again"):
        check_references(["eins"], "flores200")
