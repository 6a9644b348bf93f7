"""The result of a campaign: rows of a table."""

from __future__ import annotations

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
