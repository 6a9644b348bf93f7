"""Watches what reading an input does: what it executes, where it writes, how long it takes.

Python's audit events are recorded, as a library may swallow any error; and what C++ code writes is
found by listing folders.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Of CPU time, and of time on a busy machine.
SECONDS, WALL_SECONDS = 10, 60
# Folders between the one that is listed and the one that may be written to: `a/../../x` leads out
# of the latter, not of the former.
BETWEEN = "1/2/3/4"
# Audit events that reading a file must not cause: code from it would.
EXECUTED = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.spawn", "os.posix_spawn",
            "pty.spawn", "subprocess.Popen", "pickle.find_class", "marshal.loads", "marshal.load",
            "ctypes.dlopen", "socket.connect")  # fmt: skip
# Which arguments of an event are paths that change, and the folders that they are relative to.
CHANGED: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chmod": ((0, 2),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "shutil.rmtree": ((0, None),),
}
# Readers of the package; and the tests' server, whose refusals this module repeats.
OWN = ("keras_attn_nmt", "campaign.fuzz_rest")


class Hang(BaseException):
    """An input took more than `SECONDS` of CPU time, or `WALL_SECONDS`."""


class Executed(BaseException):
    """An input caused an event of `EXECUTED`, or touched a file elsewhere."""


def work_folder(root: Path) -> Path:
    """The folder below `root` that an input may write to, with the temporary files of the process.

    Call it before anything asks for a temporary folder.
    """
    work = root.resolve() / BETWEEN / "work"
    temporary = work / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    return work


class Watch:
    """Reads inputs, and says what came of it.

    Args:
        work: The only folder that may be written to. It is `BETWEEN` below one that holds nothing
            else; new files anywhere in that one are a fault, as no reader leaves any.
    """

    _reading: Watch | None = None
    _has_hook = False

    def __init__(self, work: Path):
        self._work = os.path.realpath(work)
        self._root = work.resolve().parents[BETWEEN.count("/") + 1]
        self._faults: list[tuple[str, str]] = []
        if not Watch._has_hook:
            # It cannot be removed.
            sys.addaudithook(_hook)
            Watch._has_hook = True

    def outcome(self, read: Callable[[bytes], Any], data: bytes) -> tuple[str, str]:
        """`answered`, `refused`, or the name of a fault; and a message."""
        self._faults.clear()
        before = set(self._listing())
        start = time.monotonic()
        for timer, signal_number, seconds in (
            (signal.ITIMER_PROF, signal.SIGPROF, SECONDS),
            (signal.ITIMER_REAL, signal.SIGALRM, WALL_SECONDS),
        ):
            signal.signal(signal_number, self._hang)
            signal.setitimer(timer, seconds)
        Watch._reading = self
        try:
            found = _outcome(read, data)
        finally:
            Watch._reading = None
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
        if (seconds := time.monotonic() - start) > WALL_SECONDS:
            self._faults.append(("hang", f"took {seconds:.0f} s"))
        if new := sorted(set(self._listing()) - before):
            self._faults.append(("wrote elsewhere", f"left {', '.join(new)}"))
        return self._faults[0] if self._faults else found

    def _listing(self) -> Iterator[str]:
        yield from os.listdir("/")
        for folder, folders, files in os.walk(self._root):
            for name in (*folders, *files):
                yield os.path.relpath(os.path.join(folder, name), self._root)

    def _hang(self, number: int, _: object) -> None:
        limit = f"{SECONDS} s of CPU time" if number == signal.SIGPROF else f"{WALL_SECONDS} s"
        self._faults.append(("hang", f"more than {limit}"))
        raise Hang(f"more than {limit}")

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Records an event that is a fault, and refuses it."""
        if event in EXECUTED and not (event.startswith("marshal.") and _called_by_import()):
            self._fault("executed", f"{event} {arguments!r:.200}")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
                self._check_written(event, path)
            if path.startswith("/outside") or "passwd" in path:
                self._fault("read elsewhere", f"opens {path}")
        for place, relative_to in CHANGED.get(event, ()):
            path = os.fsdecode(arguments[place])
            folder = arguments[relative_to] if relative_to is not None else -1
            if isinstance(folder, int) and folder >= 0:
                path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
            parent, name = os.path.split(os.path.abspath(path))
            self._check_written(event, os.path.join(os.path.realpath(parent), name))

    def _check_written(self, event: str, path: str) -> None:
        if not path.startswith((f"{self._work}/", "/dev/")):
            self._fault("wrote elsewhere", f"{event} {path}")

    def _fault(self, kind: str, message: str) -> None:
        self._faults.append((kind, message))
        raise Executed(message)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if Watch._reading is not None:
        Watch._reading.see(event, arguments)


def _called_by_import() -> bool:
    """Whether Python's import system, which reads its compiled files so, caused this event."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back
    return frame is not None and frame.f_globals is vars(importlib._bootstrap_external)


def _outcome(read: Callable[[bytes], Any], data: bytes) -> tuple[str, str]:
    try:
        read(data)
    except AssertionError as error:
        return "wrong answer", _short(error)
    except (ValueError, OSError) as error:
        return _refusal(error, getattr(read, "file", ""))
    except Hang as error:
        return "hang", _short(error)
    except Executed as error:
        return "executed", _short(error)
    except Exception as error:
        return f"{type(error).__name__}", _short(error)
    return "answered", ""


def _refusal(error: BaseException, file: str) -> tuple[str, str]:
    """A refusal is clear if the package raised it, or names the file; and is more than a word."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "ResourceExhausted" in type(cause).__name__:
            return "memory", _short(error)
        cause = cause.__cause__ or cause.__context__
    message = str(error)
    if len(message) < 20 or isinstance(error, UnicodeError):
        return "unclear message", _short(error)
    if not (file and file in message) and not _raised_here(error):
        return "unclear message", _short(error)
    return "refused", message


def _raised_here(error: BaseException) -> bool:
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(OWN)


def _short(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "keras_attn_nmt" in f.filename), frames[-1])
    return f"{error!r:.300} at {Path(place.filename).name}:{place.lineno}"
