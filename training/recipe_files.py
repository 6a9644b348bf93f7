"""Recipe files: TOML, overrides, and rejection of settings without effect."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.deprecation import warn_of_old_name
from keras_attn_nmt.run_record import RECIPE, TRAINING, read_record
from keras_attn_nmt.training.mix_recipe import mixed_corpora
from keras_attn_nmt.training.recipe import Recipe, check_sections, with_new_settings
from keras_attn_nmt.training.sections import RENAMED

RECIPES = resources.files(__package__) / "recipes"
MODEL_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(ModelConfig)
    if field.default is not dataclasses.MISSING
}


def _model(recipe: Recipe, name: str) -> Any:
    return recipe.model.get(name, MODEL_DEFAULTS[name])


def _splits_by_name(recipe: Recipe) -> bool:
    return recipe.data.corpus not in ("phrases", "multi30k")


_SPLITS = (
    "data.corpus='lines', 'tsv', 'jsonl', 'tmx', 'dictionary' or a TFDS name; 'phrases' and "
    "'multi30k' have fixed splits"
)
# Settings with a precondition: as text and as a predicate.
_USED_WHERE: Mapping[str, tuple[str, Callable[[Recipe], bool]]] = {
    "data.train": (_SPLITS, _splits_by_name),
    "data.validation": (_SPLITS, _splits_by_name),
    "data.test": (_SPLITS, _splits_by_name),
    "data.source_column": ("data.corpus='tsv'", lambda r: r.data.corpus == "tsv"),
    "data.target_column": ("data.corpus='tsv'", lambda r: r.data.corpus == "tsv"),
    "data.source_field": ("data.corpus='jsonl'", lambda r: r.data.corpus == "jsonl"),
    "data.target_field": ("data.corpus='jsonl'", lambda r: r.data.corpus == "jsonl"),
    "data.alignment": ("data.corpus='lines'", lambda r: r.data.corpus == "lines"),
    "data.validation_size": ("data.corpus='phrases'", lambda r: r.data.corpus == "phrases"),
    "data.cache": ("data.sample=0", lambda r: not r.data.sample),
    "training.steps_per_epoch": ("data.sample", lambda r: bool(r.data.sample)),
    "training.bleu_tokenize": (
        "training.bleu_sentences above 0, or another data.corpus than 'dictionary', whose test "
        "set is scored in words and phones",
        lambda r: r.training.bleu_sentences > 0 or r.data.corpus != "dictionary",
    ),
    "data.concatenate": (
        "sentences, but data.corpus='dictionary' has words",
        lambda r: r.data.corpus != "dictionary",
    ),
    "vocabulary.target_model": (
        "vocabulary.shared=false (source_model is the model of both languages)",
        lambda r: not r.vocabulary.shared,
    ),
    "vocabulary.source_size": (
        "a learned source vocabulary, but vocabulary.source_model is given",
        lambda r: "source" in r.vocabulary.learned,
    ),
    "vocabulary.target_size": (
        "a learned target vocabulary of its own (no vocabulary.target_model, and "
        "vocabulary.shared=false: a shared vocabulary has source_size pieces)",
        lambda r: (
            "target" in r.vocabulary.learned
            or (
                "source" in r.vocabulary.learned
                and r.vocabulary.target_size == r.vocabulary.source_size
                and r.vocabulary.shared
            )
        ),
    ),
    **{
        f"vocabulary.{name}": (
            "a learned vocabulary, but vocabulary.source_model and target_model are given",
            lambda r: bool(r.vocabulary.learned),
        )
        for name in ("model_type", "normalization", "character_coverage", "byte_fallback")
    },
    "vocabulary.target_model_type": (
        "a learned target vocabulary of its own (no vocabulary.target_model, and "
        "vocabulary.shared=false)",
        lambda r: "target" in r.vocabulary.learned,
    ),
    "vocabulary.sampling_alpha": (
        "vocabulary.segmentation_samples>1",
        lambda r: r.vocabulary.segmentation_samples > 1,
    ),
    "model.reset_after": ("model.cell='gru'", lambda r: _model(r, "cell") == "gru"),
    "model.attention_units": (
        "model.attention='bahdanau'",
        lambda r: _model(r, "attention") == "bahdanau",
    ),
    "model.readout_units": ("model.readout='maxout'", lambda r: _model(r, "readout") == "maxout"),
    "model.annotation_dropout": (
        "a model with attention, or model.encoder_layers>1",
        lambda r: _model(r, "attention") != "none" or _model(r, "encoder_layers") > 1,
    ),
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
    "search.coverage_penalty": (
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


def load_recipe(
    name: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    *,
    parent: str | os.PathLike[str] | None = None,
) -> Recipe:
    """Loads a built-in recipe or a recipe file.

    Args:
        name: Name of a built-in recipe such as `multi30k`, or path of a TOML file.
        overrides: `section.key=value`, with the value in TOML syntax; quotes are optional.
        parent: Model directory whose weights training begins with, see `train`. The sections
            `[model]` and `[vocabulary]` are then those of this model; those of a built-in recipe
            are ignored, and a file or an override may change dropout and sampling only. Languages
            that neither sets are those of this model, too.

    Raises:
        FileNotFoundError: The recipe file or the parent does not exist.
        ValueError: The recipe or a setting is unknown, a value is invalid, or a setting would have
            no effect, or differs from what the weights of the parent fix.
    """
    path: Traversable = Path(os.path.expanduser(name))
    built_in = not path.name.endswith(".toml")
    if built_in:
        path = RECIPES / f"{name}.toml"
        if not path.is_file():
            close = difflib.get_close_matches(str(name), recipe_names())
            hint = f"Did you mean {' or '.join(close)}? " if close else ""
            raise ValueError(
                f"Unknown recipe {str(name)!r}. {hint}Known: {', '.join(recipe_names())}; or give "
                "the path of a .toml file."
            )
    if not path.is_file():
        raise FileNotFoundError(f"The recipe file {path} does not exist.")
    try:
        # Editors of Windows write a byte order mark.
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from error
    check_sections(values)
    values = with_new_settings(values)
    inherited: dict[str, dict[str, Any]] = {}
    if parent is not None:
        # Imports Keras, which a recipe alone does not need.
        from keras_attn_nmt.training.parents import FREE, check_settings, inherited_settings

        inherited = inherited_settings(parent)
        if built_in:
            values = {key: each for key, each in values.items() if key not in FREE}
        check_settings(values, inherited, parent, str(path))
    in_file = {f"{section}.{key}" for section, each in values.items() for key in each}
    for section, settings in inherited.items():
        values[section] = {**settings, **values.get(section, {})}
    overrides = list(overrides)
    unused_in_file = []
    try:
        unused_in_file = [
            each
            for each in unused_settings(Recipe.from_dict(values))
            if each.partition("[")[0] in in_file
        ]
    except ValueError:
        if not overrides:  # Which may mend it, such as R-Drop with a parent without dropout.
            raise
    overridden = [_override(values, override) for override in overrides]
    recipe = Recipe.from_dict(values)
    if parent is not None:
        check_settings(values, inherited, parent, "The override")
    unused = unused_settings(recipe)
    given = [each for each in unused if each.partition("[")[0] in overridden]
    _refuse({each: unused[each] for each in given}, "The override")
    # Overrides may enable or disable the precondition of a setting in the file.
    _refuse({each: unused[each] for each in unused_in_file if each in unused}, str(path))
    return recipe


def unused_settings(recipe: Recipe) -> dict[str, str]:
    """Non-default settings without effect, with the precondition of each."""
    values, defaults = all_settings(recipe), all_settings(Recipe())
    unused = {
        setting: condition
        for setting, condition in unmet_conditions(recipe).items()
        if values[setting] != defaults[setting]
    }
    for table, corpus in zip(recipe.data.mix, mixed_corpora(recipe.data), strict=True):
        if corpus.data is None:
            continue
        if table.get("validation") and corpus.data.corpus != "dictionary":
            unused[f"{corpus.name}.validation"] = (
                "data.corpus='dictionary', or to be '', which holds out the end of its files: "
                "validation data are those of [data]"
            )
        of_corpus = unused_settings(Recipe(data=dataclasses.replace(corpus.data, mix=())))
        unused |= {
            f"{corpus.name}.{name}": of_corpus[f"data.{name}"]
            for name in table
            if f"data.{name}" in of_corpus
        }
    return unused


def unmet_conditions(recipe: Recipe) -> dict[str, str]:
    """Settings without effect, whatever their values, with the precondition of each."""
    return {
        setting: condition
        for setting, (condition, is_used) in _USED_WHERE.items()
        if not is_used(recipe)
    }


def all_settings(recipe: Recipe) -> dict[str, Any]:
    """The value of every setting by `section.key`, including default values."""
    sections = recipe.to_dict()
    sections["model"] = {**MODEL_DEFAULTS, **recipe.model}
    return {
        f"{section}.{name}": value
        for section, values in sections.items()
        for name, value in values.items()
    }


def _refuse(unused: Mapping[str, str], where: str) -> None:
    if unused:
        each = "; ".join(
            f"{setting} has no effect, as it requires {condition}"
            for setting, condition in unused.items()
        )
        raise ValueError(f"{where}: {each}. Remove {'it' if len(unused) == 1 else 'them'}.")


def find_recipe(name: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Recipe:
    """Loads a built-in recipe, a recipe file, or the recipe of a model directory.

    Args:
        name: As in `load_recipe`, or a model directory. A built-in recipe has precedence over a
            directory of its name: write `./multi30k`.
        overrides: See `load_recipe`; not for a model directory.

    Raises:
        ValueError: See `load_recipe`; or the directory has no recipe, or a damaged one.
    """
    path = Path(os.path.expanduser(name))
    if str(name) in recipe_names() or not path.is_dir():
        return load_recipe(name, overrides)
    if list(overrides):
        raise ValueError(f"{path} is a model directory: overrides only apply to a recipe.")
    if recorded := read_run(path):
        return Recipe.from_dict(recorded["recipe"])
    raise ValueError(
        f"The directory {path} has neither {TRAINING} nor {RECIPE}: expected a recipe's name "
        f"({', '.join(recipe_names())}), a .toml file or a model directory."
    )


def read_run(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """`read_record` with the whole recipe: default values, and the new names of renamed settings.

    Raises:
        ValueError: The file or the recipe in it is damaged.
    """
    try:
        recorded = read_record(directory)
        if not recorded:
            return {}
        return {**recorded, "recipe": Recipe.from_dict(recorded["recipe"]).to_dict()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        path = Path(directory, TRAINING)
        raise ValueError(
            f"{path if path.exists() else path.with_name(RECIPE)} is damaged ({error}): restore "
            "it, or remove it to use the model without its record."
        ) from error


def recipe_names() -> list[str]:
    """Names of the built-in recipes."""
    names = (path.name for path in RECIPES.iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def _override(values: dict[str, Any], override: str) -> str:
    """Sets one value; returns `section.key`."""
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        meant = _settings_like(section) if equals and not dot else []
        raise ValueError(
            f"Override {override!r} is not section.key=value, such as training.epochs=5."
            + (f" Did you mean {' or '.join(f'{each}={text}' for each in meant)}?" if meant else "")
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    if not isinstance(values.setdefault(section, {}), dict):
        raise ValueError(f"[{section}] must be a section of a recipe, got {values[section]!r}.")
    if new_name := RENAMED.get(section, {}).get(name):
        warn_of_old_name(f"{section}.{name}", f"{section}.{new_name}")
        name = new_name
    is_text = isinstance(all_settings(Recipe()).get(f"{section}.{name}"), str)
    if is_text and not isinstance(value, str | list | dict):
        value = text  # Such as `nan` or a date.
    values[section][name] = value
    return f"{section}.{name}"


def _settings_like(name: str) -> list[str]:
    """`section.key` of the settings with this key or, if there is none, with the closest one."""
    sections: dict[str, list[str]] = {}
    for setting in all_settings(Recipe()):
        sections.setdefault(setting.partition(".")[2], []).append(setting)
    close = difflib.get_close_matches(name, sections, n=1)
    return sections[close[0]] if close else []
