"""Given SentencePiece models in recipes."""

import hashlib
import logging

import pytest
import sentencepiece

from keras_attn_nmt import model_directory
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.corpora import from_pairs
from keras_attn_nmt.training.recipe import VocabularyRecipe
from keras_attn_nmt.training.vocabularies import load_given, make_tokenizers
from keras_attn_nmt.translator import Translator

PAIRS = [("ein Haus am See", "one house at the lake"), ("zwei Häuser", "two houses")] * 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, column in (("de", 0), ("en", 1)):
        (folder / f"train.{name}").write_text("\n".join(pair[column] for pair in PAIRS) + "\n")
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / f"train.{name}"),
            model_prefix=str(folder / name),
            vocab_size=60,
            hard_vocab_limit=False,
            minloglevel=2,
        )
    return folder


def tokenizers(**settings):
    vocabulary = VocabularyRecipe(**settings)
    return make_tokenizers(vocabulary, from_pairs(PAIRS), load_given(vocabulary))


def test_one_side_is_given_and_the_other_learned(folder, caplog):
    caplog.set_level(logging.INFO)
    source, target = tokenizers(source_model=str(folder / "de.model"), target_size=280)
    assert source.digest == Tokenizer.from_sentencepiece(folder / "de.model").digest
    assert target.decode(target.encode(["two  houses"])) == ["two  houses"]
    assert f"source vocabulary: {source.vocabulary_size} pieces of" in caplog.text
    assert "learning the vocabularies" in caplog.text
    assert "<unk>" not in caplog.text


def test_shared_model_is_one_tokenizer_and_unknown_pieces_are_reported(folder, caplog):
    source, target = tokenizers(source_model=str(folder / "de.model"), shared=True)
    assert source is target
    assert "pieces are <unk> with" in caplog.text
    assert "the model of another language" in caplog.text


def test_missing_and_wrong_files(folder):
    with pytest.raises(FileNotFoundError, match=r"\(vocabulary\.target_model\) does not exist"):
        tokenizers(target_model=str(folder / "none.model"))
    with pytest.raises(ValueError, match=r"\(vocabulary\.source_model\) is a folder"):
        tokenizers(source_model=str(folder))
    with pytest.raises(ValueError, match=r"vocabulary\.source_model: .*the \.model file beside"):
        tokenizers(source_model=str(folder / "de.vocab"))


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        (["vocabulary.source_model=a", "vocabulary.source_size=7000"], "source_size"),
        (["vocabulary.target_model=a", "vocabulary.target_size=7000"], "target_size"),
        (["vocabulary.shared=true", "vocabulary.target_model=a"], "target_model"),
        (
            [
                "vocabulary.source_model=a",
                "vocabulary.target_model=a",
                "vocabulary.model_type=bpe",
            ],
            "model_type",
        ),
    ],
)
def test_settings_of_learning_are_refused_with_given_models(overrides, setting):
    with pytest.raises(ValueError, match=rf"The override: vocabulary\.{setting} has no effect"):
        load_recipe("phrases", overrides)


def test_a_vocabulary_that_is_too_small_is_named_as_in_the_recipe(folder):
    message = (
        r"^vocabulary\.target_size=262 is too small .*raise vocabulary\.target_size, or lower "
    )
    with pytest.raises(ValueError, match=message + r"vocabulary\.character_coverage"):
        tokenizers(source_model=str(folder / "de.model"), target_size=262)


def test_mistakes_cost_no_time(folder, tmp_path):
    recipe = load_recipe("multi30k", ["vocabulary.source_model=nowhere/spm.model"])
    with pytest.raises(FileNotFoundError, match=r"nowhere/spm\.model"):
        train(recipe, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_training_with_given_models_and_resume_without_them(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    models = {side: (folder / f"{side}.model").read_bytes() for side in ("de", "en")}
    recipe = load_recipe(
        "phrases",
        [
            "data.corpus=lines",
            "data.size=0",
            "data.validation=train",
            "vocabulary.source_model=de.model",
            "vocabulary.target_model=en.model",
            *(f"model.{name}_units=8" for name in ("embedding", "encoder", "decoder", "attention")),
            *("training.epochs=2", "training.tokens_per_batch=512", "training.bleu_sentences=4"),
        ],
    )
    whole = train(recipe, tmp_path / "whole", quiet=True)
    digests = {side: each["sha256"] for side, each in whole["vocabulary_files"].items()}
    assert digests == {
        "source": hashlib.sha256(models["de"]).hexdigest(),
        "target": hashlib.sha256(models["en"]).hexdigest(),
    }
    assert Translator.load(tmp_path / "whole")(["ein Haus"])[0].target_tokens
    assert Tokenizer.load(tmp_path / "whole" / model_directory.TARGET).pieces([0]) == ["<pad>"]

    # Resuming reads the vocabularies of the directory.
    for side in models:
        (folder / f"{side}.model").unlink()
    try:
        again = train(recipe, tmp_path / "whole", resume=True, quiet=True)
    finally:
        for side, content in models.items():
            (folder / f"{side}.model").write_bytes(content)
    assert again["vocabulary_files"] == whole["vocabulary_files"]
