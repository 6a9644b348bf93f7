"""Progress of a job in a local folder: files, lines, lines/s, time left."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.folders import (
    PLAN,
    FileFolder,
    Job,
    Source,
    done_record,
    part_folders,
)

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
        outputs, folders = set(storage.listed(self._job.output)), part_folders(self._job)
        for source in self._sources:
            # A file may go, or its parts, while they are looked at.
            with contextlib.suppress(OSError, ValueError):
                if source.name in outputs:
                    record = Path(done_record(self._job, source)).read_text("utf-8")
                    lines = finished = json.loads(record)["lines"]
                    files += 1
                elif source.name in folders:
                    # The last one to be planned: others are of an earlier content of the file.
                    plans = [Path(folder, PLAN) for folder in folders[source.name]]
                    path = max(plans, key=lambda each: each.stat().st_mtime)
                    plan = json.loads(path.read_text("utf-8"))
                    folder = str(path.parent)
                    parts = FileFolder(source, folder, "", plan["lines"], plan["lines_per_part"])
                    lines = parts.lines
                    finished = sum(map(parts.lines_of, parts.finished_parts()))
                else:
                    continue
                done, total, planned = done + finished, total + lines, planned + 1
        return files, done, total, planned


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
