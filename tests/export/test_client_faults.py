"""The client retries, times out or raises if a server or proxy fails."""

import copy
import itertools
import math
import os
import pickle
import socket
import threading
import time
import traceback
from concurrent import futures
from email.utils import formatdate

import grpc
import numpy as np
import pytest
from scripted_server import VECTOR, Scripted

from keras_attn_nmt.export import TranslationClient, transports

BUSY = (429, {"error": "Run() timeout exceeded while waiting in batching queue"})
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.fixture
def slept(monkeypatch):
    """How long the client waited, which it does not."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


@pytest.mark.parametrize("status", [429, 502, 503])
def test_transient_errors_are_retried_over_rest(status, slept):
    server = Scripted((status, {"error": "later"}), (status, "<html>no JSON"))
    with server.rest() as address, TranslationClient(address, "m") as client:
        np.testing.assert_array_equal(client.embed(["ein"]), [VECTOR])
    assert server.sizes == [1, 1, 1]
    assert slept == [0.1, 0.2]


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, EXHAUSTED])
def test_transient_errors_are_retried_over_grpc(code, slept):
    server = Scripted((code, "later"), (code, "later"))
    with server.grpc() as address, TranslationClient(address, "m") as client:
        np.testing.assert_array_equal(client.embed(["ein"]), [VECTOR])
    assert server.sizes == [1, 1, 1]
    assert slept == [0.1, 0.2]


def test_overloaded_server_is_reported(slept):
    with (
        Scripted(BUSY, BUSY).rest() as address,
        pytest.raises(ConnectionError, match=r"overloaded: .*batching queue"),
    ):
        TranslationClient(address, "m", retries=1).embed(["ein"])
    with (
        Scripted((EXHAUSTED, "queue"), (EXHAUSTED, "queue")).grpc() as address,
        pytest.raises(ConnectionError, match="overloaded: queue"),
    ):
        TranslationClient(address, "m", retries=1).embed(["ein"])


def test_retry_after_is_respected(slept):
    in_a_minute = formatdate(time.time() + 60, usegmt=True)
    server = Scripted(
        (503, "", {"Retry-After": "7"}),
        (503, "", {"Retry-After": in_a_minute}),
        (503, "", {"Retry-After": "some day"}),
        (503, "", {"Retry-After": "Fri, 01 Jan 99999 00:00:00 GMT"}),
    )
    with server.rest() as address, TranslationClient(address, "m", timeout=600) as client:
        client.embed(["ein"])
    assert slept[0] == 7
    assert 50 < slept[1] <= 60
    assert slept[2:] == [0.4, 0.8]


def test_deadline_ends_a_retry_wait():
    server = Scripted((503, "restarts", {"Retry-After": "3600"}))
    with (
        server.rest() as address,
        TranslationClient(address, "m", timeout=5) as client,
        pytest.raises(TimeoutError, match=r"No answer in 5 seconds.*restarts.*3600"),
    ):
        client.embed(["ein"])
    assert server.sizes == [1]


@pytest.mark.parametrize(
    "address",
    [
        "http://localhost:99999",
        "http://localhost:port",
        "http://[::1",
        "http://localhost:0",
        "http://localhost:8501?x=1",
        "http://localhost:8501/#x",
        "http://localhost:8501/v1/models/m",
        "http://",
        "localhost:99999",
        "localhost:0",
        "localhost:port",
        "localhost",
        "ftp://localhost:8500",
        "local host:8500",
        "",
    ],
)
def test_invalid_addresses_are_rejected(address):
    with pytest.raises(ValueError, match="is not a server address, expected"):
        TranslationClient(address, "m")


@pytest.mark.parametrize(
    "address",
    ["unix:server.sock", "unix:/a/server.sock", "unix-abstract:server", "xds:service"],
)
def test_grpc_targets_without_host_and_port_are_accepted(address):
    TranslationClient(address, "m").close()


@pytest.fixture
def resolver(monkeypatch):
    """Sets what the resolver says of every host."""

    def says(code):
        def look_up(*_, **__):
            raise socket.gaierror(code, "no address")

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return says


@pytest.mark.parametrize("address", ["http://no-such-host.invalid:8501", "no-such-host.invalid:85"])
def test_unknown_host_is_not_retried(address, slept, resolver):
    resolver(socket.EAI_NONAME)
    with (
        TranslationClient(address, "m") as client,
        pytest.raises(ConnectionError, match=r"no-such-host.*cannot be resolved"),
    ):
        client.embed(["ein"])
    assert slept == []
    resolver(socket.EAI_AGAIN)
    with (
        TranslationClient(address, "m", retries=1) as client,
        pytest.raises(ConnectionError, match="not available, 2 times"),
    ):
        client.embed(["ein"])
    assert slept == [0.1]


def test_tls_errors_and_redirect_loops_are_not_retried(slept):
    server = Scripted(*[(307, "", {"Location": "/"})] * 40)
    with server.rest() as address:
        for each in (address, address.replace("http:", "https:")):
            with (
                TranslationClient(each, "m") as client,
                pytest.raises(ConnectionError, match=r"cannot be reached: .*(redirects|SSL)"),
            ):
                client.embed(["ein"])
    assert len(server.sizes) == 31
    assert slept == []


def test_too_large_message_is_not_overload(slept):
    server = Scripted((EXHAUSTED, "SERVER: Received message larger than max (9 vs. 4)"))
    with (
        server.grpc() as address,
        TranslationClient(address, "m") as client,
        pytest.raises(ValueError, match="A message is too large: send fewer or shorter texts"),
    ):
        client.embed(["ein"])
    assert server.sizes == [1]


ANSWER = {
    **{"translation": ["a"], "score": [-0.5], "source_length": [1], "target_length": [1]},
    **{"source_tokens": [["x"]], "target_tokens": [["a"]], "token_scores": [[-0.5]]},
    "attention": [[[1.0]]],
}


@pytest.mark.parametrize(
    "answer",
    [
        *([], {}, {"outputs": [1]}, {"outputs": {}}, {"outputs": {**ANSWER, "score": [None]}}),
        {"outputs": {**ANSWER, "source_length": [float("inf")]}},
        {"outputs": {**ANSWER, "target_length": [5]}},
        {"outputs": {**ANSWER, "attention": [[[0.5, 0.5, 0.5], [1.0]]]}},
        {"outputs": {**ANSWER, "token_scores": [-0.5]}},
        {"outputs": {**ANSWER, "translation": [None]}},
        {"outputs": {**ANSWER, "source_tokens": ["ab"]}},
        {"outputs": {name: value * 2 for name, value in ANSWER.items()}},
    ],
)
def test_answers_of_another_kind_are_named(answer):
    server = Scripted((200, {"outputs": ANSWER}), (200, answer)).rest()
    with server as address, TranslationClient(address, "x") as client:
        assert client(["x"])[0].text == "a"
        with pytest.raises(ValueError, match=r"did not return a Tensor|is it another model"):
            client(["x"])


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_batches_are_split_at_the_servers_limit(protocol):
    message = "Task size 8 is larger than maximum input batch size 3"
    refused = {
        "rest": (400, {"error": message}),
        "grpc": (grpc.StatusCode.INVALID_ARGUMENT, message),
    }
    server = Scripted(refused[protocol])
    with getattr(server, protocol)() as address:
        client = TranslationClient(address, "m", batch_size=8)
        assert client.embed(["ein"] * 10).shape == (10, 2)
        assert server.sizes == [8, 3, 3, 3, 1]
        client.embed(["ein"] * 4)
        assert server.sizes[5:] == [3, 1]


def test_empty_lists_have_empty_results_and_nested_lists_are_rejected():
    server = Scripted()
    with server.grpc() as address, TranslationClient(address, "m") as client:
        assert client([]) == client.nbest([]) == client.score([], []) == []
        assert server.sizes == []
        assert client.embed([]).shape == (0, 2)
        with pytest.raises(ValueError, match="text 2 must be a string, got list"):
            client(["ein", ["zwei"]])
    # The width of vectors is known from those of a blank text.
    assert server.sizes == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds above 0, got 0"),
        ({"timeout": float("nan")}, "timeout must be a number of seconds above 0, got nan"),
        ({"timeout": None}, "timeout must be a number of seconds above 0, got None"),
        ({"retries": 1.5}, "retries must be a whole number of at least 0, got 1.5"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"version": "stable"}, "version must be a whole number of at least 0, got 'stable'"),
        ({"model": None}, "model must be a string, got None"),
        ({"model": ""}, "model is empty"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        TranslationClient("localhost:8500", **{"model": "m", **options})


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_long_timeouts_pickled_and_closed_clients(protocol):
    server = Scripted()
    with getattr(server, protocol)() as address:
        client = TranslationClient(address, "a#b?c", timeout=math.inf)
        unpickled = pickle.loads(pickle.dumps(client))  # noqa: S301  Our own.
        for each in (client, unpickled, copy.deepcopy(client)):
            for _ in range(2):  # A closed client connects again.
                assert each.embed(["ein"]).tolist() == [VECTOR]
                each.close()
    assert set(server.paths) <= {"/v1/models/a%23b%3Fc:predict"}


def test_redirections_that_lose_the_text_are_named():
    server = Scripted((301, "", {"Location": "/elsewhere"}))
    with (
        server.rest() as address,
        TranslationClient(address, "m") as client,
        pytest.raises(ConnectionError, match=r"redirects to .*/elsewhere with status 301, after"),
    ):
        client.embed(["ein"])


def test_forked_processes_have_connections_of_their_own():
    server = Scripted()
    with server.rest() as address, TranslationClient(address, "m") as client:
        client.embed(["ein"])
        if not (child := os.fork()):
            code = 1
            try:
                client.embed(["zwei"])
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        client.embed(["drei"])
    first, forked, again = server.connections
    assert first == again != forked


def test_forked_processes_have_channels_of_their_own():
    """A lock of a channel that a thread of the parent holds is held in the child forever."""
    with Scripted().grpc() as address, TranslationClient(address, "m") as client:
        client.embed(["ein"])
        parents = client._transport._connection()
        if not (child := os.fork()):
            code = 1
            try:
                assert client._transport._connection()[0] is not parents[0]
                assert any(parents in each.values() for each in transports._connections_of_parents)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert client._transport._connection() is parents
        client.embed(["zwei"])


def test_messages_name_the_server_without_its_password(slept):
    statuses = (401, 403, 404, 413, 500, 504)
    server = Scripted(*((status, {"error": "no"}) for status in statuses))
    with server.rest() as address:
        host = address.removeprefix("http://")
        with TranslationClient(f"http://user:SECRET@{host}", "m") as client:
            for _ in statuses:
                with pytest.raises((ValueError, TimeoutError), match=f"http://{host}/v1") as raised:
                    client.embed(["ein"])
                assert "SECRET" not in str(raised.value)
    for host in ("host:99999", "host:8500", "host:0"):
        for scheme, password in itertools.product(("http://", ""), ("SECRET", "S/SECRET")):
            address = f"{scheme}user:{password}@{host}"
            if (scheme, password, host) == ("http://", "SECRET", "host:8500"):
                continue  # It is an address.
            with pytest.raises(ValueError, match="is not a server address") as raised:
                TranslationClient(address, "m")
            assert "SECRET" not in "".join(traceback.format_exception(raised.value))


def test_many_threads_keep_their_connections(caplog):
    server = Scripted()
    together = threading.Barrier(16, timeout=20)
    fault = server.fault

    def wait_for_all(size):
        together.wait()
        return fault(size)

    server.fault = wait_for_all
    with (
        server.rest() as address,
        TranslationClient(address, "m") as client,
        futures.ThreadPoolExecutor(16) as threads,
    ):
        list(threads.map(client.embed, [["ein"]] * 16))
    assert "Connection pool is full" not in caplog.text


def test_context_manager_closes_the_client():
    with Scripted().grpc() as address:
        with TranslationClient(address, "m") as client:
            client.embed(["ein"])
            ((channel, _),) = client._transport.connections.values()
        assert not client._transport.connections
        with pytest.raises(ValueError, match="closed"):
            channel.unary_unary("/method")(b"")
