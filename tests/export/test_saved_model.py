"""The SavedModel answers as the `Translator` does, whatever is asked together with what."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from questions import OPTIONS, TEXTS
from tensorflow_serving.apis import prediction_log_pb2

from keras_attn_nmt import Translator, files
from keras_attn_nmt.export import export_saved_model, saved_model
from keras_attn_nmt.shortlist import Shortlist
from keras_attn_nmt.translation import IMPOSSIBLE


@pytest.fixture(scope="module")
def signatures(served):
    return tf.saved_model.load(str(served)).signatures


@pytest.fixture(scope="module")
def translator(model_directory):
    return Translator.load(model_directory)


def ask(signature, **texts):
    inputs = {name: tf.constant(values, tf.string) for name, values in texts.items()}
    return {name: value.numpy() for name, value in signature(**inputs).items()}


def assert_answers(answers, row, wanted):
    assert answers["translation"][row].decode() == wanted.text
    np.testing.assert_allclose(answers["score"][row], wanted.score, atol=1e-4)
    length, width = len(wanted.target_tokens), len(wanted.source_tokens)
    assert answers["target_length"][row] == length
    pieces = [piece.decode() for piece in answers["target_tokens"][row]]
    assert pieces == wanted.target_tokens + [""] * (len(pieces) - length)
    np.testing.assert_allclose(
        answers["attention"][row][:length, :width], wanted.attention, atol=1e-5
    )
    np.testing.assert_allclose(
        answers["token_scores"][row][:length], wanted.token_scores, atol=1e-4
    )
    assert not answers["attention"][row][length:].any()
    assert not answers["attention"][row][:, width:].any()


def test_serving_default_answers_as_the_translator(signatures, translator):
    answers = ask(signatures["serving_default"], text=TEXTS)
    for row, wanted in enumerate(translator(TEXTS, **OPTIONS)):
        assert_answers(answers, row, wanted)
        pieces = [piece.decode() for piece in answers["source_tokens"][row] if piece]
        assert pieces == wanted.source_tokens
        assert answers["source_length"][row] == len(wanted.source_tokens)


@pytest.mark.usefixtures("checked_here")
def test_a_shortlist_goes_with_the_model(model_directory, tmp_path):
    directory = shutil.copytree(model_directory, tmp_path / "model")
    loaded = files.load_model(directory)
    tokenizers = loaded.source_tokenizer, loaded.target_tokenizer
    sizes = [each.vocabulary_size for each in tokenizers]
    candidates = np.random.default_rng(1).integers(4, sizes[1], (sizes[0], 3)).astype("int32")
    shortlist = Shortlist(candidates, np.array([5, 9], "int32"))
    shortlist.save(directory / files.SHORTLIST, *tokenizers)
    version = export_saved_model(directory, tmp_path / "served", **OPTIONS, shortlist=True)
    assert json.loads((version / saved_model.METADATA).read_text())["shortlist"]
    answers = ask(tf.saved_model.load(str(version)).signatures["serving_default"], text=TEXTS)
    translator = Translator.load(directory)
    wanted = translator(TEXTS, **OPTIONS, shortlist=True)
    for row, each in enumerate(wanted):
        assert_answers(answers, row, each)
    # It did choose from fewer.
    assert [each.text for each in wanted] != [each.text for each in translator(TEXTS, **OPTIONS)]


def test_translate_gives_the_same_without_the_rest(signatures):
    whole = ask(signatures["serving_default"], text=TEXTS)
    answers = ask(signatures["translate"], text=TEXTS)
    assert set(answers) == {"translation", "score"}
    assert (answers["translation"] == whole["translation"]).all()
    np.testing.assert_allclose(answers["score"], whole["score"], atol=1e-6)


def test_nbest_answers_as_the_translator(signatures, translator):
    answers = ask(signatures["nbest"], text=TEXTS)
    for row, hypotheses in enumerate(translator.nbest(TEXTS, **OPTIONS)):
        for place, wanted in enumerate(hypotheses):
            of_text = {name: value[row] for name, value in answers.items()}
            assert_answers(of_text, place, wanted)
        # Places that no hypothesis took.
        assert (answers["score"][row, len(hypotheses) :] == IMPOSSIBLE).all()


def test_score_answers_as_the_translator(signatures, translator):
    references = ["a house", "", "two little houses", "", "lake", "a  house "]
    answers = ask(signatures["score"], text=TEXTS, reference=references)
    scored = translator.score(TEXTS, references, length_penalty=OPTIONS["length_penalty"])
    for row, wanted in enumerate(scored):
        length, width = wanted.attention.shape
        np.testing.assert_allclose(answers["score"][row], wanted.score, atol=1e-4)
        assert answers["target_length"][row] == length
        np.testing.assert_allclose(
            answers["token_scores"][row][:length], wanted.token_scores, atol=1e-4
        )
        np.testing.assert_allclose(
            answers["attention"][row][:length, :width], wanted.attention, atol=1e-5
        )


def test_embed_answers_as_the_translator(signatures, translator):
    answers = ask(signatures["embed"], text=TEXTS)
    np.testing.assert_allclose(answers["embedding"], translator.embed(TEXTS), atol=1e-5)


def test_batch_mates_change_nothing(signatures):
    together = ask(signatures["serving_default"], text=[*TEXTS, "Haus " * 2000])
    for row, text in enumerate(TEXTS):
        alone = ask(signatures["serving_default"], text=[text])
        assert alone["translation"][0] == together["translation"][row]
        length, width = alone["attention"].shape[1:]
        np.testing.assert_allclose(
            alone["attention"][0], together["attention"][row][:length, :width], atol=1e-5
        )


def test_text_beyond_the_limit_is_not_translated_and_says_so(signatures):
    for name in ("serving_default", "score"):
        more = {"reference": ["a house", "a"]} if name == "score" else {}
        answers = ask(signatures[name], text=["e" * 10_000, "ein Haus"], **more)
        assert answers["score"][0] == IMPOSSIBLE
        assert answers["score"][1] > IMPOSSIBLE
    answers = ask(signatures["serving_default"], text=["e" * 10_000])
    assert answers["translation"][0] == b""
    assert answers["source_length"][0] > 1000


def test_warmup_requests_run(served, signatures):
    path = served / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(path)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answers = ask(signatures[request.model_spec.signature_name], **inputs)
        size = len(inputs["text"])
        assert all(len(value) == size for value in answers.values())
        seen.add((request.model_spec.signature_name, size))
    assert {name for name, _ in seen} == set(signatures)
    assert len({size for _, size in seen}) > 1


def test_what_is_written_is_the_weights_once_and_says_what_it_is(served, translator):
    # And the tied output weights once more, transposed.
    output = translator.model.get_layer("target_embedding").embeddings
    weights = 4 * (translator.model.count_params() + np.size(output))
    assert (served / "variables/variables.data-00000-of-00001").stat().st_size < 1.2 * weights
    metadata = json.loads((served / saved_model.METADATA).read_text())
    assert {key: metadata[key] for key in OPTIONS} == OPTIONS


def test_versions_are_never_replaced(model_directory, served):
    with pytest.raises(FileExistsError, match="versions are never replaced"):
        export_saved_model(model_directory, served.parent, version=1)


def test_a_model_that_fails_its_check_is_not_there(model_directory, served, tmp_path, monkeypatch):
    output = tmp_path / "served"
    shutil.copytree(served.parent, output)
    monkeypatch.setattr(
        saved_model,
        "_write",
        lambda files, options, unfinished, *_: shutil.copytree(
            served, unfinished, dirs_exist_ok=True
        ),
    )
    with pytest.raises(saved_model.ExportError, match="nbest: translation has shape"):
        export_saved_model(model_directory, output, **{**OPTIONS, "beam_size": 2})
    assert [path.name for path in output.iterdir()] == ["1"]


def test_a_damaged_model_directory_writes_nothing(model_directory, tmp_path):
    damaged = tmp_path / "model"
    shutil.copytree(model_directory, damaged)
    (damaged / "model.keras").write_bytes(b"no model")
    with pytest.raises(ValueError, match="is damaged"):
        export_saved_model(damaged, tmp_path / "served")
    assert not (tmp_path / "served").exists()
