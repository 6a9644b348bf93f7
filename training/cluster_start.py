"""The start of a training in several processes: all of them connect to process 0."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from keras_attn_nmt.training.messages import HELLO, STOPPED, Connection

logger = logging.getLogger(__name__)

# Seconds in which a connected process must say who it is.
_INTRODUCTION = 10.0


class Address(NamedTuple):
    """Host and port of process 0."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOOPBACK = Address("127.0.0.1", 0)


class Peer(NamedTuple):
    """A connected process and the name of its machine."""

    connection: Connection
    host: str


def parse_address(text: str) -> Address:
    """The address in `HOST:PORT`; raises `ValueError`."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(
            f"The address of the coordinator, process 0, must be HOST:PORT such as "
            f"10.0.0.1:9000, got {text!r}."
        )
    return Address(host, int(port))


def come_together(
    process: int, processes: int, address: Address, wait: float
) -> Mapping[int, Peer]:
    """Connects process 0 with all others.

    Args:
        process: Number of this process.
        processes: Number of processes.
        address: Where process 0 listens.
        wait: Seconds to wait for the others.

    Returns:
        In process 0, all others by number; in the others, process 0.

    Raises:
        OSError: A process did not come in time, or another program uses the address.
        ValueError: The processes were started with different numbers.
    """
    if process == 0:
        return _gather(processes, address, wait)
    return {0: _reach(process, processes, address, wait)}


def _gather(processes: int, address: Address, wait: float) -> dict[int, Peer]:
    """Waits for all other processes."""
    peers: dict[int, Peer] = {}
    deadline = time.monotonic() + wait
    others = "1 process" if processes == 2 else f"{processes - 1} processes"
    logger.info("waiting for %s at %s (%g s at most)", others, address, wait)
    try:
        with listen(address) as server:
            while len(peers) < processes - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    stream, _ = server.accept()
                except TimeoutError:
                    missing = [str(i) for i in range(1, processes) if i not in peers]
                    raise TimeoutError(
                        f"{_named(missing)} of {processes} did not come to {address} within "
                        f"{wait:g} s: start all of them with --coordinator {address}, or wait "
                        "longer with --wait SECONDS."
                    ) from None
                # Something else that connects to the port is no reason to stop.
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    connection = Connection(stream, _INTRODUCTION)
                    hello = json.loads(connection.receive(_INTRODUCTION).content)
                    number, host = int(hello["process"]), str(hello["host"])
                    if hello["processes"] != processes:
                        raise _Mismatch(
                            f"Process {number} ({host}) was started with --processes "
                            f"{hello['processes']}, process 0 with --processes {processes}: "
                            "start all with the same."
                        )
                    if number in peers:
                        connection.send(
                            STOPPED,
                            f"Process {number} has already come from {peers[number].host}: give "
                            "each process its own number (--process).".encode(),
                        )
                        connection.close()
                        continue
                    connection.send(HELLO, _introduction(0, processes))
                    peers[number] = Peer(connection, host)
                    logger.info("process %d came from %s", number, host)
    except (OSError, _Mismatch) as error:
        if isinstance(error, _Mismatch):
            with contextlib.suppress(OSError):
                connection.send(STOPPED, str(error).encode())
        for peer in peers.values():
            with contextlib.suppress(OSError):
                peer.connection.send(STOPPED, f"Process 0 stopped: {error}".encode())
                peer.connection.close()
        if isinstance(error, _Mismatch):
            raise ValueError(str(error)) from None
        raise
    return peers


class _Mismatch(Exception):
    """Processes that were started with different numbers of processes."""


def listen(address: Address) -> socket.socket:
    """Listens at an address, or with its port at all addresses if it is not of this machine."""
    try:
        places = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(
            f"The host of --coordinator {address} is not known: {error.strerror}."
        ) from error
    family, _, _, _, place = places[0]
    try:
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:  # Such as the address of a container's host.
            return socket.create_server(("", address.port), family=family)
        raise OSError(
            f"Process 0 cannot listen at {address}: {error.strerror}. Is another run using this "
            "port? Give all processes another one with --coordinator."
        ) from error


def _reach(process: int, processes: int, address: Address, wait: float) -> Peer:
    """Connects to process 0."""
    deadline = time.monotonic() + wait
    logger.info("connecting to process 0 at %s (%g s at most)", address, wait)
    while True:
        left = deadline - time.monotonic()
        try:
            stream = socket.create_connection(address, timeout=max(0.1, left))
            break
        except OSError as error:
            reason = error.strerror or str(error)
            if time.monotonic() + 0.5 > deadline:
                raise ConnectionError(
                    f"Process {process} could not reach process 0 at {address} within {wait:g} s "
                    f"({reason}): start process 0, check the address and that the port is open, "
                    "or wait longer with --wait SECONDS."
                ) from error
        time.sleep(0.5)
    try:
        connection = Connection(stream, _INTRODUCTION)
        connection.send(HELLO, _introduction(process, processes))
        answer = connection.receive(_INTRODUCTION)
    except OSError as error:
        raise ConnectionError(
            f"{address} is not process 0 of a training ({error}): check --coordinator."
        ) from error
    if answer.kind == STOPPED:
        raise ValueError(answer.content.decode())
    return Peer(connection, str(json.loads(answer.content)["host"]))


def _introduction(process: int, processes: int) -> bytes:
    values: dict[str, Any] = {
        "process": process,
        "processes": processes,
        "host": f"{socket.gethostname()}, PID {os.getpid()}",
    }
    return json.dumps(values).encode()


def _named(numbers: list[str]) -> str:
    return f"Process {numbers[0]}" if len(numbers) == 1 else f"Processes {', '.join(numbers)}"
