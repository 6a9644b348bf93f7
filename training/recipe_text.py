"""Recipes as text: TOML with every setting, and the differences of two recipes.

Meanings come from the docstrings of the sections.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.training.recipe import DataRecipe, Recipe, VocabularyRecipe
from keras_attn_nmt.training.recipe_files import (
    RECIPES,
    all_settings,
    recipe_names,
    unmet_conditions,
)
from keras_attn_nmt.training.training_recipe import TrainingRecipe

SECTIONS: Mapping[str, Any] = {
    "data": DataRecipe,
    "vocabulary": VocabularyRecipe,
    "model": ModelConfig,
    "training": TrainingRecipe,
    "search": SearchOptions,
}
_WIDTH = 98
_LIST = re.compile(r"^(?:Attributes|Args):\n(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_ITEM = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def meanings() -> dict[str, str]:
    """The meaning and range of every setting by `section.key`, from the docstrings."""
    found: dict[str, str] = {}
    for section, kind in SECTIONS.items():
        lists = _LIST.search(inspect.getdoc(kind) or "")
        items = _ITEM.findall(lists[1]) if lists else []
        found |= {f"{section}.{name}": " ".join(text.split()) for name, text in items}
    return {setting: found.get(setting, "") for setting in all_settings(Recipe())}


def describe(recipe: Recipe) -> dict[str, dict[str, dict[str, Any]]]:
    """Value, default, meaning and, if unmet, precondition of every setting by section and key."""
    values, defaults = all_settings(recipe), all_settings(Recipe())
    unmet, texts = unmet_conditions(recipe), meanings()
    sections: dict[str, dict[str, dict[str, Any]]] = {}
    for setting, default in defaults.items():
        section, name = setting.split(".")
        described = {
            "value": values[setting],
            "default": default,
            "meaning": texts[setting],
        }
        if setting in unmet:
            described["requires"] = unmet[setting]
        sections.setdefault(section, {})[name] = described
    return sections


def to_toml(recipe: Recipe, title: str) -> str:
    """A recipe with every setting, its default, meaning and range as commented TOML.

    Settings whose precondition is not met are commented out, so that `load_recipe` accepts the
    text.

    Args:
        recipe: The recipe.
        title: First line of the text, as a comment.
    """
    lines = _comment(title)
    for section, settings in describe(recipe).items():
        about = (inspect.getdoc(SECTIONS[section]) or section).partition("\n")[0]
        lines += ["", "", f"# {about}", f"[{section}]"]
        for name, each in settings.items():
            notes = f"Default: {to_toml_value(each['default'])}."
            if "requires" in each:
                notes += f" No effect here: requires {each['requires']}."
            lines += ["", *_comment(each["meaning"]), *_comment(notes)]
            off = "# " if "requires" in each else ""
            lines.append(f"{off}{name} = {to_toml_value(each['value'])}")
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    # Long words are paths and expressions, which should stay whole.
    wrapped = textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}" for line in wrapped]


def to_toml_value(value: Any) -> str:
    """A string, number, boolean, list or dictionary in TOML syntax."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON leaves DEL as it is, which TOML does not allow.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{json.dumps(key)} = {to_toml_value(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(to_toml_value, value)) + "]"
    return repr(value)


def differences(first: Recipe, second: Recipe) -> dict[str, tuple[Any, Any]]:
    """The values of the settings that differ, by `section.key`."""
    values, others = all_settings(first), all_settings(second)
    return {
        setting: (values[setting], others[setting])
        for setting in values
        if values[setting] != others[setting]
    }


def built_in() -> dict[str, str]:
    """What each built-in recipe is, by name, from the comment at the top of its file."""
    abouts = {}
    for name in recipe_names():
        top = (RECIPES / f"{name}.toml").read_text(encoding="utf-8").partition("\n[")[0]
        abouts[name] = " ".join(
            line.removeprefix("#").strip() for line in top.splitlines() if line.startswith("#")
        )
    return abouts
