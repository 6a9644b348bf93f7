"""The processes of a training: how they meet, what they compare, and how they miss each other."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from keras_attn_nmt.training.cluster import Cluster, LostProcess
from keras_attn_nmt.training.cluster_start import parse_address


@pytest.fixture
def coordinator() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def run(work: Callable[[int], Any], count: int) -> list[Future[Any]]:
    """Runs a process's work in a thread for each process."""
    with ThreadPoolExecutor(count) as threads:
        return [threads.submit(work, number) for number in range(count)]


def test_values_of_the_first_process_reach_all(coordinator: str) -> None:
    def work(number: int) -> Any:
        cluster = Cluster.of(3, number, coordinator, 20)
        with cluster.together():
            cluster.check_same({"seed": 1})
            large = cluster.bytes_from_first(lambda: b"x" * 5_000_000)
            return cluster.from_first(lambda: {"process": number}), len(large)

    assert [each.result() for each in run(work, 3)] == [({"process": 0}, 5_000_000)] * 3


def test_different_settings_are_named_in_all_processes(coordinator: str) -> None:
    def work(number: int) -> None:
        cluster = Cluster.of(2, number, coordinator, 20)
        with cluster.together():
            cluster.check_same({"training.seed": 7 + number, "model.cell": "gru"})

    for each in run(work, 2):
        with pytest.raises(ValueError, match=r"training\.seed: 7 in process 0, 8 in process 1"):
            each.result()


def test_an_error_of_one_process_is_that_of_all(coordinator: str) -> None:
    def work(number: int) -> None:
        cluster = Cluster.of(3, number, coordinator, 20)
        with cluster.together():
            if number == 2:
                raise OSError("No space left on device")
            cluster.from_first(lambda: cluster._receive(1))

    first, second, third = (each.exception() for each in run(work, 3))
    for each in (first, second):
        assert isinstance(each, LostProcess)
        assert "Process 2 stopped: No space left on device" in str(each)
    assert str(third) == "No space left on device"


def test_a_killed_process_is_missed(coordinator: str) -> None:
    program = (
        "import sys, time; from keras_attn_nmt.training.cluster import Cluster\n"
        f"cluster = Cluster.of(2, 1, {coordinator!r}, 20); print('here', flush=True)\n"
        "time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    cluster = Cluster.of(2, 0, coordinator, 60)
    threading.Timer(0.2, other.kill).start()
    with pytest.raises(LostProcess, match=r"Process 1 \(.*PID \d+\) is gone"), cluster.together():
        cluster._receive(1)
    other.communicate()


def test_a_process_that_does_not_come(coordinator: str) -> None:
    def work(number: int) -> None:
        Cluster.of(3, number, coordinator, 1)

    first, second = (each.exception() for each in run(work, 2))
    assert f"Process 2 of 3 did not come to {coordinator} within 1 s" in str(first)
    # It has come, and hears of the other.
    assert second is None or "Process 2" in str(second)
    with pytest.raises(ConnectionError, match=rf"process 0 at {coordinator} within 0\.1 s \(Conn"):
        Cluster.of(2, 1, coordinator, 0.1)


def test_numbers_that_do_not_fit(coordinator: str) -> None:
    def work(number: int) -> None:
        Cluster.of((2, 3)[number], number, coordinator, 5)

    for each in run(work, 2):
        with pytest.raises(ValueError, match="started with --processes 3, process 0 with --proc"):
            each.result()
    for options, message in (
        ((2, 2, coordinator), "from 0 to 1 with 2 processes, got 2"),
        ((2, 1, None), "the address of process 0"),
        ((2, None, coordinator), "the number of this one"),
        ((1, None, coordinator), r"need the number of processes \(--processes\)"),
        ((2, 0, "host"), "must be HOST:PORT"),
    ):
        with pytest.raises(ValueError, match=message):
            Cluster.of(*options, 1)


def test_another_program_at_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=lambda: server.accept()[0].sendall(b"SSH-2.0-OpenSSH")).start()
        port = server.getsockname()[1]
        with pytest.raises(ConnectionError, match=f"127.0.0.1:{port} is not process 0"):
            Cluster.of(2, 1, f"127.0.0.1:{port}", 5)
        with pytest.raises(OSError, match="Is another run using this port"):
            Cluster.of(2, 0, f"127.0.0.1:{port}", 5)


def test_addresses() -> None:
    assert parse_address("[::1]:9000") == ("::1", 9000)
    assert str(parse_address("[::1]:9000")) == "[::1]:9000"
    assert str(parse_address("host:9000")) == "host:9000"
