"""Writes that are all or nothing, also when the power fails, and checks of output paths."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNFINISHED = ".unfinished"
# Flag of renameat2(2): both paths exist and change places.
_EXCHANGE = 2
_CURRENT_DIRECTORY = -100


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the same directory, renamed to `path` on success.

    On failure (a full disk, a kill, a power failure) an existing file at `path` is unchanged. The
    file is on the disk before it gets its name, and the name is when the block ends. The temporary
    path has the same suffix, from which Keras infers the format. A file that is replaced gives its
    permissions to the new one.

    Devices, pipes and the outputs of this process, such as `/dev/null` and `/dev/stdout`, stay what
    they are, and get the content at the end.
    """
    path = Path(path)
    if _is_stream(path):
        with tempfile.TemporaryDirectory() as directory:
            temporary = Path(directory, path.name)
            with named_errors(temporary):
                yield temporary
            with named_errors(path):
                _copy_to_stream(temporary, path)
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} for {path.name} does not exist.")
    with temporary_sibling(path) as directory:
        temporary = directory / path.name
        with named_errors(path):
            yield temporary
            sync(temporary)
            with contextlib.suppress(FileNotFoundError):
                temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        os.replace(temporary, path)
        sync(path.parent)


def _is_stream(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return not known or _standard_output(path) is not None


def _standard_output(path: Path) -> int | None:
    """The descriptor of this process' output, if a path is one of them."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # It may be closed.
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
    return None


def _copy_to_stream(file: Path, stream: Path) -> None:
    if sys.stdout is not None:
        sys.stdout.flush()
    own = _standard_output(stream)
    descriptor = os.open(stream, os.O_WRONLY) if own is None else os.dup(own)
    with open(descriptor, "wb") as output, open(file, "rb") as content:
        shutil.copyfileobj(content, output)


@contextlib.contextmanager
def named_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Adds the path to errors of writing that do not name a file."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except RuntimeError as error:  # Raised by h5py on a full disk.
        raise OSError(f"Could not write {path}: {error}") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes a UTF-8 file atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def temporary_sibling(path: Path) -> Iterator[Path]:
    """Yields a new hidden folder beside a path; removed at the end.

    Those that killed processes left for the same path are removed first. A kernel lock (`flock`)
    tells them from folders in use; on file systems without such locks they stay.
    """
    pattern = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}{re.escape(UNFINISHED)}")
    with contextlib.suppress(PermissionError):  # A folder that may be written, but not read.
        for name in os.listdir(path.parent):
            if pattern.fullmatch(name):
                _remove_abandoned(path.parent / name)
    while True:
        folder = Path(tempfile.mkdtemp(UNFINISHED, f".{path.name}.", path.parent))
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                descriptor = os.open(folder, os.O_RDONLY)
            except FileNotFoundError:  # Another process took it for an abandoned one.
                continue
            stack.callback(os.close, descriptor)
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                yield folder
                return


def _remove_abandoned(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(descriptor)


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: The disk is full or fails. File systems that cannot sync folders raise nothing.
    """
    folder = os.path.isdir(path)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if folder:  # It may be written, but not read.
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (folder and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Creates a folder with its parents, if need be; their names are on the disk at the end."""
    path = Path(path)
    created = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in created:
        sync(each.parent)


def sync_tree(folder: str | os.PathLike[str]) -> None:
    """`sync` of a folder with all files and folders in it."""
    for path, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(os.path.join(path, name))
        sync(path)


def replace_folder(folder: Path, output: Path) -> None:
    """Puts a complete folder in the place of another one, or of none; `output` always exists.

    On systems that cannot exchange two folders in one step, it is absent for a moment. What was at
    `output` is at `folder` afterwards, or deleted.
    """
    sync_tree(folder)
    if not output.exists():
        folder.rename(output)
    elif not _exchange(folder, output):
        former = folder.with_name("former")
        output.rename(former)
        try:
            folder.rename(output)
        except OSError:
            former.rename(output)
            raise
    sync(output.parent)


def _exchange(one: Path, other: Path) -> bool:
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    here = _CURRENT_DIRECTORY
    if renameat2(here, paths[0], here, paths[1], _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))


def local_path(path: str | os.PathLike[str]) -> Path:
    """Returns a path as `Path`.

    Raises:
        ValueError: It is a URL, such as `gs://bucket/model`, which would become a local folder.
    """
    # `Path` makes one slash of two.
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", os.fspath(path)):
        raise ValueError(
            f"{path} is a URL; expected a local path: write there, and copy what is written."
        )
    return Path(path)


def check_file_output(path: str | os.PathLike[str]) -> None:
    """Checks that a file can be written, before any expensive work.

    Raises:
        OSError: The path is a folder, or its folder is missing or not writable.
        ValueError: The path is a URL.
    """
    path = local_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; expected a file name.")
    if _is_stream(path):
        if _standard_output(path) is None and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"The folder {path.parent} for {path.name} does not exist.")
    _check_writable(path.parent, path)


def check_folder_output(path: str | os.PathLike[str]) -> None:
    """Checks that a folder is writable or can be created with its parents.

    Raises:
        OSError: The path or one of its parents is a file, or is not writable.
        ValueError: The path is a URL.
    """
    folder = path = local_path(path)
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; expected a folder.")
    _check_writable(folder, path)


def check_replaced_folder(path: Path) -> None:
    """`check_folder_output` of a folder that another one will replace as a whole.

    Args:
        path: The real path.

    Raises:
        FileExistsError: It is a mount point, or the current folder.
        OSError: It or its parent is not writable.
    """
    if os.path.ismount(path) or path == Path.cwd():
        raise FileExistsError(f"{path} cannot be replaced as a whole: use a folder inside of it.")
    check_folder_output(path)
    check_folder_output(path.parent)


def _check_writable(folder: Path, output: Path) -> None:
    # Permission bits are not enough: the file system may be read-only.
    try:
        with temporary_sibling(folder / output.name):
            pass
    except OSError as error:
        raise OSError(f"Cannot write {output}: {error.strerror} in {folder}.") from error
