"""Faults put into the package on purpose: whether the campaigns of writes and kills notice them.

A fault is noticed if the campaign finds something with it, and in the same trial nothing without.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from campaign import kills
from campaign.fault_cases import CASES, Prepared, Worker, write_data
from campaign.power_loss import calls, unsafe
from campaign.rows import Row
from campaign.write_faults import judged, trials

# The case in which each fault of `fault_worker.PLANTS` is planted.
PLANTED = {
    "no-sync": "attention picture",
    "sync-after-rename": "attention picture",
    "folder-not-synced": "attention picture",
    "fsync-errors-ignored": "attention picture",
    "in-place": "attention picture",
    "swallowed": "attention picture",
    "leftovers": "attention picture",
    "half-folder": "export web",
    "early-state": "train",
}
# The fault that only killed and resumed trainings show.
OF_RESUMING = "dropout-not-reseeded"
# Most faults of calls, and number of kills, for each planted fault.
TRIALS, KILLS = 30, 8


def campaign(model: Path, work: Path, seed: int) -> Iterator[Row]:
    """A row for each planted fault; it survives if it is noticed.

    Args:
        model: Model directory.
        work: Folder for outputs.
        seed: Of the sample of trials.
    """
    data = work / "data"
    write_data(data, seed)
    worker = Worker(work / "worker")
    try:
        for name in dict.fromkeys(PLANTED.values()):
            (case,) = (each for each in CASES if each.name == name)
            prepared = Prepared(worker, case, model, data, work / name.replace(" ", "-"))
            for plant in (plant for plant, place in PLANTED.items() if place == name):
                yield _row(f"{plant}, {name}", *noticed(prepared, plant, seed))
    finally:
        worker.close()
    found, without = (
        [row.notes for row in trainings(work / "kills", seed, plant) if row.wrong or row.lost]
        for plant in (OF_RESUMING, "")
    )
    yield _row(f"{OF_RESUMING}, killed trainings", "; ".join(found), "; ".join(without))


def _row(name: str, reason: str, without: str) -> Row:
    """The row of a fault: what was found with it, and in the same trial without it."""
    caught = bool(reason) and not without
    notes = f"without the fault: {without}" if without else reason or "not noticed"
    return Row(f"planted fault: {name}", 1, int(caught), 0, int(not caught), notes)


def noticed(prepared: Prepared, plant: str, seed: int) -> tuple[str, str]:
    """What is found with a planted fault, and in the same trial without; or empty strings."""
    prepared.reset()
    places, worker = prepared.places, prepared.worker
    code, messages = worker.run(places.filled(prepared.case.arguments), places.out, plant=plant)
    if code:
        raise RuntimeError(f"{plant} alone makes the command end with {code}: {messages}")
    if problems := unsafe(calls(log := worker.log.read_text())):
        return f"power failure: {problems[0]}", "; ".join(unsafe(calls(prepared.log)))
    for number, trial in enumerate(list(trials(log, seed))[:TRIALS], 1):
        found = judged(prepared, trial, plant)
        if problems := [*found.wrong, *found.lost]:
            without = judged(prepared, trial)
            reason = f"trial {number}, {trial}: {problems[0][:120]}"
            return reason, "; ".join([*without.wrong, *without.lost])
    return "", ""


def trainings(work: Path, seed: int, plant: str) -> list[Row]:
    """The rows of a few killed trainings on TensorFlow."""
    until = time.monotonic() + 3600
    return kills.killed_trainings(work, seed, KILLS, until, "tensorflow", plant)
