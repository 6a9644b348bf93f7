"""Validation of numeric arguments."""

from __future__ import annotations

import numbers
from typing import Any


def check_whole(name: str, value: Any, least: int = 1) -> int:
    """Returns a Python or NumPy integer as an `int`.

    Raises:
        ValueError: The value is not an integer, or less than `least`.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    return int(value)


def is_number(value: Any) -> bool:
    """Whether a value is a real Python or NumPy number, but not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
