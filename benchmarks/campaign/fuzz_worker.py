"""Reads fuzzed inputs of one target in this process, with limits; started by `fuzz.py`.

    fuzz_worker.py TARGET SEED FIRST END FOLDER

Writes a line of JSON for each input: `[number]` before it is read, `[number, outcome, message]`
after. Outcomes: `answered`, `refused`, or the name of a fault.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# As a program; the tests' stand-ins are among what is fuzzed.
sys.path[:1] = [str(ROOT / each) for each in ("benchmarks", "tests", "tests/export")]

MEMORY = 2 * 2**30
SECONDS = 10
# Audit events that reading a file must not cause: code from it would.
EXECUTED = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class",
            "marshal.loads", "ctypes.dlopen", "socket.connect", "shutil.rmtree")  # fmt: skip


class Hang(BaseException):
    """An input took more than `SECONDS` of CPU time."""


class Executed(BaseException):
    """An input caused an event of `EXECUTED`, or touched a file elsewhere."""


def main() -> None:
    name, seed, first, end, folder = sys.argv[1:]
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from campaign import fuzz_models, fuzz_texts

    target: Any = getattr(fuzz_texts, name, None) or getattr(fuzz_models, name)
    Path(folder).mkdir(parents=True, exist_ok=True)
    make, read = target(Path(folder))
    signal.signal(signal.SIGPROF, _hang)
    watch = _watch(Path(folder))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in range(int(first), int(end)):
        data = make(random.Random(f"{name} {seed} {number}"))
        print(json.dumps([number]), file=output)
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        watch.append(number)
        try:
            outcome, message = _outcome(read, data)
        finally:
            watch.clear()
            signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps([number, outcome, message]), file=output)


def _outcome(read: Any, data: bytes) -> tuple[str, str]:
    try:
        read(data)
    except AssertionError as error:
        return "wrong answer", _short(error)
    except (ValueError, OSError) as error:
        return _refusal(error)
    except Hang as error:
        return "hang", _short(error)
    except Executed as error:
        return "executed", _short(error)
    except Exception as error:
        return f"{type(error).__name__}", _short(error)
    return "answered", ""


def _refusal(error: BaseException) -> tuple[str, str]:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "ResourceExhausted" in type(cause).__name__:
            return "memory", _short(error)
        cause = cause.__cause__ or cause.__context__
    message = str(error)
    if len(message) < 20 or isinstance(error, UnicodeError):
        return "unclear message", _short(error)
    return "refused", message


def _short(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = next((f for f in reversed(frames) if "keras_attn_nmt" in f.filename), frames[-1])
    return f"{error!r:.300} at {Path(place.filename).name}:{place.lineno}"


def _hang(*_: object) -> None:
    raise Hang(f"more than {SECONDS} s")


def _watch(folder: Path) -> list[int]:
    """Refuses events of `EXECUTED`, and files written outside of a folder, while a list is full."""
    reading: list[int] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not reading:
            return
        if event in EXECUTED and not _own(event, arguments):
            raise Executed(f"{event} {arguments!r:.200}")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            flags = arguments[2] if isinstance(arguments[2], int) else 0
            allowed = (str(folder), "/tmp/", "/dev/")
            if flags & (os.O_WRONLY | os.O_RDWR) and not path.startswith(allowed):
                raise Executed(f"writes {path}")
            if path.startswith("/outside") or "passwd" in path:
                raise Executed(f"opens {path}")

    sys.addaudithook(hook)
    return reading


def _own(event: str, arguments: tuple[Any, ...]) -> bool:
    # Python's own modules, which are imported late, and removals of temporary folders.
    return event == "marshal.loads" or (
        event == "shutil.rmtree" and str(arguments[0]).startswith("/tmp")
    )


if __name__ == "__main__":
    main()
