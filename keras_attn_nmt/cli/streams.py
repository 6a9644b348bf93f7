"""Standard streams: UTF-8 on any terminal, and clear errors if closed or full."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import cast

INPUT = "standard input"
# Characters of a message.
MOST_SHOWN = 4000


def prepare_streams() -> None:
    """Sets up standard output and standard error for a command.

    Raises:
        OSError: Standard output is closed.
    """
    _occupy_closed_descriptors()
    if sys.stderr is None:
        # `print` would write to standard output instead.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  as long as the process
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")
    if sys.stdout is None:
        raise OSError("Standard output is closed. Send it to a file, a pipe or /dev/null.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="strict")


def standard_input() -> io.BufferedIOBase:
    """Standard input as bytes.

    Raises:
        OSError: It is closed.
    """
    if sys.stdin is None:
        raise OSError("Standard input is closed. Give the text with a pipe or with < FILE.")
    return cast(io.BufferedIOBase, sys.stdin.buffer)


def write_line(line: object) -> None:
    """Writes a line to standard output. Raises as `flush_output`: not all lines fit its buffer."""
    with _output_errors():
        print(line)


def flush_output() -> None:
    """Flushes standard output.

    Raises:
        OSError: Standard output cannot be written; `BrokenPipeError` if the reader is gone.
    """
    with _output_errors():
        sys.stdout.flush()


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    """Names standard output in errors of writing it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from error


def discard_unwritable_output() -> None:
    """Discards pending output, which Python would try to flush again at exit."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def presentable(message: str) -> str:
    """A message without control characters, which a file may bring, and of limited length."""
    shown = "".join(
        each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in message
    )
    if len(shown) > MOST_SHOWN:
        half = MOST_SHOWN // 2
        shown = f"{shown[:half]} ... {shown[-half:]}"
    return shown


def say(message: str) -> None:
    """Writes a message to standard error; ignores write errors."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr)


def _occupy_closed_descriptors() -> None:
    """Keeps files that are opened later from becoming a standard stream of C++ libraries."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
