"""Deprecated names of keyword arguments and settings, accepted for one release."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def with_new_names(values: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Replaces old names by new ones.

    Args:
        values: Values by name.
        renamed: New name of each old name.

    Raises:
        ValueError: A value is given under both names.
    """
    for old, new in renamed.items():
        if old in values and new in values:
            raise ValueError(f"{old} is the deprecated name of {new}: use only {new}.")
    return {renamed.get(name, name): value for name, value in values.items()}


def renamed_arguments(**renamed: str) -> Callable[[Function], Function]:
    """A decorator for functions with renamed keyword arguments.

    The old names are accepted with a `DeprecationWarning`.

    Args:
        **renamed: `old="new"`.
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for old in renamed.keys() & kwargs.keys():
                warn_of_old_name(old, renamed[old], stacklevel=3)
            return function(*args, **with_new_names(kwargs, renamed))

        return wrapper  # type: ignore[return-value]

    return decorate


def warn_of_old_name(old: str, new: str, stacklevel: int = 2) -> None:
    """Warns that a name is deprecated."""
    warnings.warn(
        f"{old} is deprecated and will be removed in the next release: use {new}.",
        DeprecationWarning,
        stacklevel=stacklevel + 1,
    )
