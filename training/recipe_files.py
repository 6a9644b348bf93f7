"""Recipes as files: TOML, overrides, and no setting that would be ignored."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.training.recipe import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).parent / "recipes"
MODEL_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(ModelConfig)
    if field.default is not dataclasses.MISSING
}


def _model(recipe: Recipe, name: str) -> Any:
    return recipe.model.get(name, MODEL_DEFAULTS[name])


def _splits_by_name(recipe: Recipe) -> bool:
    return recipe.data.corpus not in ("phrases", "multi30k")


_SPLITS = "data.corpus is 'lines', 'tsv' or of TFDS; 'phrases' and 'multi30k' have fixed splits"
# Settings that only some recipes use: the condition in words and in code.
_USED_WHERE: Mapping[str, tuple[str, Callable[[Recipe], bool]]] = {
    "data.train": (_SPLITS, _splits_by_name),
    "data.validation": (_SPLITS, _splits_by_name),
    "data.test": (_SPLITS, _splits_by_name),
    "data.source_column": ("data.corpus='tsv'", lambda r: r.data.corpus == "tsv"),
    "data.target_column": ("data.corpus='tsv'", lambda r: r.data.corpus == "tsv"),
    "data.alignment": ("data.corpus='lines'", lambda r: r.data.corpus == "lines"),
    "data.validation_size": ("data.corpus='phrases'", lambda r: r.data.corpus == "phrases"),
    "vocabulary.target_size": (
        "vocabulary.shared=false (a shared vocabulary has source_size pieces)",
        lambda r: not r.vocabulary.shared or r.vocabulary.target_size == r.vocabulary.source_size,
    ),
    "vocabulary.sampling_alpha": ("vocabulary.samples>1", lambda r: r.vocabulary.samples > 1),
    "model.reset_after": ("model.cell='gru'", lambda r: _model(r, "cell") == "gru"),
    "model.attention_units": (
        "model.attention='bahdanau'",
        lambda r: _model(r, "attention") == "bahdanau",
    ),
    "model.readout_units": ("model.readout='maxout'", lambda r: _model(r, "readout") == "maxout"),
    "model.dropout_per_sentence": (
        "model.embedding_dropout, annotation_dropout or readout_dropout above 0",
        lambda r: any(
            _model(r, f"{name}_dropout") for name in ("embedding", "annotation", "readout")
        ),
    ),
    "training.guided_alignment": (
        "a model with attention",
        lambda r: _model(r, "attention") != "none",
    ),
    "training.plateau_patience": (
        "training.schedule='plateau'",
        lambda r: r.training.schedule == "plateau",
    ),
    "training.plateau_factor": (
        "training.schedule='plateau'",
        lambda r: r.training.schedule == "plateau",
    ),
}


def load_recipe(name: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe that comes with the package, or a file.

    Args:
        name: A name such as `multi30k`, or the path of a TOML file.
        overrides: `section.key=value`, the value as TOML writes it; quotes may be left out.

    Raises:
        ValueError: The recipe or a name in it is not known, a value does not fit, or the file or
            an override sets something that would have no effect.
    """
    path = Path(os.path.expanduser(name))
    if path.suffix != ".toml":
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            raise ValueError(
                f"There is no recipe {str(name)!r}. Known: {', '.join(recipe_names())}; or give "
                "the path of a file that ends with .toml."
            )
    if not path.is_file():
        raise FileNotFoundError(f"No recipe file at {path}.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    recipe = Recipe.from_dict(values)
    unused_in_file = unused_settings(recipe)
    overridden = [_override(values, override) for override in overrides]
    if overridden:
        recipe = Recipe.from_dict(values)
    unused = unused_settings(recipe)
    _refuse({each: unused[each] for each in overridden if each in unused}, "The override")
    # An override may make use of a setting of the file, or switch it off.
    _refuse({each: unused[each] for each in unused_in_file if each in unused}, str(path))
    return recipe


def unused_settings(recipe: Recipe) -> dict[str, str]:
    """Settings that differ from their default and have no effect, with what they would need."""
    values = recipe.to_dict()
    values["model"] = {**MODEL_DEFAULTS, **recipe.model}
    defaults = {**Recipe().to_dict(), "model": MODEL_DEFAULTS}
    unused = {}
    for setting, (condition, is_used) in _USED_WHERE.items():
        section, name = setting.split(".")
        if values[section][name] != defaults[section][name] and not is_used(recipe):
            unused[setting] = condition
    return unused


def _refuse(unused: Mapping[str, str], where: str) -> None:
    for setting, condition in unused.items():
        raise ValueError(
            f"{where}: {setting} would have no effect, as it needs {condition}. Leave it out."
        )


def recipe_names() -> list[str]:
    """Names of the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _override(values: dict[str, Any], override: str) -> str:
    """Sets one value; returns `section.key`."""
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise ValueError(
            f"Override {override!r} is not section.key=value, such as training.epochs=5."
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    if not isinstance(values.setdefault(section, {}), dict):
        raise ValueError(f"[{section}] must be a section of a recipe, got {values[section]!r}.")
    values[section][name] = value
    return f"{section}.{name}"
