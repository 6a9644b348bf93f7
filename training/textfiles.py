"""Strict reading of text files, plain or gzip, see `keras_attn_nmt.text.lines`.

TensorFlow's line reader removes carriage returns inside lines and silently truncates damaged gzip
files. Reading in Python is about as fast.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from keras_attn_nmt.text.lines import checked_line

# From the first white space on, as every later one would read the rest of it again.
_LINE_BREAK = re.compile(r"(?<!\s)\s*[\r\n]\s*")
_GZIP_MAGIC = b"\x1f\x8b"
# First bytes of what is not unpacked here.
_OTHER_MAGIC = {
    b"\xfd7zXZ\x00": ("xz", "xz -d"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -d"),
    b"PK\x03\x04": ("zip", "unzip"),
    **{b"BZh%d1AY&SY" % level: ("bzip2", "bzip2 -d") for level in range(1, 10)},
}
# A line is one sentence: more is another kind of file, which would be read into memory whole.
MOST_LINE_BYTES = 64 * 2**20
# Text becomes 3 to 10 times as small, and what repeats itself a thousand times.
_MOST_EXPANSION, _SMALL_BYTES = 200, 256 * 2**20


def without_line_breaks(text: str) -> str:
    """A text without line breaks: within it, each is a space, with the white space around it."""
    return _LINE_BREAK.sub(" ", text.strip("\r\n"))


def iterate_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the lines of a UTF-8 file, plain or gzip (detected from content), as `checked_line`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, or the file is damaged or not UTF-8.
    """
    if isinstance(path, KeptLines):
        yield from path.lines
        return
    for number, line in enumerate(raw_lines(path), 1):
        yield checked_line(line, number, path)


class KeptLines(os.PathLike[str]):
    """The lines of a pipe in memory, as it can be read only once, and its path."""

    def __init__(self, path: str | os.PathLike[str]):
        self.lines = list(iterate_lines(path))
        self._path = os.fspath(path)

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path


def readable_again(path: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """The path of a file, for `iterate_lines`; of a pipe, such as `<(zcat x.gz)`, its lines."""
    return KeptLines(path) if is_pipe(path) and not isinstance(path, KeptLines) else path


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a path is there, but neither a file nor a folder."""
    path = Path(path)
    return path.exists() and not path.is_file() and not path.is_dir()


def raw_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the lines of a file, plain or gzip, in any encoding and with their line endings.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, the file is damaged, or a line is longer than 64 MiB.
    """
    path = Path(path)
    with open_binary(path) as file:
        try:
            number = 1
            while line := file.readline(MOST_LINE_BYTES + 1):
                if len(line) > MOST_LINE_BYTES:
                    raise ValueError(
                        f"{path}, line {number}: longer than {MOST_LINE_BYTES:,} bytes. Expected a "
                        "sentence per line: is it a text file?"
                    )
                yield line
                number += 1
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise damaged_gzip(path, error) from error


def count_lines(path: str | os.PathLike[str]) -> int:
    """Validates a file like `iterate_lines` and counts its lines.

    Raises:
        FileNotFoundError, ValueError: see `iterate_lines`; ValueError also for an empty file.
    """
    count = sum(1 for _ in iterate_lines(path))
    if count == 0:
        raise ValueError(f"{path} is empty. It needs at least one line of text.")
    return count


def count_aligned_lines(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    meaning: str = "be the translation of",
) -> int:
    """Checks that two files have the same number of lines and returns it.

    Args:
        source_path: One file.
        target_path: The other.
        meaning: The relation of aligned lines, for the error message.

    Raises:
        FileNotFoundError, ValueError: see `count_lines`; ValueError also if the counts differ.
    """
    source_count, target_count = count_lines(source_path), count_lines(target_path)
    if source_count != target_count:
        raise ValueError(
            f"{source_path} has {source_count:,} lines and {target_path} has {target_count:,}. "
            f"Line n of one must {meaning} line n of the other."
        )
    return source_count


def damaged_gzip(path: str | os.PathLike[str], error: Exception) -> ValueError:
    """The error of a gzip file that cannot be unpacked."""
    return ValueError(f"{path} is a damaged gzip file ({error}). Download or create it again.")


def open_binary(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a file, plain or gzip (detected from content).

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the path is a folder, or the file is compressed in another way. Also while it
            is read, if a gzip file expands to more than 256 MiB and 200 times its size.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"The file {path} does not exist.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a text file.")
    file = path.open("rb")
    # Without seeking, so that pipes can be read: --source <(zcat train.de.gz).
    begin = file.peek(16)
    for magic, (name, command) in _OTHER_MAGIC.items():
        if begin.startswith(magic):
            file.close()
            raise ValueError(
                f"{path} is compressed with {name}; expected a text file, plain or gzip. "
                f"Decompress it, for example with: {command}"
            )
    if not begin.startswith(_GZIP_MAGIC):
        return file
    # Not opened again: what was peeked at is gone from a pipe.
    unpacked = cast(BinaryIO, _Unpacked(file))
    # A pipe has no size.
    if not (size := path.stat().st_size):
        return unpacked
    limited = _Limited(unpacked, path, max(_SMALL_BYTES, _MOST_EXPANSION * size))
    return cast(BinaryIO, io.BufferedReader(limited, 1 << 16))


class _Unpacked(gzip.GzipFile):
    """The content of a gzip file, which is closed with it."""

    def __init__(self, file: BinaryIO):
        super().__init__(fileobj=file, mode="rb")
        self._file = file

    def close(self) -> None:
        super().close()
        self._file.close()


class _Limited(io.RawIOBase):
    """A binary file of which only so many bytes are read."""

    def __init__(self, file: BinaryIO, path: Path, most: int):
        self._file, self._path, self._left = file, path, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = self._file.read(len(buffer))
        self._left -= len(content)
        if self._left < 0:
            raise ValueError(
                f"{self._path} expands to more than {_MOST_EXPANSION} times its size, which no "
                "text does: unpack it yourself if it is one."
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def sha256_of(*paths: str | os.PathLike[str]) -> str:
    """SHA-256 of the content of files, one after the other, in hexadecimal."""
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
