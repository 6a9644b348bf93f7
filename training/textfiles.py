"""Text files, plain or gzip, read strictly by `keras_attn_nmt.text.lines`.

TensorFlow's own line reader deletes every carriage return inside a line and takes the first half
of a damaged gzip file for the whole of it. So files are read in Python, which costs about the same.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from keras_attn_nmt.text.lines import checked_line

_GZIP_MAGIC = b"\x1f\x8b"


def iterate_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields the lines of a UTF-8 file, plain or gzip (its first bytes tell), as `checked_line`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is a folder, damaged, or not UTF-8; says which line.
    """
    path = Path(path)
    with _open(path) as file:
        try:
            for number, line in enumerate(file, 1):
                yield checked_line(line, number, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is a damaged gzip file ({error}). Download or make it again."
            ) from error


def count_lines(path: str | os.PathLike[str]) -> int:
    """Reads a whole file as `iterate_lines` does and counts its lines.

    Raises:
        FileNotFoundError, ValueError: as `iterate_lines`; ValueError also where the file is empty.
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
    """Checks that two files are line-aligned and counts the lines of each.

    Args:
        source_path: One file.
        target_path: The other.
        meaning: What a line of one has to do with that of the other, for the error.

    Raises:
        FileNotFoundError, ValueError: as `count_lines`; ValueError also where the counts differ.
    """
    source_count, target_count = count_lines(source_path), count_lines(target_path)
    if source_count != target_count:
        raise ValueError(
            f"{source_path} has {source_count:,} lines and {target_path} has {target_count:,}. "
            f"Line n of one must {meaning} line n of the other."
        )
    return source_count


def _open(path: Path) -> BinaryIO:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}.")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a text file was expected.")
    file = path.open("rb")
    compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    if not compressed:
        return file
    # GzipFile leaves a file object it is given open; opened by name, it closes what it opened.
    file.close()
    return cast(BinaryIO, gzip.open(path, "rb"))
