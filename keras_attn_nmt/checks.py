"""Validation of numeric arguments and of names."""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable
from typing import Any


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Returns a Python or NumPy integer as an `int`.

    Raises:
        ValueError: The value is not an integer, less than `least` or more than `most`.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}.")
    if most is not None and value > most:
        raise ValueError(f"{name} must be at most {most:,}, got {value}.")
    return int(value)


def check_n_best(n_best: int, beam_size: int) -> None:
    """Raises `ValueError` if a beam has fewer hypotheses than are asked for."""
    if n_best > beam_size:
        raise ValueError(
            f"n_best={n_best} (--n-best) requires a beam_size (--beam-size) of {n_best} or larger, "
            f"got {beam_size}."
        )


def check_attention(has_attention: bool, **options: Any) -> None:
    """Raises `ValueError` if options are given that need attention, and a model has none.

    Args:
        has_attention: Whether the model has attention.
        options: Options by name; 0 and `False` are as good as none.
    """
    given = [
        f"{name}={value:g}" if is_number(value) else name
        for name, value in options.items()
        if value
    ]
    if given and not has_attention:
        raise ValueError(
            f"{', '.join(given)} needs attention, which this model does not have, or was exported "
            "without: leave it out, or use a model with attention."
        )


def is_number(value: Any) -> bool:
    """Whether a value is a real Python or NumPy number, but not a bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_known(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises `ValueError` for an unknown name, with the closest known one, or all of them."""
    known = list(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known)}."
            raise ValueError(f"Unknown {kind} {name!r}. {hint}")
