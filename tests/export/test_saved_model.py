"""The SavedModel in a Session, as in TensorFlow Serving, equals `Translator`."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf
from questions import OPTIONS, TEXTS, assert_answers
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from keras_attn_nmt.export import (
    ExportError,
    export_saved_model,
    saved_model,
    saved_model_check,
    signatures,
    warmup,
)
from keras_attn_nmt.export.saved_model_check import SessionModel
from keras_attn_nmt.text.blank import BLANK
from keras_attn_nmt.text.special_ids import EOS
from keras_attn_nmt.translation import IMPOSSIBLE


def test_serving_default_equals_translator(session_model, translator):
    answers = session_model.run("serving_default", {"text": TEXTS})
    for row, wanted in enumerate(translator(TEXTS, **OPTIONS)):
        assert_answers(answers, row, wanted)
        pieces = [piece.decode() for piece in answers["source_tokens"][row] if piece]
        assert pieces == wanted.source_tokens
        assert answers["source_length"][row] == len(wanted.source_tokens)


def test_translate_equals_serving_default(session_model):
    whole = session_model.run("serving_default", {"text": TEXTS})
    answers = session_model.run("translate", {"text": TEXTS})
    assert set(answers) == {"translation", "score"}
    assert (answers["translation"] == whole["translation"]).all()
    np.testing.assert_allclose(answers["score"], whole["score"], atol=1e-6)


def test_nbest_equals_translator(session_model, translator):
    answers = session_model.run("nbest", {"text": TEXTS})
    for row, hypotheses in enumerate(translator.nbest(TEXTS, **OPTIONS)):
        for place, wanted in enumerate(hypotheses):
            of_text = {name: value[row] for name, value in answers.items()}
            assert_answers(of_text, place, wanted)
        # Unfilled beam positions.
        assert (answers["score"][row, len(hypotheses) :] == IMPOSSIBLE).all()


def test_score_equals_translator(session_model, translator):
    references = ["a house", "", "two little houses", "", "lake", "a  house "]
    answers = session_model.run("score", {"text": TEXTS, "reference": references})
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


def test_embed_equals_translator(session_model, translator):
    answers = session_model.run("embed", {"text": TEXTS})
    np.testing.assert_allclose(answers["embedding"], translator.embed(TEXTS), atol=1e-5)


def test_results_are_independent_of_batch_composition(session_model):
    together = session_model.run("serving_default", {"text": [*TEXTS, "Haus " * 2000]})
    for row, text in enumerate(TEXTS):
        single = session_model.run("serving_default", {"text": [text]})
        assert single["translation"][0] == together["translation"][row]
        length, width = single["attention"].shape[1:]
        np.testing.assert_allclose(
            single["attention"][0], together["attention"][row][:length, :width], atol=1e-5
        )


def test_too_long_text_has_impossible_score(session_model):
    for name in ("serving_default", "score"):
        more = {"reference": ["a house", "a"]} if name == "score" else {}
        answers = session_model.run(name, {"text": ["e" * 10_000, "ein Haus"], **more})
        assert answers["score"][0] == IMPOSSIBLE
        assert answers["score"][1] > IMPOSSIBLE
    answers = session_model.run("serving_default", {"text": ["e" * 10_000]})
    assert answers["translation"][0] == b""
    assert answers["source_length"][0] > 1000


def test_warmup_requests_run(served, session_model):
    seen = set()
    for request in warmup.read(served):
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answers = session_model.run(request.model_spec.signature_name, inputs)
        size = len(inputs["text"])
        assert all(len(value) == size for value in answers.values())
        seen.add((request.model_spec.signature_name, size))
    assert {name for name, _ in seen} == set(session_model.signatures)
    assert len({size for _, size in seen}) > 1


def test_concurrent_threads_get_sequential_results(session_model, translator):
    wanted = translator(TEXTS, **OPTIONS)

    def ask(row):
        return session_model.run("serving_default", {"text": [TEXTS[row]]})

    rows = [*range(len(TEXTS))] * 8
    with ThreadPoolExecutor(8) as threads:
        for row, answers in zip(rows, threads.map(ask, rows), strict=True):
            assert_answers(answers, 0, wanted[row])


@pytest.mark.parametrize(
    ("signature", "inputs", "message"),
    [
        ("speak", {"text": ["ein"]}, "Unknown signature 'speak'; the signatures are embed, nbest"),
        ("score", {"text": ["ein"]}, "takes reference, text, got text"),
        ("embed", {"txt": ["ein"]}, "takes text, got txt"),
    ],
)
def test_unknown_signature_or_input_is_rejected(session_model, signature, inputs, message):
    with pytest.raises(ValueError, match=message):
        session_model.run(signature, inputs)


def test_weights_are_stored_once_with_metadata(served, translator):
    # And the tied output weights once more, transposed.
    output = translator.model.get_layer("target_embedding").embeddings
    weights = 4 * (translator.model.count_params() + np.size(output))
    assert (served / "variables/variables.data-00000-of-00001").stat().st_size < 1.2 * weights
    metadata = json.loads((served / saved_model.METADATA).read_text())
    assert {key: metadata[key] for key in OPTIONS} == OPTIONS


def test_versions_are_never_replaced(model_directory, served):
    with pytest.raises(FileExistsError, match="versions are never replaced"):
        export_saved_model(model_directory, served.parent, version=1)


@pytest.mark.parametrize(
    ("output", "message"),
    [("gs://bucket/served", "is a URL; expected a local path"), ("a[b]", "contains a bracket")],
)
def test_folders_that_cannot_be_served_are_refused(
    model_directory, tmp_path, monkeypatch, output, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        export_saved_model(model_directory, output)
    assert not list(tmp_path.iterdir())


def with_a_warmup_request_that_fails(directory):
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "score"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(["ein Haus"]))
    request.inputs["reference"].CopyFrom(tf.make_tensor_proto(["a", "house"]))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    with tf.io.TFRecordWriter(str(directory / warmup.PATH)) as writer:
        writer.write(log.SerializeToString())


def with_half_of_its_weights(directory):
    path = directory / "variables/variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:2000])


def assert_refused(model_directory, versions, message):
    with pytest.raises(ExportError, match=message) as raised:
        export_saved_model(model_directory, versions, **OPTIONS)
    assert "\n" not in str(raised.value)
    assert [path.name for path in versions.iterdir()] == ["1"]


@pytest.mark.slow
def test_model_with_missing_weights_is_not_published(model_directory, versions, writes, expects):
    writes(with_half_of_its_weights)
    expects()
    message = "does not load into a Session: OutOfRangeError: Read less"
    assert_refused(model_directory, versions, message)


@pytest.mark.usefixtures("loaded_already")
def test_model_with_different_results_is_not_published(model_directory, versions, writes, expects):
    def of_another_beam(expected):
        shape = (1, OPTIONS["beam_size"] - 1)
        expected["nbest"] = {
            "translation": np.full(shape, b""),
            "score": np.zeros(shape, "float32"),
        }

    writes(lambda directory: None)
    expects(of_another_beam)
    assert_refused(model_directory, versions, "nbest: translation has shape")


@pytest.mark.usefixtures("loaded_already")
def test_model_with_failing_warmup_is_not_published(model_directory, versions, writes, expects):
    writes(with_a_warmup_request_that_fails)
    expects()
    assert_refused(model_directory, versions, "warm-up request: score: Inv.*must have equal length")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "warm-up requests cannot be read: NotFoundError"),
        (b"no record" * 10, "warm-up requests cannot be read: DataLossError"),
        (b"", "warm-up request: embed has none"),
    ],
)
def test_missing_warmup_requests_are_detected(session_model, tmp_path, content, message):
    path = tmp_path / warmup.PATH
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    found = saved_model_check.warmup_failures(session_model, tmp_path)
    assert found[0].startswith(message)


@pytest.mark.usefixtures("checked_here")
def test_variables_not_restored_by_a_session_are_detected(
    model_directory, tmp_path, monkeypatch, expects
):
    class OfKeras(signatures.ServedTranslator):
        """`tf.saved_model.load` finds the variables of Keras, a Session does not."""

        def __init__(self, files, *rest):
            super().__init__(files, *rest)
            self.variables_of_model = files[0].model.weights

        def signatures(self):
            return {"embed": super().signatures()["embed"]}  # The quickest to write.

    def of_vectors(expected):
        del expected["translate"]
        expected["embed"] = {"source_length": np.array([0])}

    expects(of_vectors)
    monkeypatch.setattr(saved_model, "ServedTranslator", OfKeras)
    with pytest.raises(ExportError, match="FailedPreconditionError: Could not find variable"):
        export_saved_model(model_directory, tmp_path / "served", **OPTIONS)
    assert not (tmp_path / "served").exists()


class OneRequestAtATime(tf.Module):
    """Keeps the request in a variable, where that of another thread overwrites it."""

    def __init__(self):
        super().__init__()
        self.lengths = tf.Variable(tf.zeros([3], tf.int32))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")], autograph=False)
    def measure(self, text):
        kept = self.lengths.assign(tf.strings.length(text))
        with tf.control_dependencies([kept]):
            # Time for others to come in between.
            waited = tf.while_loop(lambda i: i < 10_000, lambda i: [i + 1], [tf.constant(0)])
        with tf.control_dependencies(waited):
            return {"length": self.lengths.read_value()}


def test_thread_dependent_results_are_detected(tmp_path):
    module = OneRequestAtATime()
    tf.saved_model.save(module, str(tmp_path), signatures={"measure": module.measure})
    model = SessionModel(tmp_path, saved_model_check.THREADS)
    texts = np.array([b"ein", b"Haus", b"am See"])
    lengths = np.array([3, 4, 6], "int32")
    expected = {"input/text": texts, "measure/length": lengths}
    found = saved_model_check.differences(model, expected)
    model.close()
    assert found == ["with 8 concurrent threads, measure: length differs"]


def test_check_ends_with_its_parent(tmp_path, monkeypatch):
    done = subprocess.run(
        [sys.executable, saved_model_check.__file__, "missing", "missing"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    # The standard input of the check stays open as long as its parent waits for it.
    program = tmp_path / "check.py"
    program.write_text("import select, sys\nsys.exit(bool(select.select([0], [], [], 0.1)[0]))\n")
    monkeypatch.setattr(saved_model_check, "__file__", str(program))
    saved_model._check(tmp_path, {})


def test_damaged_model_directory_exports_nothing(model_directory, tmp_path):
    damaged = tmp_path / "model"
    shutil.copytree(model_directory, damaged)
    (damaged / "model.keras").write_bytes(b"no model")
    with pytest.raises(ValueError, match="is damaged"):
        export_saved_model(damaged, tmp_path / "served")
    assert not (tmp_path / "served").exists()


TYPED = "zwei kleine Ha\u0308u\u00adser am See"
BLANKS = [*BLANK, "\x0b \x85", "\u3000\u200b\ufeff"]


def test_unnormalized_and_blank_texts_equal_translator(session_model, translator):
    answers = session_model.run("serving_default", {"text": [TYPED, *BLANKS]})
    (wanted,) = translator([TYPED], **OPTIONS)
    assert wanted.text == translator(["zwei kleine Häuser am See"], **OPTIONS)[0].text
    assert answers["translation"][0].decode() == wanted.text
    assert (answers["source_length"][1:] == 0).all()
    assert not any(each.source_tokens for each in translator(BLANKS, **OPTIONS))


def test_texts_of_foreign_vocabularies_begin_as_those_of_the_tokenizer(foreign_vocabulary):
    tokenizer = foreign_vocabulary()
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    space, word = names.index("▁"), next(i for i, each in enumerate(names) if each.isalpha())
    for ids in ([space, word], [space, space, word], [space, space], [word, space, word]):
        row = tf.constant([[[*ids, EOS]]])
        found = signatures._TextSide(tokenizer).text(row, tf.constant([[len(ids) + 1]]))
        assert found.numpy()[0, 0].decode() == tokenizer.decode([ids])[0]


CLUSTERED = """
import sys
import tensorflow as tf
import tensorflow_text
served = tf.saved_model.load(sys.argv[1]).signatures
texts = tf.constant(["ein Haus", "", "zwei kleine Häuser am See"])
for rows in (1, 1, 3, 3):
    for name in ("translate", "nbest"):
        found = served[name](text=texts[:rows])["translation"].numpy().ravel()
        sys.stdout.buffer.write(b"|".join(found) + b"\\n")
"""


@pytest.mark.slow
def test_automatic_clustering_changes_nothing(served):
    """Also for sizes that come again, for which it first compiles."""
    outputs = [
        subprocess.run(
            [sys.executable, "-c", CLUSTERED, str(served)],
            env={**os.environ, "TF_XLA_FLAGS": flags},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for flags in ("", "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"\n") == 8
