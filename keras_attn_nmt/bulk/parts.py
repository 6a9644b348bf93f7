"""Parts of files: blocks of lines that workers read on their own, whatever other parts hold."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import IO, NamedTuple

import numpy as np

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.text.lines import UTF16_MARKS, checked_line

# A line is not text beyond this size, and is not kept in memory.
LONGEST_LINE = 1 << 20
# Errors of a damaged or unreadable file.
UNREADABLE = (OSError, EOFError, zlib.error, ValueError)
_BLOCK = 1 << 20


class Part(NamedTuple):
    """A block of lines of a file.

    Attributes:
        number: Its place among the parts of the file.
        first_line: 0-based number of its first line.
        lines: Number of its lines.
        offset: Where it begins in the uncompressed file, in bytes.
    """

    number: int
    first_line: int
    lines: int
    offset: int


class FileParts(NamedTuple):
    """A file as it was scanned.

    Attributes:
        digest: SHA-256 of its uncompressed content.
        lines: Number of lines.
        parts: Its parts, in order.
    """

    digest: str
    lines: int
    parts: list[Part]


class Line(NamedTuple):
    """A line: its text, and why it cannot be translated or `""`; such a line has no text."""

    text: str
    failure: str


def scan(path: str, lines_per_part: int) -> FileParts:
    """Reads a file once and finds its parts.

    Raises:
        OSError, EOFError, zlib.error: It cannot be read, or is damaged.
        ValueError: It is UTF-16, of which every line would be wrong.
    """
    digest, lines, position = hashlib.sha256(), 0, 0
    offsets = [0]
    unfinished = False
    with storage.reading(path) as content:
        while block := content.read(_BLOCK):
            if not position and block.startswith(UTF16_MARKS):
                raise ValueError(
                    "UTF-16; expected UTF-8. Convert it, for example with: iconv -f utf-16 -t utf-8"
                )
            digest.update(block)
            count = block.count(b"\n")
            if lines + count >= len(offsets) * lines_per_part:
                ends = np.flatnonzero(np.frombuffer(block, np.uint8) == 10)
                while (end := len(offsets) * lines_per_part - lines - 1) < count:
                    offsets.append(position + int(ends[end]) + 1)
            lines += count
            position += len(block)
            unfinished = not block.endswith(b"\n")
    lines += unfinished
    parts = [
        Part(number, first, min(lines_per_part, lines - first), offset)
        for number, offset in enumerate(offsets)
        if (first := number * lines_per_part) < lines
    ]
    return FileParts(digest.hexdigest(), lines, parts)


def read_lines(content: IO[bytes], part: Part) -> Iterator[Line]:
    """The lines of a part.

    Args:
        content: An open file; one that is compressed is read from where it is.
        part: The part.

    Raises:
        ValueError: The file ends before the part does: it was changed since it was scanned.
    """
    content.seek(part.offset)
    for number in range(part.first_line + 1, part.first_line + part.lines + 1):
        line = content.readline(LONGEST_LINE + 1)
        if not line:
            raise ValueError(
                f"the file ends before line {number}: it was changed meanwhile. Start again."
            )
        if len(line) > LONGEST_LINE:
            size = len(line)
            while not line.endswith(b"\n") and (line := content.readline(_BLOCK)):
                size += len(line)
            yield Line("", f"has {size:,} bytes, the limit is {LONGEST_LINE:,}")
            continue
        try:
            yield Line(checked_line(line, number, "").decode("utf-8"), "")
        except ValueError as error:
            reason = str(error.__cause__ or error)
            if isinstance(error.__cause__, UnicodeDecodeError):
                start = error.__cause__.start
                reason = f"not UTF-8 (byte 0x{line[start]:02x} at position {start})"
            yield Line("", reason)
