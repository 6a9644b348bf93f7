"""Keeps what the libraries' C++ code says, which no setting silences, off the terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

# Two threads at once would take each other's /dev/null for the terminal.
_lock = threading.RLock()


def _renew_lock() -> None:
    """In a forked process, the lock may be held forever by a thread of the parent."""
    global _lock
    _lock = threading.RLock()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_renew_lock)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Sends standard error nowhere, also that of C++ code; errors still raise."""
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
