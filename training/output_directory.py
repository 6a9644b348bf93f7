"""The directory that a training writes to: writable, and taken by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from keras_attn_nmt.writing import check_folder_output

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def taken(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Takes a directory for this process until the end of the block; creates it where needed.

    The lock is one of the kernel's on the directory itself (`flock`), so nothing is left behind
    after a kill. A file system that knows no such locks (NFS may not) is warned of. A directory
    that was created here, with those above it, is removed if it is still empty at the end.

    Raises:
        FileExistsError: The path is a file, or another process has taken the directory.
        OSError: The directory cannot be created, or not be written to.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory} is a file; give a directory.")
    check_folder_output(directory)
    created = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"Another process is training into {directory}: wait until it ends, or give "
                "another directory."
            ) from error
        except OSError as error:
            logger.warning(
                "%s cannot be locked (%s): nothing else may train into it",
                directory,
                error.strerror,
            )
        yield directory
    finally:
        with contextlib.suppress(OSError):  # It is not empty.
            for each in created:
                each.rmdir()
        os.close(descriptor)
