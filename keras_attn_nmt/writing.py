"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path`, which takes the place of `path` on success.

    A failure (a full disk, a kill) leaves what was at `path` as it was. The temporary name has the
    ending of `path`, as Keras chooses the format by it.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No folder {path.parent} to write {path.name} into.")
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as directory:
        temporary = Path(directory) / path.name
        try:
            yield temporary
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, str(path)) from error
        except RuntimeError as error:  # So says h5py of a full disk.
            raise OSError(f"Could not write {path}: {error}") from error
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_file_output(path: str | os.PathLike[str]) -> None:
    """Checks that a file can be written, before the work that is to be written there.

    Raises:
        OSError: It is a folder, or there is no folder for it, or that cannot be written into.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} into.")
    _check_writable(path.parent, path)


def check_folder_output(path: str | os.PathLike[str]) -> None:
    """Checks that a folder can be written into, or made with all above it.

    Raises:
        OSError: It is a file or below one, or may not be written.
    """
    folder = path = Path(path)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give a folder to write into.")
    _check_writable(folder, path)


def _check_writable(folder: Path, output: Path) -> None:
    # Trying is the only sure way: a file system may be read-only whatever its permissions say.
    try:
        tempfile.TemporaryDirectory(dir=folder).cleanup()
    except OSError as error:
        raise OSError(f"Cannot write {output}: {error.strerror} in {folder}.") from error
