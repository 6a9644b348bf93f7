"""The parent of a run: the model whose weights and vocabularies training begins with."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attn_nmt import model_directory
from keras_attn_nmt.model import build_model
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.model_file import load_weights
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import callbacks
from keras_attn_nmt.training.optimizer import inner_optimizer, make_optimizer
from keras_attn_nmt.training.recipe import Recipe, VocabularyRecipe
from keras_attn_nmt.training.recipe_files import read_run
from keras_attn_nmt.training.textfiles import sha256_of
from keras_attn_nmt.writing import write_text

logger = logging.getLogger(__name__)
# In the directory of a run: its parent, as in `training.json`.
RECORD = "parent.json"
# Sections that the weights of the parent fix, except these settings.
FREE = {
    "model": (
        "embedding_dropout",
        "annotation_dropout",
        "readout_dropout",
        "dropout_per_sentence",
        "word_dropout",
    ),
    "vocabulary": ("segmentation_samples", "sampling_alpha"),
}
# Settings of [data] that are inherited unless the recipe has them.
LANGUAGES = "source_language", "target_language"


class Parent(NamedTuple):
    """A loaded parent.

    Attributes:
        record: `parent` of `training.json`: `path`, `sha256` (of `model.keras`), `recipe`, `seed`,
            `best_epoch`, `optimizer_steps` (of the kept optimizer, 0 for a new one), and its own
            `parent`.
        files: Its model and vocabularies; `None` in a resumed run.
        vocabulary_files: `vocabulary_files` of its `training.json`.
    """

    record: dict[str, Any]
    files: ModelFiles | None = None
    vocabulary_files: Mapping[str, Any] = {}


def load_parent(
    directory: str | os.PathLike[str], recipe: Recipe, keep_optimizer: bool = False
) -> Parent:
    """Loads the parent of a new run and checks that the recipe fits its weights.

    Args:
        directory: Model directory of the parent.
        recipe: The recipe of the new run.
        keep_optimizer: Whether the parent must have a checkpoint with the optimizer's state.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: The model is hand-built or damaged, the recipe asks for another model or
            vocabulary, or there is no state to keep.
    """
    path = Path(directory)
    inherited = inherited_settings(path)
    check_settings(recipe.to_dict(), inherited, path, "The recipe")
    files = model_directory.load_model(path)
    report = read_run(path)
    for name, known in inherited["data"].items():
        if getattr(recipe.data, name) != known:
            logger.warning(
                "data.%s is %r, but the model in %s was trained with %r",
                *(name, getattr(recipe.data, name), path, known),
            )
    record = {
        "path": os.fspath(directory),
        "sha256": sha256_of(path / model_directory.MODEL),
        **{name: report.get(name) for name in ("recipe", "seed", "best_epoch")},
        "optimizer_steps": 0,
        "parent": report.get("parent"),
    }
    if keep_optimizer:
        checkpoint = _check_optimizer(path, recipe, report)
        record["optimizer_steps"] = int(_optimizer(checkpoint, files, report).iterations)
    return Parent(record, files, report.get("vocabulary_files") or {})


def begin_with(model: keras.Model, parent: Parent) -> None:
    """Sets the weights, and with `optimizer_steps` the optimizer's state, of a compiled model."""
    assert parent.files is not None
    model.set_weights(parent.files.model.get_weights())
    if not parent.record["optimizer_steps"]:
        return
    checkpoint = _checkpoint(Path(parent.record["path"]), parent.record)
    old = _optimizer(checkpoint, parent.files, parent.record)
    new = inner_optimizer(model.optimizer)
    for variable, kept in zip(_state_of(new), _state_of(old), strict=True):
        variable.assign(kept)


def _state_of(optimizer: Any) -> list[Any]:
    """The variables of an optimizer without the learning rate, which the new schedule sets."""
    return [each for each in optimizer.variables if each is not optimizer._learning_rate]


def write_record(output: Path, parent: Parent | None) -> None:
    """Writes the parent of a new run for its resumption."""
    if parent is None:
        (output / RECORD).unlink(missing_ok=True)
    else:
        write_text(output / RECORD, json.dumps(parent.record, indent=2) + "\n")


def resumed_parent(
    output: Path, given: str | os.PathLike[str] | None, keep_optimizer: bool
) -> Parent | None:
    """The parent of the run in a directory.

    Args:
        output: Directory of the run.
        given: The parent given again, which must be the same one if it still exists; or `None`.
        keep_optimizer: Whether the run is thought to have kept the parent's optimizer.

    Raises:
        ValueError: The run has another parent.
    """
    path = output / RECORD
    if not path.is_file():
        if given is not None:
            raise ValueError(
                f"The run in {output} was begun without a parent: resume it without --from, or "
                "start in another directory."
            )
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if given is not None:
        same = os.fspath(given) == record["path"]
        if (Path(given) / model_directory.MODEL).is_file():
            same = sha256_of(Path(given) / model_directory.MODEL) == record["sha256"]
        if not same:
            raise ValueError(
                f"The run in {output} was begun with the weights of {record['path']} (SHA-256 "
                f"{record['sha256'][:12]}...), and {given} has others or does not exist: resume "
                "it without --from, or start in another directory."
            )
    if keep_optimizer and not record["optimizer_steps"]:
        raise ValueError(
            f"The run in {output} was begun with a new optimizer: resume it without "
            "--keep-optimizer, or start in another directory."
        )
    return Parent(record)


def has_parent(output: str | os.PathLike[str]) -> bool:
    """Whether the run in a directory was begun with a parent."""
    return (Path(output) / RECORD).is_file()


def inherited_settings(directory: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """`[model]`, `[vocabulary]` and the languages of a model directory or of an interrupted run.

    A model without a recorded recipe has the settings of its `config.json` and the sizes of its
    vocabularies, and no languages.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: The model is hand-built, or a file is damaged.
    """
    directory = Path(directory)
    if not has_parent(directory):  # An interrupted run may have no model yet.
        model_directory.check_complete(directory)
    config = model_directory.read_config(directory)[0]
    if config is None:
        raise ValueError(
            f"{directory} is a hand-built model, which has no settings that a recipe could "
            "repeat: train it with model.fit, as in docs/python.md."
        )
    model = dataclasses.asdict(config)
    sizes = [model.pop(f"{side}_vocabulary_size") for side in ("source", "target")]
    report = read_run(directory)
    languages = {}
    if report.get("recipe"):
        vocabulary = report["recipe"]["vocabulary"]
        languages = {name: report["recipe"]["data"][name] for name in LANGUAGES}
    else:
        tokenizers = [
            Tokenizer.load(directory / name)
            for name in (model_directory.SOURCE, model_directory.TARGET)
        ]
        vocabulary = {
            **dataclasses.asdict(VocabularyRecipe()),
            "source_size": sizes[0],
            "target_size": sizes[1],
            "shared": tokenizers[0].digest == tokenizers[1].digest,
            "byte_fallback": all(
                "<0x00>" in each.pieces(range(each.vocabulary_size)) for each in tokenizers
            ),
        }
    return {"model": model, "vocabulary": vocabulary, "data": languages}


def check_settings(
    asked: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, Mapping[str, Any]],
    directory: str | os.PathLike[str],
    where: str,
) -> None:
    """Raises `ValueError`, which names all settings that the weights of the parent fix otherwise.

    Args:
        asked: Sections of a recipe.
        inherited: See `inherited_settings`.
        directory: The parent, for the message.
        where: What asks for the settings, for the message.
    """
    refused = [
        f"{section}.{name}={value!r} (fixed: {inherited[section][name]!r})"
        for section, free in FREE.items()
        for name, value in asked.get(section, {}).items()
        if name not in free and value != inherited[section].get(name, value)
    ]
    if refused:
        free = " and ".join(f"{', '.join(names)} in [{each}]" for each, names in FREE.items())
        raise ValueError(
            f"{where} asks for what the weights and vocabularies of {directory} fix otherwise: "
            f"{', '.join(refused)}. Delete these settings, or the whole sections [model] and "
            "[vocabulary]: what is not set comes from the parent (in Python: load_recipe(..., "
            f"parent=...)). Only {free} can be changed."
        )


def _checkpoint(directory: Path, report: Mapping[str, Any]) -> Path:
    name = callbacks.weights_file(report["best_epoch"] - 1)
    return directory / model_directory.CHECKPOINTS / name


def _check_optimizer(directory: Path, recipe: Recipe, report: Mapping[str, Any]) -> Path:
    """The checkpoint with the optimizer's state; raises `ValueError` where there is none."""
    advice = "train without keeping the optimizer (--keep-optimizer)."
    if not (report.get("recipe") and report.get("best_epoch")):
        raise ValueError(f"{directory} does not record its training: {advice}")
    checkpoint = _checkpoint(directory, report)
    if not checkpoint.is_file():
        raise ValueError(
            f"{directory} has no checkpoint {checkpoint.name} with the state of the optimizer: "
            f"restore its {model_directory.CHECKPOINTS}/, or {advice}"
        )
    before, now = Recipe.from_dict(report["recipe"]).training, recipe.training
    if before.optimizer != now.optimizer:
        raise ValueError(
            f"training.optimizer={now.optimizer!r} cannot continue the state of "
            f"{before.optimizer!r} in {directory}: use that optimizer, or {advice}"
        )
    if bool(before.ema_momentum) != bool(now.ema_momentum):
        raise ValueError(
            f"training.ema_momentum={now.ema_momentum}, but the optimizer of {directory} was "
            f"trained with {before.ema_momentum}, {'with' if before.ema_momentum else 'without'} "
            f"averages: set it accordingly, or {advice}"
        )
    return checkpoint


def _optimizer(checkpoint: Path, files: ModelFiles, report: Mapping[str, Any]) -> Any:
    """The optimizer of a checkpoint whose weights are those of the parent."""
    settings = Recipe.from_dict(report["recipe"]).training
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings.dtype_policy)
    try:
        assert files.config is not None
        model = build_model(files.config)
        model.compile(make_optimizer(settings, 1))
        model.optimizer.build(model.trainable_variables)
        try:
            load_weights(model, checkpoint)
        except ValueError as error:
            raise ValueError(
                f"{error} Train without keeping the optimizer (--keep-optimizer)."
            ) from error
    finally:
        keras.config.set_dtype_policy(policy)
    pairs = zip(model.get_weights(), files.model.get_weights(), strict=True)
    if not all(np.array_equal(*pair) for pair in pairs):
        raise ValueError(
            f"{checkpoint} does not belong to {model_directory.MODEL} beside it, which has other "
            "weights: train without keeping the optimizer (--keep-optimizer)."
        )
    return inner_optimizer(model.optimizer)
