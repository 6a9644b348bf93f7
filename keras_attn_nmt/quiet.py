"""Suppresses or redirects messages of C++ libraries that no setting silences."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

# Concurrent redirections would save each other's /dev/null as the terminal.
_lock = threading.RLock()


def _renew_lock() -> None:
    """In a forked process, the lock may be held forever by a thread of the parent."""
    global _lock
    _lock = threading.RLock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_lock)


_of_a_command = False


def set_process_of_a_command() -> None:
    """Allows `quiet_command` to redirect the standard error of this process."""
    global _of_a_command
    _of_a_command = True


@contextlib.contextmanager
def quiet_command() -> Iterator[None]:
    """As `quiet_stderr` where the command line runs, otherwise without any effect.

    In a process of a library's user, threads and child processes would lose their messages, too.
    """
    with quiet_stderr() if _of_a_command else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Redirects standard error, including that of C++ code, to /dev/null; exceptions propagate.

    It is that of the whole process and of children started meanwhile: only for the command line.
    """
    if sys.stderr is None:  # Closed by who started this process.
        yield
        return
    with _lock:
        sys.stderr.flush()
        saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.close(nowhere)


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Redirects standard output, including that of C++ code, to standard error."""
    if sys.stdout is None or sys.stderr is None:
        yield
        return
    with _lock:
        sys.stdout.flush()
        saved = os.dup(1)
        os.dup2(2, 1)
    try:
        yield
    finally:
        with _lock:
            sys.stdout.flush()
            os.dup2(saved, 1)
            os.close(saved)
