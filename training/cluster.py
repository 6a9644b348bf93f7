"""The processes that train one model together: what they agree on, and who is missing.

A TCP connection from each process to process 0 carries values and files, never gradients. The
kernel closes it when a process dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from keras_attn_nmt.training.cluster_start import (
    LOOPBACK,
    Address,
    Peer,
    come_together,
    parse_address,
)
from keras_attn_nmt.training.messages import DATA, END, STOPPED

T = TypeVar("T")

# Seconds in which the main thread should notice that a process is missing. It may wait for
# gradients, which nothing interrupts.
_GRACE = 10.0
_ADVICE = "If an epoch was saved, the same commands with --resume resume the run."


class LostProcess(OSError):
    """Another process died, stopped or cannot be reached."""


class DifferentProcesses(ValueError):
    """The processes have different settings, versions or data; raised in all of them."""


class Cluster:
    """All processes of a training run. `Cluster()` is a single process.

    Args:
        process: Number of this process.
        processes: Number of processes.
        address: Where process 0 listens.
        peers: Connected processes: all others in process 0, process 0 in the others.
    """

    def __init__(
        self,
        process: int = 0,
        processes: int = 1,
        address: Address = LOOPBACK,
        peers: Mapping[int, Peer] | None = None,
    ):
        self.process, self.processes, self.address = process, processes, address
        self._peers = dict(peers or {})
        self._received: dict[int, queue.Queue[bytes | None]] = {
            number: queue.Queue() for number in self._peers
        }
        self._lost: str | None = None
        self._noticed, self._handled = threading.Event(), threading.Event()
        self._handled.set()  # `together` clears it: outside of it, no process is ended.
        self._leaving = False
        # Held while process 0 makes or writes what the others wait for.
        self._busy = threading.Lock()
        for number in self._peers:
            threading.Thread(target=self._listen, args=(number,), daemon=True).start()

    @classmethod
    def of(
        cls, processes: int, process: int | None, coordinator: str | None, wait: float
    ) -> Cluster:
        """Connects the processes; see `come_together`.

        Raises:
            ValueError: The numbers do not fit, or the address is missing.
            OSError: A process did not come in time.
        """
        if processes < 1:
            raise ValueError(f"The number of processes must be at least 1, got {processes}.")
        if processes == 1:
            if process or coordinator is not None:
                raise ValueError(
                    "The number of this process (--process) and the address of process 0 "
                    "(--coordinator) need the number of processes (--processes), above 1."
                )
            return cls()
        if process is None or coordinator is None:
            raise ValueError(
                f"{processes} processes need the number of this one (--process, 0 to "
                f"{processes - 1}) and the address of process 0 (--coordinator HOST:PORT)."
            )
        if not 0 <= process < processes:
            raise ValueError(
                f"The number of a process (--process) must be from 0 to {processes - 1} with "
                f"{processes} processes, got {process}."
            )
        address = parse_address(coordinator)
        peers = come_together(process, processes, address, wait)
        return cls(process, processes, address, peers)

    @property
    def first(self) -> bool:
        """Whether this is process 0, which alone reads and writes the model directory."""
        return self.process == 0

    def from_first(self, make: Callable[[], T]) -> T:
        """What process 0 makes, a value that JSON can hold, in all processes."""
        made: list[T] = []

        def text() -> bytes:
            made.append(make())
            return json.dumps(made[0]).encode() if self._peers else b""

        content = self.bytes_from_first(text)
        return made[0] if made else json.loads(content)

    def bytes_from_first(self, make: Callable[[], bytes]) -> bytes:
        """What process 0 makes, in all processes."""
        self.check_lost()
        if not self.first:
            return self._receive(0)
        with self._busy:
            content = make()
        self.check_lost()
        self._send(DATA, content)
        return content

    @contextlib.contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Runs the block in process 0, and then in the other processes."""
        if not self.first:
            self._receive(0)
        yield
        if self.first:
            self.bytes_from_first(bytes)

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Checks that all processes have the same facts.

        Raises:
            DifferentProcesses: They differ; the message names the processes and the facts.
        """
        if not self.first:
            self._send(DATA, json.dumps(facts).encode())
        problem = self.from_first(lambda: self._differences(facts))
        if problem:
            raise DifferentProcesses(problem)

    def check_lost(self) -> None:
        """Raises `LostProcess` if a process is missing."""
        if self._lost is not None:
            self._handled.set()
            raise LostProcess(self._lost)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Waits for all processes at the end of the block, and tells them of an error in it.

        Raises:
            LostProcess: A process is missing, in place of the backend's error.
        """
        self._handled.clear()
        try:
            yield
            self._leave()
        except BaseException as error:
            lost = self._is_lost(error)
            reason = self._lost if lost else f"Process {self.process} stopped: {_text(error)}"
            self._leaving = True
            with contextlib.suppress(OSError):
                self._send(STOPPED, str(reason).encode())
            if lost and not isinstance(error, LostProcess):
                raise LostProcess(self._lost) from error
            raise
        finally:
            self._leaving = True
            self._handled.set()
            for peer in self._peers.values():
                peer.connection.close()

    def _differences(self, facts: Mapping[str, Any]) -> str:
        ours, problems = json.loads(json.dumps(facts)), []
        for number, peer in sorted(self._peers.items()):
            theirs = json.loads(self._receive(number))
            problems += [
                f"{name}: {ours.get(name)} in process 0, {theirs.get(name)} in process {number} "
                f"({peer.host})"
                for name in sorted({*ours, *theirs})
                if ours.get(name) != theirs.get(name)
            ]
        if not problems:
            return ""
        return "The processes were started with different settings: " + "; ".join(problems) + "."

    def _leave(self) -> None:
        """Waits until all processes are here."""
        if self.first:
            for number in self._peers:
                self._receive(number)
            self._leaving = True
            self._send(END)
        else:
            self._send(DATA)
            self._receive(0)

    def _is_lost(self, error: BaseException) -> bool:
        """Whether an error is due to a missing process, which the backend may notice earlier."""
        if self._peers and any(each in str(error).lower() for each in ("gloo", "nccl", "peer")):
            self._noticed.wait(_GRACE)
        if isinstance(error, DifferentProcesses) or not isinstance(error, Exception):
            return False
        return self._lost is not None

    def _send(self, kind: bytes, content: bytes = b"") -> None:
        for number, peer in self._peers.items():
            try:
                peer.connection.send(kind, content)
            except OSError as error:
                self._miss(number, f"({error})")
                self.check_lost()

    def _receive(self, number: int) -> bytes:
        content = self._received[number].get()
        if content is None:
            self._received[number].put(None)
            self.check_lost()
            raise AssertionError("no process is missing")
        return content

    def _listen(self, number: int) -> None:
        """Receives from a process until it leaves."""
        connection = self._peers[number].connection
        while True:
            try:
                kind, content = connection.receive()
            except OSError as error:
                if not self._leaving:
                    self._miss(number, f"({error})")
                    self._end_if_stuck()
                return
            if kind == STOPPED:
                self._miss(number, sentence=content.decode())
                self._end_if_stuck()
                return
            self._leaving = self._leaving or kind == END
            self._received[number].put(content)

    def _miss(self, number: int, reason: str = "", sentence: str = "") -> None:
        """Records and passes on that a process is missing; only the first one counts."""
        if self._noticed.is_set() or self._leaving:
            return
        host = self._peers[number].host
        self._lost = sentence or f"Process {number} ({host}) is gone {reason}. {_ADVICE}"
        self._noticed.set()
        for other, peer in self._peers.items():
            self._received[other].put(None)
            if other != number:
                with contextlib.suppress(OSError):
                    peer.connection.send(STOPPED, self._lost.encode())

    def _end_if_stuck(self) -> None:
        """Ends this process if its main thread does not notice that another one is missing."""
        while not self._handled.wait(_GRACE):
            if self._busy.acquire(blocking=False):
                print(f"keras-attn-nmt: error: {self._lost}", file=sys.stderr, flush=True)
                os._exit(1)


def take_back_sigterm() -> None:
    """Restores the handler of SIGTERM, which JAX and TensorFlow ignore in connected processes."""
    handler = signal.getsignal(signal.SIGTERM)
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _text(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__
