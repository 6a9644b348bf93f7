"""Whether the memory of a process stays flat."""

from __future__ import annotations

import statistics
import threading
from pathlib import Path
from types import TracebackType

from campaign.rows import Row

# Seconds between samples.
INTERVAL = 0.5
# While caches fill and allocators settle: a third of the time, at most ten minutes.
WARM_UP_SHARE, WARM_UP_SECONDS = 1 / 3, 600.0
# Growth after it.
ALLOWED = 0.05
MIB = 2**20
_PAGE = 4096


def resident_mib(process: int | str = "self") -> float:
    """Resident memory of a process, on Linux."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE / MIB


class Watch:
    """Samples the resident memory of a process twice a second; a context manager."""

    def __init__(self, process: int | str = "self"):
        self._process = process
        self._stop = threading.Event()
        self.samples: list[float] = []
        self._ended = False
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                self.samples.append(resident_mib(self._process))
            except (OSError, IndexError):
                self._ended = True
                return

    def row(self, name: str) -> Row:
        """`flatness` of the samples; lost if the process ended."""
        if self._ended:
            return Row(name, 1, 0, 0, 1, "the process ended")
        return flatness(name, self.samples)


def flatness(name: str, samples: list[float]) -> Row:
    """Survived if the last quarter of samples after warm-up is at most 5 % above the first one.

    Warm-up is a third of the time, and at most ten minutes.
    """
    warm_up = min(len(samples) * WARM_UP_SHARE, WARM_UP_SECONDS / INTERVAL)
    settled = samples[int(warm_up) :]
    if len(settled) < 8:
        return Row(name, 0, 0, 0, 0, f"too few samples: {len(settled)}")
    quarter = len(settled) // 4
    before, after = (statistics.median(each) for each in (settled[:quarter], settled[-quarter:]))
    grown = after / before - 1
    notes = f"{before:.0f} MiB after warm-up, {after:.0f} MiB at the end ({grown:+.1%})"
    flat = grown <= ALLOWED
    return Row(name, 1, int(flat), int(not flat), 0, notes)
