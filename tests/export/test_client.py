"""The client gives what the `Translator` gives, over REST and gRPC, whatever happens on the way."""

import concurrent.futures
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from questions import OPTIONS, TEXTS
from serving_double import ServingDouble, serve

from keras_attn_nmt import Translator
from keras_attn_nmt.export import TranslationClient
from keras_attn_nmt.translation import TextTooLong


@pytest.fixture(scope="module")
def server(served, tmp_path_factory):
    directory = tmp_path_factory.mktemp("versions")
    shutil.copytree(served, directory / "1")
    with serve(directory, "small") as server:
        yield server


@pytest.fixture(scope="module")
def double(served, tmp_path_factory):
    """A server that can be made to fail."""
    directory = tmp_path_factory.mktemp("double")
    shutil.copytree(served, directory / "1")
    with ServingDouble(directory, "small") as double:
        yield double


@pytest.fixture(scope="module")
def translator(model_directory):
    return Translator.load(model_directory)


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


def test_translations_are_those_of_the_translator(connect, translator):
    for got, wanted in zip(connect()(TEXTS), translator(TEXTS, **OPTIONS), strict=True):
        assert_same(got, wanted)


def test_nbest_is_that_of_the_translator(connect, translator):
    wanted = translator.nbest(TEXTS, **OPTIONS)
    for got, expected in zip(connect().nbest(TEXTS), wanted, strict=True):
        for pair in zip(got, expected, strict=True):
            assert_same(*pair)


def test_scores_and_vectors_are_those_of_the_translator(connect, translator):
    references = ["a house", "", "two little houses", "", "lake", "a  house "]
    scored = translator.score(TEXTS, references, length_penalty=OPTIONS["length_penalty"])
    for got, wanted in zip(connect().score(TEXTS, references), scored, strict=True):
        assert_same(got, wanted)
    np.testing.assert_allclose(connect().embed(TEXTS), translator.embed(TEXTS), atol=1e-5)


def test_many_texts_go_in_batches(connect_double, double):
    before = double.requests
    found = connect_double(batch_size=4)([*TEXTS, *TEXTS])
    assert double.requests == before + 3
    assert [each.text for each in found[:6]] == [each.text for each in found[6:]]
    assert connect_double()([]) == []


def test_an_unavailable_server_is_asked_again(connect_double, double):
    double.unavailable = 2
    assert len(connect_double()(["ein Haus"])) == 1
    double.unavailable = 3
    with pytest.raises(ConnectionError, match="not available, 2 times"):
        connect_double(retries=1)(["ein Haus"])
    double.unavailable = 0


def test_a_version_is_asked_for_by_its_number(connect_double):
    assert len(connect_double(version=1)(["ein Haus"])) == 1
    with pytest.raises(ValueError, match="not found"):
        connect_double(version=7)(["ein Haus"])


def test_an_answer_of_something_else_is_an_error(double):
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
        with pytest.raises(ValueError, match="gave no answer of TensorFlow Serving"):
            TranslationClient(f"http://localhost:{server.server_port}", "small")(["ein Haus"])
        server.shutdown()


def test_nothing_else_is_asked_again(connect_double, double):
    before = double.requests
    with pytest.raises(ValueError, match="not found"):
        connect_double(model="other")(["ein Haus"])
    assert double.requests == before + 1


def test_a_late_answer_is_an_error(connect_double, double):
    double.delay = 5.0
    try:
        with pytest.raises(TimeoutError):
            connect_double(timeout=0.3)(["ein Haus"])
    finally:
        double.delay = 0.0


def test_too_long_a_text_is_named(connect):
    with pytest.raises(TextTooLong, match=r"Text 2 has 10\d+ tokens, the limit is 1000"):
        connect(batch_size=1)(["ein", "e" * 10_000])
    with pytest.raises(ValueError, match="Text 2 or its reference has more than 1000 tokens"):
        connect().score(["ein", "e" * 10_000], ["a", "a"])


def test_wrong_arguments_are_refused(connect):
    with pytest.raises(ValueError, match="Expected a list of strings"):
        connect()("ein Haus")
    with pytest.raises(ValueError, match="Every text needs one reference"):
        connect().score(["ein"], [])


def test_rest_does_without_tensorflow(server):
    program = f"""
import sys
from keras_attn_nmt.export import TranslationClient
print(TranslationClient({server.rest_address!r}, "small")(["ein Haus"])[0].text)
assert not {{"tensorflow", "keras", "jax"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def test_no_answer_is_wrong_lost_or_mixed_up_while_a_new_version_comes(connect, server, translator):
    client = connect(timeout=120)
    words = ["ein", "Haus", "am", "See", "zwei", "kleine"]
    texts = [" ".join(words[: 1 + number % 6]) for number in range(160)]
    translated = translator(texts, **OPTIONS)
    wanted = {text: found.text for text, found in zip(texts, translated, strict=True)}
    newest = max(int(path.name) for path in server.directory.iterdir())
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(client, [text]) for text in texts]
        shutil.copytree(server.directory / str(newest), server.directory / ".coming")
        (server.directory / ".coming").rename(server.directory / str(newest + 1))
        for text, answer in zip(texts, answers, strict=True):
            assert answer.result()[0].text == wanted[text]
