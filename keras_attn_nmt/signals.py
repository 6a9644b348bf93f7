"""SIGTERM and SIGHUP stop a command as Ctrl-C does: no temporary files are left behind."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class _Stopped(KeyboardInterrupt):
    """A signal other than that of Ctrl-C."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raises `KeyboardInterrupt` for signals, unless this process ignores them (`nohup`)."""
    if threading.current_thread() is not threading.main_thread():  # It alone may handle signals.
        yield
        return
    handled = [each for each in _SIGNALS if signal.getsignal(each) == signal.SIG_DFL]
    for each in handled:
        signal.signal(each, _stop)
    try:
        yield
    finally:
        for each in handled:
            signal.signal(each, signal.SIG_DFL)


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


def exit_code(error: BaseException) -> int:
    """128 and the number of the signal that stopped a command, as a shell has it; otherwise 1."""
    if not isinstance(error, KeyboardInterrupt):
        return 1
    return 128 + (error.number if isinstance(error, _Stopped) else signal.SIGINT)
