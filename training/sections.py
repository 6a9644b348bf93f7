"""Sections of a recipe: dataclasses made from the values of a TOML file."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.checks import check_known
from keras_attn_nmt.deprecation import renamed_arguments

# Old names of settings by section, for one release.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "vocabulary": {"samples": "segmentation_samples"},
    "training": {"average_weights": "ema_momentum"},
}


def accepts_old_names(section: str) -> Any:
    """A class decorator: the constructor accepts the old names of a section's settings."""

    def decorate(kind: Any) -> Any:
        kind.__init__ = renamed_arguments(**RENAMED[section])(kind.__init__)
        for old, new in RENAMED[section].items():
            setattr(kind, old, property(operator.attrgetter(new), doc=f"Old name of `{new}`."))
        return kind

    return decorate


def make_section(kind: Any, section: str, values: Mapping[str, Any]) -> Any:
    """Makes a section; unknown names and values of the wrong type raise `ValueError`.

    Args:
        kind: The dataclass of the section.
        section: Its name in messages.
        values: Its settings.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    check_known(f"setting in [{section}]:", values, sorted(fields))
    checked = {}
    for name, value in values.items():
        wanted = type(fields[name].default)
        if wanted is float and type(value) is int:
            value = float(value)
        if wanted is tuple:
            value = tuple(value) if isinstance(value, list | tuple) else value
        elif type(value) is not wanted:
            raise ValueError(f"{section}.{name} must be of type {wanted.__name__}, got {value!r}.")
        checked[name] = value
    try:
        return kind(**checked)
    except ValueError as error:
        # The messages of the dataclass name the section of a recipe, not a table in it.
        if "[" not in section or str(error).startswith(section):
            raise
        raise ValueError(f"{section}: {error}") from error
