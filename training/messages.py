"""Messages over a TCP connection between two processes of a training run."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import NamedTuple

# Kinds of messages.
HELLO, DATA, STOPPED, END = b"H", b"D", b"S", b"E"
_MAGIC = b"keras-attn-nmt\n"
_HEADER = struct.Struct("!cQ")
# A machine that is switched off or unplugged is missed after about a minute. Probes of the kernel,
# as Python cannot answer during a long call of C++ such as the learning of a vocabulary.
_KEEPALIVE = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 60_000}


class Message(NamedTuple):
    """A kind, such as `DATA`, and its content."""

    kind: bytes
    content: bytes


class Connection:
    """Sends and receives messages; the other end speaks the same protocol.

    Args:
        stream: A connected TCP socket.
        timeout: Seconds in which the other end must present itself.

    Raises:
        OSError: The other end is another program, or not reachable.
    """

    def __init__(self, stream: socket.socket, timeout: float):
        self._stream = stream
        self._sending = threading.Lock()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):  # Not on every system.
                stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        stream.settimeout(timeout)
        stream.sendall(_MAGIC)
        if self._read(len(_MAGIC)) != _MAGIC:
            raise OSError("another program answers")
        stream.settimeout(None)

    def send(self, kind: bytes, content: bytes = b"") -> None:
        with self._sending:
            self._stream.sendall(_HEADER.pack(kind, len(content)))
            self._stream.sendall(content)

    def receive(self, timeout: float | None = None) -> Message:
        """Waits for the next message; raises `OSError` if the connection ends."""
        self._stream.settimeout(timeout)
        kind, size = _HEADER.unpack(self._read(_HEADER.size))
        content = self._read(size)
        self._stream.settimeout(None)
        return Message(kind, content)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()

    def _read(self, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            part = self._stream.recv(min(size - len(content), 1 << 20))
            if not part:
                raise ConnectionResetError("the connection ended")
            content += part
        return bytes(content)
