"""What a run finds in its directory: nothing, a model, or an interrupted run to resume."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from keras_attn_nmt import model_directory
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import RECIPE
from keras_attn_nmt.writing import write_text

# Key in `RECIPE` in addition to the sections: path and SHA-256 of given SentencePiece models and
# vectors.
_VOCABULARY_FILES = "vocabulary_files"


def write_recipe(output: Path, recipe: Recipe, vocabulary_files: dict[str, Any]) -> None:
    """Writes `recipe.json` at the start of a run."""
    values = {**recipe.to_dict(), _VOCABULARY_FILES: vocabulary_files}
    write_text(output / RECIPE, json.dumps(values, indent=2) + "\n")


def vocabulary_files(output: Path) -> dict[str, Any]:
    """Path and SHA-256 of the SentencePiece models and vectors that a run was given."""
    values: dict[str, Any] = json.loads((output / RECIPE).read_text(encoding="utf-8"))
    return values.get(_VOCABULARY_FILES) or {}


def nothing_to_resume(output: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"Nothing to resume in {output}: no epoch was saved. Start without --resume."
    )


def check_output(output: Path, recipe: Recipe, resume: bool) -> dict[str, Any] | None:
    """The state to resume from, or `None`."""
    state = callbacks.read_state(output / model_directory.CHECKPOINTS)
    used = state is not None or (output / model_directory.MODEL).exists()
    if not resume:
        if used:
            raise FileExistsError(
                f"{output} already holds a model or an interrupted run: use another directory, "
                "remove it, or resume with --resume."
            )
        return None
    if state is None:
        raise nothing_to_resume(output)
    check_same_recipe(output, recipe)
    return state


def check_same_recipe(output: Path, recipe: Recipe) -> None:
    """Raises `ValueError` unless the run in a directory was started with this recipe."""
    try:
        # Settings that an older release did not have get their defaults.
        text = (output / RECIPE).read_text(encoding="utf-8")
        values = json.loads(text)
        values.pop(_VOCABULARY_FILES, None)
        before = Recipe.from_dict(values).to_dict()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{output / RECIPE} is missing or damaged ({error}): the run in {output} cannot be "
            "resumed. Start a new one in another directory."
        ) from error
    # The model section only holds explicit settings.
    defaults = {field.name: field.default for field in dataclasses.fields(ModelConfig)}
    now = recipe.to_dict()
    for each in (before, now):
        each["model"] = {**defaults, **each["model"]}
    for section, values in now.items():
        if values != before.get(section):
            changed = [key for key in values if values[key] != before.get(section, {}).get(key)]
            raise ValueError(
                f"The run in {output} was started with different values of "
                f"{', '.join(f'{section}.{key}' for key in changed)}: resume with the same recipe "
                f"and overrides, see {output / RECIPE}, or start in another directory."
            )


def written_epoch(output: Path) -> int | None:
    """Epoch index of the saved model, or `None` if `training.json` is missing or damaged."""
    try:
        written = json.loads((output / model_directory.TRAINING).read_text(encoding="utf-8"))
        return int(written["best_epoch"]) - 1
    except (OSError, ValueError, KeyError, TypeError):
        return None
