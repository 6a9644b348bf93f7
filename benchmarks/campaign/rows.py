"""The result of a campaign: rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

# How the notes of a row begin that has no trials on purpose.
LEFT_OUT = "left out: "


class Row(NamedTuple):
    """A row of the table.

    Attributes:
        name: What was tried.
        tried: Number of trials.
        survived: Trials with the right result, or with the error that the documentation promises.
        wrong: Trials with another result.
        lost: Trials without a result: a crash, a hang, an answer that never came.
        notes: Figures, and an explanation of each kind of difference.
    """

    name: str
    tried: int
    survived: int
    wrong: int
    lost: int
    notes: str = ""

    @property
    def failed(self) -> bool:
        """Whether a trial failed, or there was none although none was left out on purpose."""
        tried = self.tried or self.notes.startswith(LEFT_OUT)
        return bool(self.wrong or self.lost or not tried)


class Shown(NamedTuple):
    """Name of the row that must show a planted fault, and its column."""

    row: str
    column: str = "wrong"


def planted(
    campaign: str,
    found: Mapping[str, Iterable[Row]],
    shown: Mapping[str, Shown] | None = None,
    clean: Iterable[Row] | None = None,
) -> Row:
    """A row of planted faults: survived are those that the right row of the campaign shows.

    Args:
        campaign: Its name.
        found: The rows of the campaign for each fault.
        shown: Where each fault must be seen; by default, as wrong trials of any row.
        clean: Rows of an equally short run without a fault, in which none of these rows may fail.
    """
    missed = {}
    for fault, rows in found.items():
        rows = list(rows)
        if not _shows(rows, shown[fault] if shown else None):
            failed = [row.name for row in rows if row.failed]
            missed[fault] = f"{fault} (what failed instead: {', '.join(failed) or 'nothing'})"
    problems = [f"missed: {', '.join(missed.values())}"] if missed else []
    tried, wrong = len(found), len(missed)
    if clean is not None:
        passed = {row.name for row in clean if not row.failed}
        failed = sorted({each.row for each in (shown or {}).values()} - passed)
        tried, wrong = tried + 1, wrong + bool(failed)
        problems += [f"failed without a fault: {', '.join(failed)}"] if failed else []
    caught = [fault for fault in found if fault not in missed]
    notes = "; ".join([*problems, f"caught: {', '.join(caught) or 'none'}"])
    return Row(f"{campaign}, planted faults", tried, tried - wrong, wrong, 0, notes)


def _shows(rows: Iterable[Row], where: Shown | None) -> bool:
    return any(
        row.tried and getattr(row, where.column if where else "wrong")
        for row in rows
        if where is None or row.name == where.row
    )
