"""The test server merges requests like TensorFlow Serving's BatchingSession."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
import serving_batching
import serving_toy
import tensorflow as tf
from google.protobuf import text_format
from serving_double import ServingDouble
from tensorflow_serving.apis import predict_pb2

from keras_attn_nmt.export import TranslationClient
from keras_attn_nmt.export.saved_model_check import SessionModel

ONE_THREAD = """
max_batch_size {{ value: 4 }} batch_timeout_micros {{ value: {timeout} }}
num_batch_threads {{ value: 1 }} max_enqueued_batches {{ value: 1 }} {more}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy")
    serving_toy.save(directory / "1")
    return directory


class Gate:
    """Holds the Session back while it is closed, and notes down what is run."""

    def __init__(self):
        self.open, self.entered, self.batches = threading.Event(), threading.Semaphore(0), []
        self.open.set()

    def __call__(self, model, signature, inputs):
        self.batches.append({name: list(value) for name, value in inputs.items()})
        self.entered.release()
        assert self.open.wait(60)
        return RUN(model, signature, inputs)


RUN = SessionModel.run


@pytest.fixture
def serve(directory, monkeypatch):
    """Starts a server, all of whose runs go through a gate."""
    gate = Gate()
    monkeypatch.setattr(SessionModel, "run", lambda *arguments: gate(*arguments))
    with contextlib.ExitStack() as stack:

        def serve(timeout=50_000, more="", **options):
            batching = ONE_THREAD.format(timeout=timeout, more=more)
            server = ServingDouble(directory, "toy", batching=batching, **options)
            stack.enter_context(server)
            gate.batches.clear()
            while gate.entered.acquire(blocking=False):
                pass
            return server, gate

        yield serve
        gate.open.set()


def ask(server, *texts, signature="serving_default", **inputs):
    body = {"signature_name": signature, "inputs": inputs or {"text": texts}}
    url = f"{server.rest_address}/v1/models/toy:predict"
    return requests.post(url, json=body, timeout=60)


def behind_the_gate(server, gate, pool):
    """Closes the gate and sends a request that waits behind it."""
    gate.open.clear()
    first = pool.submit(ask, server, "first")
    assert gate.entered.acquire(timeout=60)
    return first


def queued(server, size, signature="serving_default"):
    """Waits until the queue of a signature holds as many rows."""
    with server.versions.servable("toy") as servable:
        key = (signature, frozenset(servable.definitions[signature].outputs))
        for _ in range(2000):
            if sum(batch.size for batch in servable.batcher._queues[key]) == size:
                return
            time.sleep(0.01)
    raise AssertionError("not queued")


def test_requests_of_a_signature_are_merged_and_split_again(serve):
    server, gate = serve()
    with ThreadPoolExecutor(4) as pool:
        first = behind_the_gate(server, gate, pool)
        others = {text: pool.submit(ask, server, text, text + text) for text in ("a", "bc")}
        queued(server, 4)
        scored = pool.submit(ask, server, signature="score", text=["x"], reference=["x"])
        queued(server, 1, "score")
        gate.open.set()
        assert first.result().json()["outputs"]["translation"] == ["first"]
        for text, answer in others.items():
            assert answer.result().json()["outputs"]["translation"] == [text, text + text]
        assert scored.result().json()["outputs"]["score"] == [1.0]
    sizes = sorted(len(batch["text"]) for batch in gate.batches)
    assert sizes == [1, 1, 4]
    assert sorted(server.versions.batches()) == [1, 1, 1, 2]  # One is the warm-up.


def test_batch_is_padded_with_copies_of_a_row(serve):
    server, gate = serve(more="allowed_batch_sizes: 2 allowed_batch_sizes: 4")
    answer = ask(server, "a", "b", "c").json()
    assert answer["outputs"]["translation"] == ["a", "b", "c"]
    assert gate.batches == [{"text": [b"a", b"b", b"c", b"a"]}]


def test_request_of_another_rank_fails_its_batch(serve):
    server, gate = serve()
    with ThreadPoolExecutor(3) as pool:
        first = behind_the_gate(server, gate, pool)
        answers = [pool.submit(ask, server, each) for each in ("good", ["rank 2"])]
        queued(server, 2)
        gate.open.set()
        assert first.result().status_code == 200
        for answer in answers:
            assert answer.result().status_code == 400
            assert "from different tasks have different shapes" in answer.result().text


@pytest.mark.parametrize("protocol", ["rest_address", "grpc_address"])
def test_client_repeats_a_request_that_was_merged_with_one_of_another_rank(serve, protocol):
    server, gate = serve()
    with (
        ThreadPoolExecutor(3) as pool,
        TranslationClient(getattr(server, protocol), "toy") as client,
    ):
        first = behind_the_gate(server, gate, pool)
        sent = pool.submit(
            client._send, "serving_default", {"text": ["good"]}, time.monotonic() + 60
        )
        queued(server, 1)
        malformed = pool.submit(ask, server, ["rank 2"])
        queued(server, 2)
        gate.open.set()
        assert first.result().status_code == 200
        assert malformed.result().status_code == 400
        assert sent.result()["translation"].tolist() in (["good"], [b"good"])


def test_full_queue_gives_503_and_is_retried_by_the_client(serve):
    server, gate = serve()
    with ThreadPoolExecutor(3) as pool:
        first = behind_the_gate(server, gate, pool)
        second = pool.submit(ask, server, *"abcd")
        queued(server, 4)
        third = ask(server, "e")
        assert third.status_code == 503
        assert third.json()["error"].startswith("The batch scheduling queue")
        for address in (server.rest_address, server.grpc_address):
            with (
                TranslationClient(address, "toy", retries=0) as client,
                pytest.raises(ConnectionError, match="batch scheduling queue"),
            ):
                client(["e"])
        gate.open.set()
        assert first.result().status_code == second.result().status_code == 200


def test_queue_timeout_gives_429_and_run_timeout_504(serve):
    server, gate = serve(rest_timeout=0.2)
    with ThreadPoolExecutor(2) as pool:
        first = behind_the_gate(server, gate, pool)
        second = pool.submit(ask, server, "b")
        queued(server, 1)
        time.sleep(0.3)
        gate.open.set()
        assert first.result().status_code == 504
        assert second.result().status_code == 429
        assert "exceeded while waiting in batching queue" in second.result().json()["error"]


def test_empty_list_waits_for_another_request(serve):
    server, gate = serve(timeout=1000)
    with ThreadPoolExecutor(1) as pool:
        nothing = pool.submit(ask, server, text=[])
        time.sleep(0.2)
        assert not nothing.done()
        assert gate.batches == []
        assert ask(server, "a").status_code == 200
        assert nothing.result().json()["outputs"]["translation"] == []


def test_output_filters_have_separate_queues(serve):
    server, gate = serve(timeout=200_000)

    def filtered():
        with server.versions.servable("toy") as servable:
            request = predict_pb2.PredictRequest(output_filter=["length"])
            request.inputs["text"].CopyFrom(tf.make_tensor_proto(["a"] * 2))
            return servable.predict(request, time.monotonic() + 60)

    with ThreadPoolExecutor(3) as pool:
        answers = [pool.submit(filtered) for _ in range(2)]
        assert pool.submit(ask, server, "a").result().status_code == 200
        assert all(set(answer.result().outputs) == {"length"} for answer in answers)
    assert sum(len(batch["text"]) for batch in gate.batches) == 5
    assert [1] in [[len(batch["text"])] for batch in gate.batches]  # Not merged with those.
    assert max(len(batch["text"]) for batch in gate.batches) <= 4


def test_without_batching_requests_run_separately(directory):
    with ServingDouble(directory, "toy", batching=None) as server:
        assert ask(server, *["a"] * 40).status_code == 200
        assert ask(server, text=[]).json()["outputs"]["translation"] == []
        assert server.versions.batches() == []


def test_invalid_batching_parameters_are_rejected():
    with pytest.raises(text_format.ParseError):
        serving_batching.read_parameters("max_batchsize { value: 3 }")
    with pytest.raises(ValueError, match="must match max_batch_size"):
        serving_batching.read_parameters("max_batch_size { value: 3 } allowed_batch_sizes: 2")


def test_merged_requests_of_many_clients_get_their_own_results(directory):
    with ServingDouble(directory, "toy") as server, ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(ask, server, f"{n}", f"{-n}") for n in range(160)]
        for number, answer in enumerate(answers):
            found = answer.result().json()["outputs"]["translation"]
            assert found == [f"{number}", f"{-number}"]
        merged = sum(size for size in server.versions.batches() if size > 1)
    assert merged > 0
