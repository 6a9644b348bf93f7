"""What a run finds in its directory: nothing, a model, or an interrupted run to resume."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_attn_nmt import model_directory
from keras_attn_nmt.run_record import (
    CHANGES,
    DATA_DIGESTS,
    RECIPE,
    VALIDATION_DIGESTS,
    VOCABULARY_FILES,
    read_start,
    read_training,
)
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import all_settings
from keras_attn_nmt.writing import write_text

logger = logging.getLogger(__name__)

# Settings that a resumption may change. Not `training.monitor`: the checkpoint of the epoch that is
# best by another metric is gone.
CHANGEABLE = (
    "training.epochs",
    "training.patience",
    "training.devices",
    "training.distribution",
    "data.cache",
)


def write_start(
    output: Path,
    recipe: Recipe,
    vocabulary_files: Mapping[str, Any],
    data: BatchedPairs,
    validation: BatchedPairs,
) -> None:
    """Writes `recipe.json` at the start of a run."""
    start = {
        VOCABULARY_FILES: dict(vocabulary_files),
        DATA_DIGESTS: list(data.digests),
        VALIDATION_DIGESTS: list(validation.digests),
    }
    _write_recipe(output, recipe, start)


def _write_recipe(output: Path, recipe: Recipe, start: Mapping[str, Any]) -> None:
    values = {**start, **recipe.to_dict()}
    write_text(output / RECIPE, json.dumps(values, indent=2) + "\n")


def vocabulary_files(output: Path) -> dict[str, Any]:
    """Path and SHA-256 of the SentencePiece models and vectors that a run was given."""
    files: dict[str, Any] = read_start(output)[VOCABULARY_FILES]
    return files


def changes(output: Path) -> list[dict[str, Any]]:
    """The settings that resumptions of a run changed: `after_epoch`, `setting`, `from` and `to`."""
    changed: list[dict[str, Any]] = read_start(output)[CHANGES]
    return changed


def record_changes(output: Path, recipe: Recipe, done: int) -> None:
    """Records the settings that a resumption after `done` epochs changes."""
    before, now = all_settings(_started_with(output)), all_settings(recipe)
    new = [
        {"after_epoch": done, "setting": each, "from": before[each], "to": now[each]}
        for each in CHANGEABLE
        if before[each] != now[each]
    ]
    if new:
        start = read_start(output)
        del start["recipe"]
        _write_recipe(output, recipe, {**start, CHANGES: [*start[CHANGES], *new]})
    epochs = [each for each in new if each["setting"] == "training.epochs"]
    if epochs and recipe.training.schedule == "cosine":
        logger.warning(
            "training.schedule='cosine' now spans %d epochs, before %d: the learning rate of epoch "
            "%d is that of a run of %d epochs, not a continuation",
            *(epochs[0]["to"], epochs[0]["from"], done + 1, epochs[0]["to"]),
        )


def nothing_to_resume(output: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"Nothing to resume in {output}: no epoch was saved. Start without --resume."
    )


def check_output(output: Path, recipe: Recipe, resume: bool) -> dict[str, Any] | None:
    """The state to resume from, or `None`."""
    state = callbacks.read_state(output / model_directory.CHECKPOINTS)
    if state is None and (output / model_directory.MODEL).exists():
        raise FileExistsError(
            f"{output} already holds a model, and no checkpoint to resume from: use another "
            "directory, there also to begin with this model (--from), or remove it."
        )
    if not resume:
        if state is not None:
            raise FileExistsError(
                f"{output} already holds a model or an interrupted run: use another directory, "
                "remove it, or resume with --resume."
            )
        return None
    if state is None:
        raise nothing_to_resume(output)
    check_same_recipe(output, recipe, CHANGEABLE)
    if recipe.training.epochs < state["epochs"]:
        raise ValueError(
            f"The run in {output} has finished {state['epochs']} epochs, and its earlier weights "
            f"are gone: training.epochs must be at least {state['epochs']}, got "
            f"{recipe.training.epochs}."
        )
    return state


def check_resumed_data(output: Path, data: BatchedPairs, validation: BatchedPairs) -> None:
    """Raises `ValueError` if a run was begun with other training or validation data than this."""
    before = read_start(output)
    for name, key, now in (
        ("training", DATA_DIGESTS, data),
        ("validation", VALIDATION_DIGESTS, validation),
    ):
        # Older releases have none.
        if before.get(key, list(now.digests)) != list(now.digests):
            raise ValueError(
                f"The {name} data has changed since the run in {output} was begun: restore it, or "
                "begin another run from this model (--from)."
            )


def check_same_recipe(output: Path, recipe: Recipe, changeable: Sequence[str] = ()) -> None:
    """Raises `ValueError` unless the run in a directory was started with this recipe.

    Args:
        output: Directory of the run.
        recipe: The recipe to compare.
        changeable: Settings, such as `training.epochs`, that may differ.
    """
    before, now = all_settings(_started_with(output)), all_settings(recipe)
    changed = [each for each in now if now[each] != before[each] and each not in changeable]
    if changed:
        also = f" ({', '.join(changeable)} may differ)" if changeable else ""
        raise ValueError(
            f"The run in {output} was started with different values of {', '.join(changed)}: "
            f"resume with the same recipe and overrides{also}, see {output / RECIPE}, or start in "
            "another directory."
        )


def _started_with(output: Path) -> Recipe:
    """The recipe of the run in a directory."""
    try:
        # Settings that an older release did not have get their defaults.
        return Recipe.from_dict(read_start(output)["recipe"])
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{output / RECIPE} is missing or damaged ({error}): the run in {output} cannot be "
            "resumed. Start a new one in another directory."
        ) from error


def written_epoch(output: Path) -> int | None:
    """Epoch index of the saved model of an unfinished run, or `None`.

    It is `None` if `training.json` is missing, damaged, or says that the run is finished.
    """
    try:
        written = read_training(output)
        return None if written["finished"] else int(written["best_epoch"]) - 1
    except (OSError, ValueError, KeyError, TypeError):
        return None
