"""Reads lines of text strictly: nothing is repaired, dropped or guessed.

One reader for files, plain or gzip, and for standard input. Needs the standard library alone.
"""

from __future__ import annotations

import codecs
import os
import select
from collections.abc import Iterator
from io import BufferedIOBase

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BLOCK = 1 << 16
# Seconds without a line after which a writer is taken to wait for its answer.
_PAUSE = 0.005


def checked_line(line: bytes, number: int, name: str | os.PathLike[str]) -> bytes:
    """A line without its end, in UTF-8.

    A line ends at ``\\n`` or ``\\r\\n`` and nowhere else: U+2028, U+0085, form feeds and single
    carriage returns belong to the text. A byte order mark before the first line is left out.

    Args:
        line: The line, with its end.
        number: Its number, from 1.
        name: What it was read from, for the error.

    Raises:
        ValueError: It is not UTF-8.
    """
    if number == 1:
        if line.startswith(_UTF16_MARKS):
            raise ValueError(
                f"{name} is UTF-16; UTF-8 was expected. "
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
    """Yields the lines of a stream in chunks: those that have arrived, without waiting for more.

    A file, or a pipe whose writer is not slower than the reader, gives chunks of `most` lines.
    The lines of a writer that pauses are a chunk, as it may wait for an answer. Text after the last
    line end is a line, too.

    Args:
        stream: A buffered binary stream, which nobody has read from.
        most: Lines of the largest chunk.
        name: Name of the stream, for errors.

    Raises:
        ValueError: A line is not UTF-8; says which. The lines before it have been yielded.
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
    begun: list[bytes] = []  # The parts of a line whose end has not arrived.
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
    """What arrives, as it arrives; an empty block where the writer pauses."""
    while True:
        if not _readable(stream, _PAUSE):
            yield b""
            _readable(stream, None)
        block = stream.read1(_BLOCK)
        if not block:
            return
        yield block


def _readable(stream: BufferedIOBase, seconds: float | None) -> bool:
    """Waits until reading would not block, at most so long."""
    try:
        return bool(select.select([stream.fileno()], [], [], seconds)[0])
    except OSError:  # No file of the operating system, which never blocks.
        return True
