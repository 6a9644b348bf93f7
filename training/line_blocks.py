"""Random access to the lines of text files: one pass finds where each block of lines begins.

The index of a file takes 8 bytes per 1,024 lines. The pass also validates the text, so that a
training of days does not end at a damaged line.
"""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from keras_attn_nmt.text.lines import checked_line
from keras_attn_nmt.training.textfiles import damaged_gzip, iterate_lines, open_binary

BLOCK_LINES = 1024
_PIECE = 1 << 22


@dataclasses.dataclass(frozen=True)
class IndexedFile:
    """A validated text file and the places of its blocks of lines, see `index_lines`.

    Attributes:
        path: Its path.
        lines: Number of lines.
        starts: Byte offset of every `BLOCK_LINES`th line, int64; empty for gzip files, which can be
            read from the beginning only.
        status: Size and time of modification when it was indexed.
    """

    path: Path
    lines: int
    starts: npt.NDArray[np.int64]
    status: tuple[int, int]

    @property
    def seekable(self) -> bool:
        """Whether blocks can be read without the lines before them."""
        return len(self.starts) > 0

    def read(self, first: int, count: int) -> Iterator[list[bytes]]:
        """Yields lines `first` to `first + count - 1`, at most `BLOCK_LINES` at a time.

        Raises:
            ValueError: The file has changed since it was indexed.
        """
        if not self.seekable:
            self._check(self.path.stat())
            lines = itertools.islice(iterate_lines(self.path), first, first + count)
            while chunk := list(itertools.islice(lines, BLOCK_LINES)):
                yield chunk
            return
        while count > 0:
            block, skip = divmod(first, BLOCK_LINES)
            taken = self._block(block)[skip : skip + count]
            yield taken
            first += len(taken)
            count -= len(taken)

    def _block(self, number: int) -> list[bytes]:
        start = int(self.starts[number])
        last = number + 1 == len(self.starts)
        with self.path.open("rb", buffering=0) as file:
            self._check(os.fstat(file.fileno()))
            file.seek(start)
            end = self.status[0] if last else int(self.starts[number + 1])
            text = file.read(end - start)
        if number == 0:
            text = text.removeprefix(codecs.BOM_UTF8)
        # As `checked_line`: only these end a line.
        lines = text.replace(b"\r\n", b"\n").split(b"\n")
        if text.endswith(b"\n"):
            lines.pop()
        return lines

    def _check(self, status: os.stat_result) -> None:
        if _status(status) != self.status:
            raise ValueError(
                f"{self.path} was changed while it was in use. Leave the files of a corpus as they "
                "are until training ends."
            )


def index_lines(path: str | os.PathLike[str]) -> IndexedFile:
    """Validates a UTF-8 file, plain or gzip, and finds where its blocks of lines begin.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is a folder, empty, damaged, or not UTF-8 (with the line).
    """
    path = Path(path)
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines = position = 0
    starts = [0]
    piece = b"\n"
    with open_binary(path) as file:
        seekable = file.seekable() and not isinstance(file, gzip.GzipFile)
        status = _status(path.stat())
        try:
            while part := file.read(_PIECE):
                piece = part
                decoder.decode(piece)
                ends = np.flatnonzero(np.frombuffer(piece, np.uint8) == ord("\n"))
                blocks = ends[BLOCK_LINES - 1 - lines % BLOCK_LINES :: BLOCK_LINES]
                starts += (position + 1 + blocks).tolist()
                lines += len(ends)
                position += len(piece)
            decoder.decode(b"", final=True)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise damaged_gzip(path, error) from error
        except UnicodeDecodeError as error:
            _raise_with_line(path, starts if seekable else [0])
            raise AssertionError("another decoder accepts the text") from error
    if position == 0:
        raise ValueError(f"{path} is empty. It needs at least one line of text.")
    if not piece.endswith(b"\n"):
        lines += 1
    del starts[-(-lines // BLOCK_LINES) :]
    return IndexedFile(path, lines, np.array(starts if seekable else [], np.int64), status)


def _raise_with_line(path: Path, starts: list[int]) -> None:
    """Raises the `ValueError` of the first line that is not UTF-8, in or after the last block."""
    with open_binary(path) as file:
        if len(starts) > 1:
            file.seek(starts[-1])
        for number, line in enumerate(file, (len(starts) - 1) * BLOCK_LINES + 1):
            checked_line(line, number, path)


def _status(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns
