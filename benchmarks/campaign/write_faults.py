"""Writes that fail, kills at a write, and power failures, for each command that writes.

A library for LD_PRELOAD (`write_faults.c`) makes the n-th write, rename, fsync, open, close or
mkdir below the output folder fail, also in the C++ writers of TensorFlow. After each failure the
output has to be the old one or the new one, the exit code and the message right, and the same
command has to succeed when nothing fails any more.
"""

from __future__ import annotations

import errno
import random
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from campaign.fault_cases import CASES, Case, Prepared, Worker, write_data
from campaign.outputs import Broken, fingerprint, leftovers
from campaign.power_loss import calls, unsafe
from campaign.rows import Row

OPERATIONS = ("write", "rename", "fsync", "open", "close", "mkdir")
# The case that needs Apache Beam.
BULK = "bulk-translate"
KILL = -2
SHORT = -1
ERRORS = {
    "write": (errno.ENOSPC, errno.EIO, errno.EINTR, SHORT, KILL),
    "rename": (errno.ENOSPC, errno.EIO, KILL),
    "fsync": (errno.ENOSPC, errno.EIO, KILL),
    "open": (errno.ENOSPC, errno.EIO, errno.EINTR, KILL),
    "close": (errno.ENOSPC, errno.EIO, errno.EINTR, KILL),
    "mkdir": (errno.ENOSPC, KILL),
}


class Trial(NamedTuple):
    """The call that fails: its operation, its number from 1, and the error."""

    operation: str
    number: int
    error: int

    def __str__(self) -> str:
        names = {KILL: "SIGKILL", SHORT: "short"}
        error = names.get(self.error) or errno.errorcode[self.error]
        return f"{self.operation} {self.number} {error}"

    def environment(self) -> dict[str, str]:
        return {
            "FAULT_OPS": self.operation,
            "FAULT_AT": str(self.number),
            "FAULT_ERRNO": str(self.error),
            # A full disk stays full.
            "FAULT_STAYS": str(int(self.error == errno.ENOSPC)),
        }


def trials(log: str, count: int, seed: int) -> list[Trial]:
    """A sample of the calls of a log, with errors; each operation and each error alike."""
    made = Counter(call.operation for call in calls(log))
    every = [
        Trial(operation, number, error)
        for operation in OPERATIONS
        for number in range(1, made[operation] + 1)
        for error in ERRORS[operation]
    ]
    chance = random.Random(seed)
    # Few renames and many writes: the writes are drawn less often.
    weighted = sorted(every, key=lambda each: chance.random() ** made[each.operation], reverse=True)
    return weighted[:count]


def judged(prepared: Prepared, trial: Trial, plant: str = "") -> tuple[list[str], list[str]]:
    """Runs a command with a fault, and again without: what went wrong, and what was lost."""
    case, places, worker = prepared.case, prepared.places, prepared.worker
    prepared.reset()
    arguments = places.filled(case.arguments)
    code, messages = worker.run(arguments, places.out, trial.environment(), plant)
    wrong: list[str] = []
    lost: list[str] = []
    try:
        wrong += _mixed(prepared, found := fingerprint(places.out))
        if code == 0 and not _holds(found, prepared.new):
            wrong.append("exit code 0 without the output")
        if not _holds(found, prepared.new):
            lost += [f"{name} is gone" for name in prepared.old.keys() - found.keys()]
    except Broken as error:
        wrong.append(str(error))
    if code > 0 and ("Traceback" in messages or not re.search(r"error: .*\w", messages)):
        wrong.append(f"exit code {code} with a traceback or no message: {messages[-200:]!r}")
    if code < 0 and trial.error != KILL:
        lost.append(f"ended by signal {-code}")
    code, messages = worker.run(places.filled(case.retry(places.out)), places.out, {}, plant)
    if code:
        lost.append(f"typed again, exit code {code}: {messages[-300:]!r}")
        return wrong, lost
    try:
        found = fingerprint(places.out)
        if other := [name for name in prepared.new if found.get(name) != prepared.new[name]]:
            lost.append(f"typed again, another {other[0]}")
    except Broken as error:
        wrong.append(f"typed again, {error}")
    if left := [each for each in leftovers(places.out) if not each.endswith(".bulk-translate")]:
        wrong.append(f"typed again, {left[0]} is left")
    return wrong, lost


def _holds(found: dict[str, str], wanted: dict[str, str]) -> bool:
    return wanted.items() <= found.items()


def _mixed(prepared: Prepared, found: dict[str, str]) -> list[str]:
    """Files that are neither those before nor those after."""
    old, new = prepared.old, prepared.new
    if prepared.case.checkpoints:
        return []
    other = [name for name, digest in found.items() if digest not in (old.get(name), new.get(name))]
    if other:
        return [f"{other[0]} is neither old nor new"]
    if prepared.case.whole and found not in (old, new):
        return ["some files are old and some are new"]
    return []


def campaign(
    model: Path,
    work: Path,
    seed: int,
    count: int = 40,
    minutes: float = 30,
    only: Sequence[str] = (),
    beam_python: str = "",
) -> Iterator[Row]:
    """Rows of the table, two for each command.

    Args:
        model: Model directory of `make demo`, with the exports beside it.
        work: Folder for outputs and logs.
        seed: Of the sample.
        count: Faults for each command.
        minutes: After which no further fault is tried.
        only: Names of cases; none: all.
        beam_python: An interpreter with Apache Beam, for bulk-translate.
    """
    end = time.monotonic() + 60 * minutes
    data = work / "data"
    write_data(data, seed)
    chosen = [case for case in CASES if not only or case.name in only]
    if not beam_python:
        chosen = [case for case in chosen if case.name != BULK]
    workers: dict[str, Worker] = {}
    try:
        for index, case in enumerate(chosen):
            python = beam_python if case.name == BULK else sys.executable
            if python not in workers:
                workers[python] = Worker(work / f"worker{len(workers)}", python=python)
            folder = work / case.name.replace(" ", "-")
            share = (end - time.monotonic()) / (len(chosen) - index)
            until = time.monotonic() + share
            yield from run_case(workers[python], case, model, data, folder, seed, count, until)
            shutil.rmtree(folder / "out", ignore_errors=True)
    finally:
        for worker in workers.values():
            worker.close()


def run_case(
    worker: Worker,
    case: Case,
    model: Path,
    data: Path,
    folder: Path,
    seed: int,
    count: int,
    until: float,
) -> list[Row]:
    """The two rows of a command."""
    prepared = Prepared(worker, case, model, data, folder)
    made = calls(prepared.log)
    renames = sum(call.operation == "rename" for call in made)
    problems = unsafe(made)
    rows = [
        Row(f"power failure, {case.name}", renames, renames - len(problems), len(problems), 0,
            "; ".join(problems)),
    ]  # fmt: skip
    tried = wrong = lost = 0
    notes: Counter[str] = Counter()
    for trial in trials(prepared.log, count, seed):
        if time.monotonic() > until:
            break
        found = judged(prepared, trial)
        tried += 1
        wrong += bool(found[0])
        lost += bool(found[1] and not found[0])
        if any(found):
            with open(folder / "problems.txt", "a") as file:
                print(trial, *found[0], *found[1], sep="\n    ", file=file)
        notes.update(re.sub(r"['\"\d].*", "", each)[:60] for each in (*found[0], *found[1]))
    numbers = Counter(call.operation for call in made)
    summary = f"of {sum(numbers[each] for each in OPERATIONS)} calls" + "".join(
        f"; {note.strip()} ({times})" for note, times in notes.most_common(4)
    )
    return [
        *rows,
        Row(f"failing writes and kills, {case.name}", tried, tried - wrong - lost, wrong, lost,
            summary),
    ]  # fmt: skip
