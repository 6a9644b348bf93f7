"""Progress of a job in a local folder: files, lines, lines/s, time left."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.folders import PLAN, FileFolder, Job, Source

# Seconds between messages, on a terminal and elsewhere.
_ON_TERMINAL, _IN_LOG = 2.0, 30.0
# Seconds that the rate is taken from.
_WINDOW = 180.0


class Progress:
    """Reports, while the block runs, what the workers have written.

    What is on the disk is what a kill leaves, and is the same with any runner. Runners that write
    to other file systems have their own pages, with the counters of the pipeline.

    Args:
        job: The job.
        sources: Files to translate.
        stream: Where to write.
    """

    def __init__(self, job: Job, sources: Sequence[Source], stream: TextIO | None):
        self._job = job
        self._sources = sources
        self._stream = stream
        self._terminal = bool(stream and stream.isatty())
        self._said = False
        self._seen: deque[tuple[float, int]] = deque()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)

    def __enter__(self) -> Progress:
        if storage.is_local(self._job.output):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._terminal and self._said:
            self._say("\n")

    def _report(self) -> None:
        while not self._ended.wait(_ON_TERMINAL if self._terminal else _IN_LOG):
            message = self._message()
            self._say(f"\r{message}\033[K" if self._terminal else f"{message}\n")

    def _say(self, message: str) -> None:
        self._said = True
        if self._stream:
            with contextlib.suppress(OSError):
                self._stream.write(message)
                self._stream.flush()

    def _message(self) -> str:
        files, done, total, planned = self._lines()
        now = time.monotonic()
        # Of the last minutes: starting takes seconds.
        self._seen.append((now, done))
        while len(self._seen) > 1 and now - self._seen[0][0] > _WINDOW:
            self._seen.popleft()
        rate = (done - self._seen[0][1]) / max(now - self._seen[0][0], 1e-9)
        message = f"{files} of {len(self._sources)} files, {done:,} of {total:,} lines"
        if planned < len(self._sources):
            message += " found so far"
        if rate > 0:
            message += f", {rate:,.0f} lines/s, {_duration((total - done) / rate)} left"
        return message

    def _lines(self) -> tuple[int, int, int, int]:
        """Finished files, finished lines, lines that are known, and files that are planned."""
        files = done = total = planned = 0
        names = set(storage.listed(self._job.work))
        for source in self._sources:
            if f"{source.name}.done" in names:
                with contextlib.suppress(OSError, ValueError):
                    record = Path(self._job.work, f"{source.name}.done").read_text("utf-8")
                    files, planned = files + 1, planned + 1
                    done += json.loads(record)["lines"]
                    total += json.loads(record)["lines"]
        finished = {name.removesuffix(".done") for name in names if name.endswith(".done")}
        by_name = {source.name: source for source in self._sources}
        for folder in names:
            begun = by_name.get(folder.rpartition(".")[0])
            if begun is None or begun.name in finished or folder.endswith(".done"):
                continue
            with contextlib.suppress(OSError, ValueError):
                path = os.path.join(self._job.work, folder)
                plan = json.loads(Path(path, PLAN).read_text("utf-8"))
                parts = FileFolder(begun, path, "", plan["lines"], plan["lines_per_part"])
                total, planned = total + parts.lines, planned + 1
                done += sum(map(parts.lines_of, parts.finished_parts()))
        return files, done, total, planned


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
