"""Atomic file writes, and checks of output paths."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the same directory, renamed to `path` on success.

    On failure (a full disk, a kill) an existing file at `path` is unchanged. The temporary path has
    the same suffix, from which Keras infers the format.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} for {path.name} does not exist.")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as directory:
        temporary = Path(directory) / path.name
        try:
            yield temporary
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        except RuntimeError as error:  # Raised by h5py on a full disk.
            raise OSError(f"Could not write {path}: {error}") from error
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_file_output(path: str | os.PathLike[str]) -> None:
    """Checks that a file can be written, before any expensive work.

    Raises:
        OSError: The path is a folder, or its folder is missing or not writable.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file name.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} for {path.name} does not exist.")
    _check_writable(path.parent, path)


def check_folder_output(path: str | os.PathLike[str]) -> None:
    """Checks that a folder is writable or can be created with its parents.

    Raises:
        OSError: The path or one of its parents is a file, or is not writable.
    """
    folder = path = Path(path)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder.")
    _check_writable(folder, path)


def _check_writable(folder: Path, output: Path) -> None:
    # Permission bits are not enough: the file system may be read-only.
    try:
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except OSError as error:
        raise OSError(f"Cannot write {output}: {error.strerror} in {folder}.") from error
