"""Translator and model directory, on a small model with random weights."""

import gc
import json
import multiprocessing
import os
import subprocess
import sys
import warnings
import weakref

import keras
import numpy as np
import pytest
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import model_directory, processes, writing
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.searches import MOST_KEPT
from keras_attn_nmt.model import build_model
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import MAX_SOURCE_LENGTH
from keras_attn_nmt.translator import Translator


@pytest.fixture(scope="module")
def loaded() -> model_directory.ModelFiles:
    return tiny_files()


@pytest.fixture(scope="module")
def translator(loaded) -> Translator:
    return Translator(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer)


@pytest.fixture
def directory(loaded, tmp_path):
    model_directory.save_model(tmp_path / "model", loaded)
    return tmp_path / "model"


def test_translations_include_attention(translator):
    for text, found in zip(TEXTS, translator(TEXTS, beam_size=3), strict=True):
        shape = (len(found.target_tokens), len(found.source_tokens))
        assert found.attention.shape == shape
        assert found.token_scores.shape == shape[:1]
        if text.strip():
            assert found.source_tokens[-1] == "</s>"
            np.testing.assert_allclose(found.attention.sum(1), 1, atol=1e-5)
        else:
            assert (found.text, found.score, shape) == ("", 0.0, (0, 0))


def test_translations_are_independent_of_batch_composition(translator):
    together = translator(TEXTS, beam_size=3, batch_size=2)
    for text, found in zip(TEXTS, together, strict=True):
        (single,) = translator([text], beam_size=3)
        assert single.text == found.text
        assert single.score == pytest.approx(found.score, abs=1e-4)
        np.testing.assert_allclose(single.attention, found.attention, atol=1e-5)


def test_score_equals_search_score(translator):
    # Of many hypotheses, some have ended and are spelled as the tokeniser would spell them.
    (hypotheses,) = translator.nbest(["zwei Häuser"], beam_size=200, max_length=4)
    texts = [each.text for each in hypotheses]
    scored = translator.score(["zwei Häuser"] * len(texts), texts)
    same = [
        (found, forced)
        for found, forced in zip(hypotheses, scored, strict=True)
        if found.complete and found.target_tokens == forced.target_tokens
    ]
    assert same
    for found, forced in same:
        assert forced.score == pytest.approx(found.score, abs=1e-4)
        np.testing.assert_allclose(forced.attention, found.attention, atol=1e-5)


def test_generators_are_scored(translator):
    sides = [["ein Haus", "See"], ["a house", "lake"]]
    (wanted, _), (found, _) = translator.score(*sides), translator.score(*map(iter, sides))
    assert found.score == wanted.score


def test_functions_of_former_options_are_freed(loaded):
    searches = Translator(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer)._searches
    options = [SearchOptions(length_penalty=i / 10) for i in range(MOST_KEPT + 1)]
    first = weakref.ref(searches.search(options[0], False))
    assert searches.search(options[0], False) is first()
    for each in options[1:]:
        searches.search(each, False)
    gc.collect()
    assert first() is None


def test_translator_uses_updated_model_weights(loaded):
    model = build_model(loaded.config)
    translator = Translator(model, loaded.source_tokenizer, loaded.target_tokenizer)
    before = translator.embed(["ein Haus"])
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    assert np.abs(translator.embed(["ein Haus"]) - before).max() > 1e-3


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("nbest", {"beam_size": 1}),
        ("nbest", {}),
        ("sample", {}),
        ("score", {"references": ["ein"]}),
    ],
)
def test_a_model_that_diverged_has_no_translations(method, arguments):
    files = tiny_files()
    bias = files.model.trainable_variables[-1]
    bias.assign(np.full(bias.shape, np.nan))
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    with pytest.raises(ValueError, match=r"logits of the model are NaN .* diverged in"):
        getattr(translator, method)(["ein Haus"], **arguments)


def test_an_encoder_that_diverged_has_no_sentence_vectors():
    files = tiny_files()
    embedding = files.model.get_layer("source_embedding").embeddings
    embedding.assign(np.full(embedding.shape, np.nan))
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    with pytest.raises(ValueError, match=r"sentence vector is NaN.* diverged in"):
        translator.embed(["ein Haus"])


def test_complete_is_false_for_cut_translations(translator):
    (hypotheses,) = translator.nbest(["ein Haus"], beam_size=200, max_length=4)
    assert {each.complete for each in hypotheses} == {True, False}
    for each in hypotheses:
        assert each.complete == (each.target_tokens[-1] == "</s>")
    assert translator([""])[0].complete


def test_nbest_is_sorted_and_distinct(translator):
    (hypotheses,) = translator.nbest(["ein Haus"], beam_size=4, max_length=6)
    assert len(hypotheses) == 4
    assert sorted((each.score for each in hypotheses), reverse=True) == [
        each.score for each in hypotheses
    ]
    assert len({tuple(each.target_tokens) for each in hypotheses}) == 4
    assert len(translator.nbest([""], beam_size=4)[0]) == 1


def test_empty_list_gives_no_translations(translator):
    assert translator([]) == []
    assert translator.embed([]).shape == (0, 10)


def test_embeddings_are_independent_of_batch_composition(translator):
    together = translator.embed(TEXTS)
    assert together.shape == (len(TEXTS), 10)
    np.testing.assert_allclose(translator.embed(TEXTS[2:3])[0], together[2], atol=1e-6)
    assert not together[1].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_size": 0}, "beam_size must be a whole number of at least 1, got 0"),
        ({"length_penalty": -1}, "length_penalty must be a finite number of at least 0"),
        ({"length_penalty": float("inf")}, "length_penalty must be a finite number of at least 0"),
        ({"max_length": 0}, "max_length"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_options_out_of_range_are_rejected(translator, options, message):
    with pytest.raises(ValueError, match=message):
        translator(["ein"], **options)


def test_invalid_texts_are_rejected(translator):
    with pytest.raises(ValueError, match="wrap the text in a list"):
        translator("ein Haus")
    with pytest.raises(ValueError, match=f"Text 1 has .* the limit is {MAX_SOURCE_LENGTH}"):
        translator(["ein " * MAX_SOURCE_LENGTH])
    with pytest.raises(ValueError, match="2 texts and 1 references"):
        translator.score(["a", "b"], ["c"])


def test_loaded_model_equals_saved_model(loaded, translator, directory):
    again = Translator.load(directory)
    for before, after in zip(translator(TEXTS), again(TEXTS), strict=True):
        assert after.text == before.text
        assert after.score == pytest.approx(before.score, abs=1e-5)
    # The .keras file also loads by itself in safe mode.
    assert keras.saving.load_model(directory / "model.keras", safe_mode=True).name


def test_model_loads_and_translates_where_warnings_are_errors(translator, directory):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Translator.load(directory)(TEXTS)
    assert [each.text for each in found] == [each.text for each in translator(TEXTS)]


def test_half_precision_model_loads_in_float32(loaded, directory, tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = build_model(loaded.config)
        half.set_weights(loaded.model.get_weights())
        model_directory.save_model(tmp_path / "half", loaded._replace(model=half))
        assert Translator.load(tmp_path / "half").model.get_layer("decoder").compute_dtype == (
            "float32"
        )
        # The model in training can translate as well.
        during = Translator(half, loaded.source_tokenizer, loaded.target_tokenizer)
        assert during(["ein Haus"], beam_size=2)[0].target_tokens
    finally:
        keras.config.set_dtype_policy("float32")


def test_missing_and_damaged_files_are_named(directory, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"The model directory .* does not exist"):
        model_directory.load_model(tmp_path / "none")
    (directory / "model.keras").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"model\.keras is damaged or does not match"):
        model_directory.load_model(directory)
    (directory / "source.spm").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"source\.spm"):
        model_directory.load_model(directory)
    (directory / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not a model config"):
        model_directory.load_model(directory)
    (directory / "target.spm").unlink()
    with pytest.raises(FileNotFoundError, match=r"target\.spm missing"):
        model_directory.load_model(directory)


def test_vocabulary_of_another_model_is_rejected(directory):
    Tokenizer.learn(["etwas ganz anderes"], 290).save(directory / "target.spm")
    with pytest.raises(ValueError, match="does not belong to this model"):
        model_directory.load_model(directory)


def test_other_vocabulary_of_the_same_size_is_rejected(directory):
    path = directory / "config.json"
    values = json.loads(path.read_text())
    values["vocabularies"]["target.spm"] = "0" * 64
    path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"target\.spm .* does not belong to this model"):
        model_directory.load_model(directory)


def test_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "config.json"
    writing.write_text(path, "old")
    with pytest.raises(OSError, match="full"), writing.atomic_write(path) as temporary:
        temporary.write_text("half of the n")
        raise OSError("disk full")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]


def test_copy_is_a_search_option(loaded):
    tokenizer = Tokenizer.learn(["ein Haus am See"] * 3, 30, byte_fallback=False)
    size = tokenizer.vocabulary_size
    model = build_model(ModelConfig(size, size, embedding_units=6, encoder_units=5))
    # Nothing but unknown pieces.
    model.get_layer("target_embedding").bias.assign([0, 0, -50, 50] + [0] * (size - 4))
    unknowing = Translator(model, tokenizer, tokenizer)
    (plain,) = unknowing(["Łódź"], max_length=3)
    (found,) = unknowing(["Łódź"], max_length=3, copy=True)
    assert plain.target_tokens == found.target_tokens == ["<unk>"] * 3
    assert found.text == "Łódź"
    assert plain.text != found.text
    # It would replace the words of phrases, which are found before.
    with pytest.raises(ValueError, match="copy=True is not available with a glossary"):
        unknowing(["Łódź"], constraints=[["See"]], copy=True)


def test_translations_hold_no_batch_padding(translator):
    texts = ["ein", *["zwei Häuser am See " * 20]]
    for found in (translator(texts), translator.score(texts, ["a", "a house"])):
        for each in found:
            assert each.attention.base is None
            assert each.token_scores.base is None
            size = 4 * len(each.target_tokens) * (len(each.source_tokens) + 1)
            assert each.attention.nbytes + each.token_scores.nbytes == size


def test_forked_process_gets_an_instructive_error(translator, directory):
    def ask(connection):
        for use in (
            lambda: translator.nbest(["ein"]),
            lambda: translator.score(["a"], ["a"]),
            lambda: translator.embed(["a"]),
            # A model that is loaded here would wait for the parent's threads, too.
            lambda: Translator.load(directory)(["ein"]),
        ):
            try:
                use()
            except RuntimeError as error:
                connection.send(str(error))

    translator(["ein"])
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    process = context.Process(target=ask, args=[there])
    process.start()
    try:
        for _ in range(4):
            assert here.poll(60), "no answer"
            assert "was forked from process" in here.recv()
    finally:
        process.kill()
        process.join()


def test_failed_load_does_not_prevent_forking(monkeypatch, directory):
    monkeypatch.setattr(processes, "_first", [])
    (directory / "source.spm").unlink()
    with pytest.raises(FileNotFoundError):
        Translator.load(directory)
    monkeypatch.setattr(processes.os, "getpid", lambda: -1)  # As in a fork.
    with pytest.raises(FileNotFoundError):
        Translator.load(directory)


@pytest.mark.slow
def test_first_model_can_be_loaded_after_a_fork(directory):
    program = """
import multiprocessing, sys
from keras_attn_nmt import Translator

def child():
    print(Translator.load(sys.argv[1])(["ein Haus"])[0].target_tokens, flush=True)

process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
process.start()
process.join(120)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "[" in done.stdout, done.stderr


@pytest.mark.slow
def test_jax_compiles_few_shapes(directory):
    program = """
import sys, jax
from keras_attn_nmt import Translator
from keras_attn_nmt.decoding import batches
events = []
jax.monitoring.register_event_duration_secs_listener(lambda name, *_, **__: events.append(name))

def compiled():
    return sum("backend_compile" in name for name in events)

translator = Translator.load(sys.argv[1])
texts = ["ein Haus", "zwei", "am See", "kleine Haeuser", "ein", "See", "zwei Haeuser"]
wanted = [each.text for each in translator(texts)]
before = compiled()
assert before
for count in (5, 6, 8):  # Rows are padded to 8, as they were for seven.
    assert [each.text for each in translator((texts * 2)[:count])] == (wanted * 2)[:count]
print(compiled() - before)
# No more rows than a batch has, though the next power of two is 4.
assert batches.pad([[1]] * 3, 3).shape[0] == 3
"""
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"
