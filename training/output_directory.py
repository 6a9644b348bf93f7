"""The output directory of a run: writable, and locked for one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from keras_attn_nmt.writing import check_folder_output, make_folder

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def taken(directory: str | os.PathLike[str]) -> Iterator[Path]:
    """Locks a directory for the duration of the block; creates it if needed.

    The lock is a kernel lock on the directory itself (`flock`), which is released even after a
    kill. File systems without such locks (some NFS) give a warning. Directories created here are
    removed if they are still empty at the end.

    Raises:
        FileExistsError: The path is a file, or another process holds the lock.
        OSError: The directory cannot be created or written.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise FileExistsError(f"{directory} is a file; expected a directory.")
    check_folder_output(directory)
    created = [each for each in (directory, *directory.parents) if not each.exists()]
    make_folder(directory)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FileExistsError(
                f"Another process is writing to {directory}: wait until it ends, or use another "
                "directory."
            ) from error
        except OSError as error:
            logger.warning(
                "%s cannot be locked (%s): make sure that no other process writes to it",
                directory,
                error.strerror,
            )
        yield directory
    finally:
        with contextlib.suppress(OSError):  # It is not empty.
            for each in created:
                each.rmdir()
        os.close(descriptor)
