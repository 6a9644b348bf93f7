"""The client gives the same results as `Translator` over REST and gRPC, despite server errors."""

import collections
import concurrent.futures
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from questions import OPTIONS, TEXTS
from serving_double import ModelServer
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_attn_nmt import Constraint, Glossary
from keras_attn_nmt.export import TranslationClient, client, saved_model_check
from keras_attn_nmt.translation import TextTooLong


@pytest.fixture(scope="module")
def server(served, double, tmp_path_factory):
    """The real server where there is one, else the stand-in."""
    program = shutil.which("tensorflow_model_server")
    if program is None:
        yield double
        return
    directory = tmp_path_factory.mktemp("versions")
    shutil.copytree(served, directory / "1")
    with ModelServer([program], directory, "small") as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def connect(request, server):
    return connector(server, request.param)


@pytest.fixture(params=["rest", "grpc"])
def connect_double(request, double):
    return connector(double, request.param)


def connector(server, protocol):
    address = server.rest_address if protocol == "rest" else server.grpc_address
    return lambda **options: TranslationClient(address, options.pop("model", "small"), **options)


def assert_same(got, wanted):
    assert got.text == wanted.text
    assert got.source_tokens == wanted.source_tokens
    assert got.target_tokens == wanted.target_tokens
    np.testing.assert_allclose(got.score, wanted.score, atol=1e-4)
    np.testing.assert_allclose(got.token_scores, wanted.token_scores, atol=1e-4)
    assert got.attention.shape == wanted.attention.shape
    np.testing.assert_allclose(got.attention, wanted.attention, atol=1e-5)


def test_translations_equal_translator(connect, translator):
    for got, wanted in zip(connect()(TEXTS), translator(TEXTS, **OPTIONS), strict=True):
        assert_same(got, wanted)


def test_nbest_equals_translator(connect, translator):
    wanted = translator.nbest(TEXTS, **OPTIONS)
    for got, expected in zip(connect().nbest(TEXTS), wanted, strict=True):
        for pair in zip(got, expected, strict=True):
            assert_same(*pair)


def test_protected_text_and_markup_equal_translator(connect, translator):
    texts = ["ein <b>Haus</b>", "", "zwei kleine {name} am <x id='1'/> See &amp; mehr"]
    options = {"protect": ["defaults"], "markup": True}
    wanted = translator(texts, **OPTIONS, **options)
    assert all(each in wanted[2].text for each in ("{name}", "<x id='1'/>"))
    for got, expected in zip(connect()(texts, **options), wanted, strict=True):
        assert_same(got, expected)
    assert connect().nbest(texts, **options)[2][0].text == wanted[2].text
    with pytest.raises(ValueError, match="Text 1: <b> in column 1 is not closed"):
        connect()(["<b>ein"], **options)


def test_glossary_equals_translator(connect, translator, caplog):
    options = {"glossary": Glossary({"Haus": ["lake", "by"], "See": "two"})}
    wanted = translator(TEXTS, **OPTIONS, **options)
    assert [each.text for each in wanted] != [each.text for each in translator(TEXTS, **OPTIONS)]
    for got, expected in zip(connect()(TEXTS, **options), wanted, strict=True):
        assert_same(got, expected)
    phrases = [["house"], [], [], [], [], ["by " * 20]]
    found = connect()(TEXTS, constraints=phrases)
    assert "house" in found[0].text
    assert "1 phrases are missing in the translations" in caplog.text
    connect()(["ein Haus"], constraints=[[Constraint(["by", "lake", "two", "house", "a"])]])
    assert "1 constraints have more than 4 phrases, of which the first 4 count" in caplog.text


def test_model_without_constraints_is_named(connect_double, monkeypatch):
    monkeypatch.setattr(client, "CONSTRAINED", "unknown")
    with pytest.raises(ValueError, match="export saved-model --constraints"):
        connect_double()(TEXTS, constraints=[["house"]] * len(TEXTS))


def test_paragraphs_equal_translator(connect, translator):
    pytest.importorskip("sentencex", reason="needs the extra text")
    texts = ["Ein Haus.  Ein <b>See. Am\nSee</b>", ""]
    wanted = translator.paragraphs(texts, "de", markup=True, **OPTIONS)
    found = connect().paragraphs(texts, "de", markup=True)
    assert [each.text for each in found] == [each.text for each in wanted]
    assert [len(each.sentences) for each in found] == [4, 0]
    with pytest.raises(TextTooLong, match="Text 2 has"):
        connect().paragraphs(["Ein Haus.", "Ein See. " + "ein " * 1001], "de")


def test_scores_and_embeddings_equal_translator(connect, translator):
    references = ["a house", "", "two little houses", "", "lake", "a  house "]
    scored = translator.score(TEXTS, references, length_penalty=OPTIONS["length_penalty"])
    for got, wanted in zip(connect().score(TEXTS, references), scored, strict=True):
        assert_same(got, wanted)
    np.testing.assert_allclose(connect().embed(TEXTS), translator.embed(TEXTS), atol=1e-5)


def test_texts_are_sent_in_batches(connect_double, double):
    before = double.requests
    found = connect_double(batch_size=4)([*TEXTS, *TEXTS])
    assert double.requests == before + 3
    assert [each.text for each in found[:6]] == [each.text for each in found[6:]]
    assert connect_double()([]) == []


def test_unavailable_server_is_retried(connect_double, double):
    double.unavailable = 2
    assert len(connect_double()(["ein Haus"])) == 1
    double.unavailable = 3
    with pytest.raises(ConnectionError, match="not available, 2 times"):
        connect_double(retries=1)(["ein Haus"])
    double.unavailable = 0


def test_version_is_selected_by_number(connect_double, double):
    newest = max(int(path.name) for path in double.directory.iterdir())
    assert len(connect_double(version=newest)(["ein Haus"])) == 1
    with pytest.raises(ValueError, match="not found"):
        connect_double(version=newest + 1)(["ein Haus"])


def test_unexpected_response_is_an_error(double):
    class Other(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("localhost", 0), Other) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(ValueError, match="did not return a TensorFlow Serving response"):
            TranslationClient(f"http://localhost:{server.server_port}", "small")(["ein Haus"])
        server.shutdown()


def test_other_errors_are_not_retried(connect_double, double):
    before = double.requests
    with pytest.raises(ValueError, match="not found"):
        connect_double(model="other")(["ein Haus"])
    assert double.requests == before + 1


def test_timeout_is_an_error(connect_double, double):
    double.delay = 5.0
    try:
        with pytest.raises(TimeoutError):
            connect_double(timeout=0.3)(["ein Haus"])
    finally:
        double.delay = 0.0


def test_too_long_text_is_named(connect):
    with pytest.raises(TextTooLong, match=r"Text 2 has 10\d+ tokens, the limit is 1000"):
        connect(batch_size=1)(["ein", "e" * 10_000])
    with pytest.raises(TextTooLong, match=r"Text 2 has 10\d+ tokens, the limit is 1000"):
        connect().score(["ein", "e" * 10_000], ["a", "a"])
    with pytest.raises(TextTooLong, match=r"Reference 2 has 10\d+ tokens, the limit is 1000"):
        connect().score(["ein", "ein"], ["a", "a" * 10_000])


def test_invalid_arguments_are_rejected(connect):
    with pytest.raises(ValueError, match="Expected a list of strings"):
        connect()("ein Haus")
    with pytest.raises(ValueError, match="Expected one reference per text"):
        connect().score(["ein"], [])


def test_rest_needs_no_tensorflow(server):
    program = f"""
import sys
from keras_attn_nmt.export import TranslationClient
print(TranslationClient({server.rest_address!r}, "small")(["ein Haus"])[0].text)
assert not {{"tensorflow", "keras", "jax"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_trailing_nuls_are_kept(connect, translator):
    texts, references = ["ein\0", "ein Haus\0\0"], ["a\0", "a house\0"]
    scored = translator.score(texts, references, length_penalty=OPTIONS["length_penalty"])
    for got, wanted in zip(connect().score(texts, references), scored, strict=True):
        assert_same(got, wanted)
        assert got.text.endswith("\0")


def test_responses_are_correct_during_a_version_change(double, translator):
    words = ["ein", "Haus", "am", "See", "zwei", "kleine"]
    texts = [" ".join(words[: 1 + number % 6]) for number in range(6)]
    wanted = translator(texts, **OPTIONS)
    old = max(int(path.name) for path in double.directory.iterdir())
    served, done = collections.Counter(), threading.Event()

    def state(number):
        url = f"{double.rest_address}/v1/models/small/versions/{number}"
        return requests.get(url, timeout=60).json()["model_version_status"][0]["state"]

    def which():
        """The version that answers."""
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "small"
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(["ein"]))
        with grpc.insecure_channel(double.grpc_address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            return stub.Predict(request, timeout=120).model_spec.version.value

    def ask(number):
        address = (double.rest_address, double.grpc_address)[number % 2]
        with TranslationClient(address, "small", timeout=120) as client:
            while not done.is_set():
                place = number % len(texts)
                (found,) = client([texts[place]])
                assert_same(found, wanted[place])
                number += 1
                time.sleep(0.1)  # Leaves time to load the new version.
                if number % 4 == 0:
                    served[which()] += 1

    before = len(double.versions.batches())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(ask, number) for number in range(8)]
        try:
            wait_until(lambda: served[old] > 8)
            coming = shutil.copytree(double.directory / str(old), double.directory / ".coming")
            keep_warmup_requests(coming, "serving_default")
            coming.rename(double.directory / str(old + 1))
            wait_until(lambda: served[old + 1] > 8)
        finally:
            done.set()
        for client in clients:
            client.result()
    assert set(served) == {old, old + 1}
    assert state(old + 1) == "AVAILABLE"
    wait_until(lambda: state(old) == "END")
    with pytest.raises(ValueError, match="not found"):
        TranslationClient(double.rest_address, "small", version=old)(["ein"])
    # Most of them shared a batch with others.
    merged = double.versions.batches()[before:]
    assert sum(size for size in merged if size > 1) > sum(merged) / 4


def keep_warmup_requests(version, signature):
    """All but those of one signature are not needed here, and take long."""
    path = version / saved_model_check.WARMUP
    records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    requests = list(saved_model_check.warmup_requests(version))
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record, request in zip(records, requests, strict=True):
            if request.model_spec.signature_name == signature:
                writer.write(record)


def wait_until(condition):
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited too long")
