"""Whole files on any file system of Beam: a name is either absent or complete.

Local paths, `gs://`, `s3://`, `hdfs://` and whatever else Beam's `FileSystems` reads.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import gzip
import io
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from keras_attn_nmt.extras import extra
from keras_attn_nmt.writing import make_folder, named_errors, sync

with extra("beam"):
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems

_PLAIN = CompressionTypes.UNCOMPRESSED
# Bytes of a file's name in that of its unfinished file, to which 44 are added.
_SCRATCH_BYTES = 64


class StoredFile(NamedTuple):
    """A file with its size in bytes and its time of modification in seconds."""

    path: str
    size: int
    modified: float


def is_local(path: str) -> bool:
    return "://" not in path


def join(folder: str, *names: str) -> str:
    return FileSystems.join(folder, *names)


def name_of(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def find(patterns: Sequence[str]) -> list[StoredFile]:
    """Files that match patterns such as `in/*`, sorted by path; no folders.

    A path of a local file may have characters that are special in patterns. As in a shell, local
    patterns match hidden files only if they name them.

    Raises:
        FileNotFoundError: A pattern matches nothing.
        OSError: The file system cannot be read.
    """
    found: dict[str, StoredFile] = {}
    for pattern in patterns:
        if is_local(pattern) and os.path.isfile(pattern):
            found[pattern] = stored_file(pattern)
            continue
        try:
            (result,) = FileSystems.match([pattern])
        except BeamIOError as error:
            raise OSError(f"Cannot list {pattern}: {error}") from error
        files = {each.path: _stored(each) for each in result.metadata_list}
        if is_local(pattern):
            files = {
                path: file
                for path, file in files.items()
                if os.path.isfile(path) and not _is_hidden(path, pattern)
            }
        if not files:
            raise FileNotFoundError(
                f"No file matches {pattern}. Expected files or a pattern such as 'in/*'."
            )
        found |= files
    return [found[path] for path in sorted(found)]


def stored_file(path: str) -> StoredFile:
    """A file that exists, as it is now."""
    if is_local(path):
        status = os.stat(path)
        return StoredFile(path, status.st_size, status.st_mtime)
    (result,) = FileSystems.match([path])
    return _stored(result.metadata_list[0])


def _stored(found: Any) -> StoredFile:
    return StoredFile(found.path, found.size_in_bytes, found.last_updated_in_seconds)


def _is_hidden(path: str, pattern: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden and the pattern does not say so."""
    wanted = [name for name in pattern.split("/") if name.startswith(".")]
    hidden = [name for name in path.split("/") if name.startswith(".")]
    return not all(any(fnmatch.fnmatch(name, each) for each in wanted) for name in hidden)


def listed(folder: str) -> list[str]:
    """Names in a folder; of a folder that does not exist, none."""
    if is_local(folder):
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    (result,) = FileSystems.match([join(folder, "*")])
    return sorted(name_of(each.path) for each in result.metadata_list)


def files_in(folder: str) -> list[str]:
    """Paths of the files in a local folder that are not hidden; the path is not a pattern."""
    paths = [join(folder, name) for name in listed(folder) if not name.startswith(".")]
    return [path for path in paths if os.path.isfile(path)]


def below(folder: str) -> list[str]:
    """Paths of all files in a folder and in the folders in it."""
    if is_local(folder):
        return [str(path) for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    (result,) = FileSystems.match([join(folder, "**")])
    return sorted(each.path for each in result.metadata_list)


def folders(folder: str) -> list[str]:
    """Names of the folders in a folder."""
    if is_local(folder):
        return [name for name in listed(folder) if os.path.isdir(join(folder, name))]
    # Object stores have none, but names with slashes.
    inside = [path.removeprefix(folder).lstrip("/") for path in below(folder)]
    return sorted({path.partition("/")[0] for path in inside if "/" in path})


def exists(path: str) -> bool:
    return bool(FileSystems.exists(path))


def longest_name(folder: str, name: str) -> int | None:
    """Limit in bytes of the names in a local folder, if a name is too long for it.

    The folder may not exist yet. The file system is asked, as some count characters.
    """
    existing = Path(folder).absolute()
    while not existing.is_dir():
        existing = existing.parent
    try:
        os.lstat(existing / name)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return os.pathconf(existing, "PC_NAME_MAX")
    return None


def same_folder(path: str, folder: str) -> bool:
    """Whether a file lies in a folder."""
    if is_local(path) and is_local(folder):
        return os.path.realpath(os.path.dirname(path) or ".") == os.path.realpath(folder)
    return path.rpartition("/")[0] == folder.rstrip("/")


@contextlib.contextmanager
def reading(path: str) -> Iterator[IO[bytes]]:
    """The uncompressed content of a file; one that ends in `.gz` is not seekable backwards."""
    with FileSystems.open(path, compression_type=_PLAIN) as stored:
        if not path.endswith(".gz"):
            yield stored
            return
        with gzip.GzipFile(fileobj=stored, mode="rb") as content:
            yield content  # type: ignore[misc]


def read(path: str) -> bytes:
    with FileSystems.open(path, compression_type=_PLAIN) as stored:
        return stored.read()


class _LocalFile(io.FileIO):
    """An unfinished local file; errors of writing name the finished one."""

    def __init__(self, unfinished: str, path: str):
        self.path = path
        super().__init__(unfinished, "w")

    def write(self, data: Any) -> Any:
        with named_errors(self.path):
            return super().write(data)

    def close(self) -> None:
        with named_errors(self.path):
            super().close()


def _create(unfinished: str, path: str) -> Any:
    if is_local(path):
        return io.BufferedWriter(_LocalFile(unfinished, path))
    return FileSystems.create(unfinished, compression_type=_PLAIN)


@contextlib.contextmanager
def writing(path: str, scratch: str) -> Iterator[IO[bytes]]:
    """Writes a whole file: it gets its name when the block ends, never if the block fails.

    Args:
        path: The file; one of that name is replaced.
        scratch: Folder of the unfinished file, on the same file system.

    Raises:
        OSError: It cannot be written; of a local file, with its name.
    """
    unfinished = join(scratch, f"{_beginning(name_of(path))}.{uuid.uuid4().hex}.unfinished")
    if is_local(unfinished):
        make_folder(os.path.dirname(unfinished))
    try:
        with contextlib.closing(_create(unfinished, path)) as file:
            yield file
            if is_local(path):
                file.flush()
                with named_errors(path):
                    os.fsync(file.fileno())
        if is_local(path):
            os.replace(unfinished, path)
            sync(os.path.dirname(path) or ".")
        else:
            FileSystems.rename([unfinished], [path])
    except BaseException:
        with contextlib.suppress(Exception):
            delete(unfinished)
        raise


def _beginning(name: str) -> str:
    """The first characters of a name, in at most `_SCRATCH_BYTES` bytes."""
    return name.encode("utf-8", "surrogateescape")[:_SCRATCH_BYTES].decode("utf-8", "ignore")


def write(path: str, content: bytes, scratch: str) -> None:
    with writing(path, scratch) as file:
        file.write(content)


def compressed(content: bytes) -> bytes:
    """A member of a gzip file, the same for the same content; members may follow each other."""
    return gzip.compress(content, mtime=0)


def delete(path: str) -> None:
    """Removes a file, if it exists."""
    if is_local(path):
        Path(path).unlink(missing_ok=True)  # To `FileSystems.delete`, a path is a pattern.
    elif exists(path):
        FileSystems.delete([path])


def remove(folder: str) -> None:
    """Removes a folder with all that is in it, if it exists."""
    if is_local(folder):
        shutil.rmtree(folder, ignore_errors=True)
    elif names := listed(folder):
        FileSystems.delete([join(folder, name) for name in names])


@contextlib.contextmanager
def local_copy(path: str, folder: str) -> Iterator[str]:
    """A local path of a file or folder: itself, or a copy in the folder given."""
    if is_local(path):
        yield path
        return
    (result,) = FileSystems.match([f"{path.rstrip('/')}/**"])
    files: list[Any] = list(result.metadata_list)
    root = path.rstrip("/")
    if not files:
        # A file with what lies beside it under its name: vocabularies.
        stem = root.rsplit(".", 1)[0]
        (result,) = FileSystems.match([f"{stem}*"])
        files, root = list(result.metadata_list), root.rsplit("/", 1)[0]
    for each in files:
        target = Path(folder, each.path.removeprefix(root).lstrip("/"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(each.path))
    yield folder if root == path.rstrip("/") else str(Path(folder, name_of(path)))
