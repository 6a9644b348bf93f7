"""The result of a campaign: rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


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


def planted(campaign: str, found: Mapping[str, Iterable[Row]]) -> Row:
    """A row of planted faults: survived are those that rows of the campaign show.

    Args:
        campaign: Its name.
        found: The rows of the campaign for each fault.
    """
    missed = [
        fault for fault, rows in found.items() if not any(row.wrong or row.lost for row in rows)
    ]
    notes = f"missed: {', '.join(missed)}" if missed else f"caught: {', '.join(found)}"
    caught = len(found) - len(missed)
    return Row(f"{campaign}, planted faults", len(found), caught, len(missed), 0, notes)
