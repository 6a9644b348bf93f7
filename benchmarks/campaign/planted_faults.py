"""Faults put into the package on purpose: whether the campaigns of writes and kills notice them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from campaign.fault_cases import CASES, Prepared, Worker, write_data
from campaign.power_loss import calls, unsafe
from campaign.rows import Row
from campaign.write_faults import judged, trials

# The case in which each fault of `fault_worker.PLANTS` is planted.
PLANTED = {
    "no-sync": "attention picture",
    "sync-after-rename": "attention picture",
    "in-place": "attention picture",
    "swallowed": "attention picture",
    "leftovers": "attention picture",
    "half-folder": "export web",
    "early-state": "train",
}


def campaign(
    model: Path, work: Path, seed: int, count: int = 30, only: Sequence[str] = ()
) -> Iterator[Row]:
    """A row for each planted fault that is chosen; it survives if it is caught.

    Args:
        model: Model directory.
        work: Folder for outputs.
        seed: Of the sample of trials.
        count: Most trials for each.
        only: Names of faults; none: all.
    """
    data = work / "data"
    write_data(data, seed)
    chosen = {plant: case for plant, case in PLANTED.items() if not only or plant in only}
    worker = Worker(work / "worker")
    try:
        for name in dict.fromkeys(chosen.values()):
            (case,) = (each for each in CASES if each.name == name)
            prepared = Prepared(worker, case, model, data, work / name.replace(" ", "-"))
            for plant in (plant for plant, place in chosen.items() if place == name):
                reason = noticed(prepared, plant, count, seed)
                row = Row(f"planted fault: {plant}, {name}", 1, int(bool(reason)), 0, 0, reason)
                yield row if reason else row._replace(lost=1, notes="not caught")
    finally:
        worker.close()


def noticed(prepared: Prepared, plant: str, count: int, seed: int) -> str:
    """By what a planted fault is caught, or an empty string."""
    prepared.reset()
    places, worker = prepared.places, prepared.worker
    worker.run(places.filled(prepared.case.arguments), places.out, plant=plant)
    if problems := unsafe(calls(log := worker.log.read_text())):
        return f"power failure: {problems[0]}"
    for number, trial in enumerate(trials(log, count, seed), 1):
        wrong, lost = judged(prepared, trial, plant)
        if wrong or lost:
            return f"trial {number}, {trial}: {(wrong + lost)[0][:120]}"
    return ""
