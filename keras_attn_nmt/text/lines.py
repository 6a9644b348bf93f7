"""Strict line reading for files and standard input: invalid input raises instead of being repaired.

Requires only the standard library.
"""

from __future__ import annotations

import codecs
import os
import select
from collections.abc import Iterator
from io import BufferedIOBase

# Batches of lines to read ahead: enough to group lines of similar length.
BATCHES_AHEAD = 8
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK = 1 << 16
# Seconds without input after which the writer is assumed to wait for output.
_PAUSE = 0.005


def checked_line(line: bytes, number: int, name: str | os.PathLike[str]) -> bytes:
    """Validates a UTF-8 line and strips its line ending.

    Only ``\\n`` and ``\\r\\n`` end a line: U+2028, U+0085, form feeds and single carriage returns
    are text. A byte order mark before the first line is removed.

    Args:
        line: The line with its line ending.
        number: Line number, 1-based.
        name: Name of the input, for error messages.

    Raises:
        ValueError: It is not UTF-8.
    """
    if number == 1:
        if line.startswith(UTF16_MARKS):
            raise ValueError(
                f"{name} is UTF-16; expected UTF-8. "
                "Convert it, for example with: iconv -f utf-16 -t utf-8"
            )
        line = line.removeprefix(codecs.BOM_UTF8)
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}: not UTF-8 (byte 0x{line[error.start]:02x} at position "
            f"{error.start}). Convert it, for example with: iconv -f latin1 -t utf-8"
        ) from error
    return line[:-2] if line.endswith(b"\r\n") else line.removesuffix(b"\n")


def arriving_lines(stream: BufferedIOBase, most: int, name: str) -> Iterator[list[str]]:
    """Yields the lines of a stream in chunks, without waiting for a chunk to fill up.

    Files and fast writers give chunks of `most` lines. When a writer pauses, the lines so far are a
    chunk, as it may wait for output. Text after the last line ending is a line.

    Args:
        stream: An unread, buffered binary stream.
        most: Maximum number of lines per chunk.
        name: Name of the stream, for error messages.

    Raises:
        ValueError: A line is not UTF-8. The lines before it have been yielded.
        OSError: The stream cannot be read.
    """
    number = 0
    for chunk in _chunks(stream, most):
        texts = []
        try:
            for line in chunk:
                number += 1
                texts.append(checked_line(line, number, name).decode("utf-8"))
        except ValueError:
            if texts:
                yield texts
            raise
        yield texts


def _chunks(stream: BufferedIOBase, most: int) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    begun: list[bytes] = []  # Parts of an incomplete line.
    for block in _blocks(stream):
        if not block:
            if lines:
                yield lines
                lines = []
            continue
        end_of_line, *others = block.split(b"\n")
        begun.append(end_of_line)
        for beginning in others:
            lines.append(b"".join([*begun, b"\n"]))
            begun = [beginning]
            if len(lines) == most:
                yield lines
                lines = []
    if any(begun):
        lines.append(b"".join(begun))
    if lines:
        yield lines


def _blocks(stream: BufferedIOBase) -> Iterator[bytes]:
    """Yields input blocks as they arrive, and an empty block when the writer pauses."""
    while True:
        if not _readable(stream, _PAUSE):
            yield b""
            _readable(stream, None)
        block = stream.read1(_BLOCK)
        if not block:
            return
        yield block


def _readable(stream: BufferedIOBase, seconds: float | None) -> bool:
    """Waits until reading would not block, with a timeout."""
    try:
        return bool(select.select([stream.fileno()], [], [], seconds)[0])
    except OSError:  # Not backed by a file descriptor: never blocks.
        return True
