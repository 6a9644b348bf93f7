"""Writes that fail, kills at a write, and power failures, for each command that writes.

A library for LD_PRELOAD (`write_faults.c`) makes the n-th write, rename, fsync, open, close or
mkdir below the output folder fail, also in the C++ writers of TensorFlow. After each failure the
output has to be the old one or the new one, the exit code 1 with a message that names a file, and
the same command has to succeed when nothing fails any more.
"""

from __future__ import annotations

import errno
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from campaign.fault_cases import BULK, CASES, Prepared, Worker, write_data
from campaign.fault_worker import STOPPED
from campaign.outputs import Broken, fingerprint, leftovers, unlike
from campaign.power_loss import Call, calls, unsafe
from campaign.rows import Row
from keras_attn_nmt.checks import check_known

OPERATIONS = ("write", "rename", "fsync", "open", "close", "mkdir")
# Most faults for each command, unless commands are named.
TRIALS = 40
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
# Of these, every command has to tell; the others may be tried again.
TOLD = (errno.ENOSPC, errno.EIO)
# What loading says of files that do not belong together.
MISMATCH = "does not belong to this model"


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


class Kind(NamedTuple):
    """What trials have in common: the operation, the file and the error."""

    operation: str
    file: str
    error: int


class Verdict(NamedTuple):
    """What a trial found.

    Attributes:
        wrong: Wrong results.
        lost: Missing results.
        reached: Whether the fault happened; the other lists are empty if not.
    """

    wrong: list[str]
    lost: list[str]
    reached: bool = True


def trials(log: str, seed: int) -> dict[Trial, Kind]:
    """All calls of a log with all errors, in the order in which to try them.

    Each operation on each file comes once with each error before any comes again: the files of
    different epochs count as one, and so do the writes of one file.
    """
    numbers: Counter[str] = Counter()
    every = []
    for call in calls(log):
        numbers[call.operation] += 1
        for error in ERRORS.get(call.operation, ()):
            if error != SHORT or int(call.other) > 1:
                trial = Trial(call.operation, numbers[call.operation], error)
                every.append((trial, Kind(call.operation, _file(call), error)))
    random.Random(seed).shuffle(every)
    seen: Counter[Kind] = Counter()
    rounds = []
    for trial, kind in every:
        rounds.append((seen[kind], trial, kind))
        seen[kind] += 1
    return {trial: kind for _, trial, kind in sorted(rounds, key=lambda each: each[0])}


def _file(call: Call) -> str:
    """The name of a file or folder, without the number of an epoch, a time or what is random."""
    return re.sub(r"\d+", "", re.sub(r"\.[^.]*\.unfinished$", "", Path(call.path).name))


def judged(prepared: Prepared, trial: Trial, plant: str = "") -> Verdict:
    """Runs a command with a fault, and again without."""
    case, places, worker = prepared.case, prepared.places, prepared.worker
    limit = prepared.limit
    prepared.reset()
    arguments = places.filled(case.arguments)
    code, messages = worker.run(arguments, places.out, trial.environment(), plant, limit)
    made = calls(worker.log.read_text())
    failed = [call for call in made if call.failed]
    killed = code == -signal.SIGKILL
    if not failed or (trial.error == KILL and not killed and code != STOPPED):
        return Verdict([], [], reached=False)
    wrong: list[str] = []
    lost: list[str] = []
    if code == STOPPED:
        lost.append(f"still running after {limit:.0f} s")
    elif code < 0 and not (killed and trial.error == KILL):
        lost.append(f"ended by signal {-code}")
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
    elif trial.error in TOLD and code >= 0:
        wrong += _untold(prepared, made, code, messages)
    wrong += _mistranslated(prepared)
    code, messages = worker.run(
        places.filled(case.retry(places.out)), places.out, plant=plant, kill_after=limit
    )
    if code:
        lost.append(f"typed again, exit code {code}: {messages[-300:]!r}")
        return Verdict(wrong, lost)
    try:
        found = fingerprint(places.out)
        if other := [name for name in prepared.new if found.get(name) != prepared.new[name]]:
            lost.append(f"typed again, another {other[0]}")
    except Broken as error:
        wrong.append(f"typed again, {error}")
    if left := [each for each in leftovers(places.out) if not each.endswith(".bulk-translate")]:
        wrong.append(f"typed again, {left[0]} is left")
    return Verdict(wrong, lost)


def _untold(prepared: Prepared, made: list[Call], code: int, messages: str) -> list[str]:
    """Calls that failed, without a retry, and without exit code 1 and a message with a path."""
    failed = [
        call
        for index, call in enumerate(made)
        if call.failed and not call.is_of_a_log and not _reopened(call, made[index + 1 :])
    ]
    if not failed:
        return []
    place = prepared.places.out
    what = f"{failed[0].operation} of {Path(failed[0].path).relative_to(place)} failed"
    if code != 1:
        return [f"exit code {code}, though {what}"]
    if str(place) not in messages:
        return [f"no path is named, though {what}: {messages[-200:]!r}"]
    return []


def _reopened(failed: Call, later: list[Call]) -> bool:
    """Whether a file was opened on a retry, the next call of it: `zipfile` tries other modes."""
    following = next((call for call in later if call.path == failed.path), None)
    known = following is not None and (following.operation, following.failed) == ("open", False)
    return failed.operation == "open" and known


def _mistranslated(prepared: Prepared) -> list[str]:
    """A model of old and new files that loads."""
    if not prepared.case.loaded:
        return []
    code, answer = prepared.translated()
    if answer in prepared.answers or (code == 1 and MISMATCH in answer):
        return []
    return [f"translate with what is there: exit code {code}, {answer[-200:]!r}"]


def _holds(found: dict[str, str], wanted: dict[str, str]) -> bool:
    return wanted.items() <= found.items()


def _mixed(prepared: Prepared, found: dict[str, str]) -> list[str]:
    """Files that are neither those before nor those after."""
    old, new = prepared.old, prepared.new
    if prepared.case.checkpoints:
        return [f"{name} is neither old nor new" for name in unlike(found, old, new)]
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
    minutes: float,
    beam_python: str = "",
    commands: Sequence[str] = (),
) -> Iterator[Row]:
    """Rows of the table, two for each command.

    Args:
        model: Model directory of `make demo`, with the exports beside it.
        work: Folder for outputs and logs.
        seed: Of the sample.
        minutes: After which no further fault is tried; at least one is for each command.
        beam_python: An interpreter with Apache Beam, for bulk-translate.
        commands: Names of the commands to try, with as many faults as there is time for; all, with
            at most 40 faults each, if there are none.

    Raises:
        ValueError: There is no command of that name.
    """
    check_known("command", commands, (case.name for case in CASES))
    end = time.monotonic() + 60 * minutes
    data = work / "data"
    write_data(data, seed)
    chosen = [case for case in CASES if case.name in commands or not commands]
    chosen = [case for case in chosen if beam_python or case.name != BULK]
    workers: dict[str, Worker] = {}
    try:
        for index, case in enumerate(chosen):
            python = beam_python if case.name == BULK else sys.executable
            if python not in workers:
                workers[python] = Worker(work / f"worker{len(workers)}", python=python)
            folder = work / case.name.replace(" ", "-")
            share = (end - time.monotonic()) / (len(chosen) - index)
            until = time.monotonic() + share
            prepared = Prepared(workers[python], case, model, data, folder)
            yield from run_case(prepared, seed, until, None if commands else TRIALS)
            shutil.rmtree(folder / "out", ignore_errors=True)
    finally:
        for worker in workers.values():
            worker.close()


def run_case(prepared: Prepared, seed: int, until: float, most: int | None) -> list[Row]:
    """The two rows of a command, with at most so many faults."""
    name = prepared.case.name
    made = calls(prepared.log)
    renames = sum(call.operation == "rename" for call in made)
    problems = unsafe(made)
    tried = wrong = lost = missed = 0
    notes: Counter[str] = Counter()
    planned = trials(prepared.log, seed)
    kinds = set()
    for trial in list(planned)[:most]:
        if tried and time.monotonic() > until:
            break
        found = judged(prepared, trial)
        if not found.reached:
            missed += 1
            continue
        tried += 1
        kinds.add(planned[trial])
        wrong += bool(found.wrong)
        lost += bool(found.lost and not found.wrong)
        each = [*found.wrong, *found.lost]
        if each:
            with open(prepared.kept.parent / "problems.txt", "a") as file:
                print(trial, *each, sep="\n    ", file=file)
        notes.update(re.sub(r"['\"\d].*", "", note)[:60] for note in each)
    numbers = Counter(call.operation for call in made)
    summary = f"of {sum(numbers[each] for each in OPERATIONS)} calls; {len(kinds)} of "
    summary += f"{len(set(planned.values()))} kinds of faults" + "".join(
        f"; {note.strip()} ({times})" for note, times in notes.most_common(4)
    )
    if missed:
        summary += f"; {missed} faults did not happen and are not counted"
    return [
        Row(f"power failure, {name}", renames, renames - len(problems), len(problems), 0,
            "; ".join(problems)),
        Row(f"failing writes and kills, {name}", tried, tried - wrong - lost, wrong,
            # Nothing tried is nothing survived.
            lost if tried else 1, summary),
    ]  # fmt: skip
