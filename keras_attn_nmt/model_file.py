"""Reading `model.keras`: checks of the file, weights, and hand-built models."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.reading import check_archive, parse_object

# Members of the archive. `config.json` beside it should tell of the same model.
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
# Classes of Keras that execute what a file contains or names. Its `safe_mode=True` refuses them,
# unless `keras.config.enable_unsafe_deserialization` was called.
_PROGRAMS = ("__lambda__", "TFSMLayer", "TorchModuleWrapper")
# Settings of layers that have at least as many weights.
_SIZES = ("units", "filters", "input_dim", "output_dim")
# A weight that no training leads to, exact in float16 and bfloat16.
_NOT_LOADED = -57344.0


def check_model_file(path: Path, config: ModelConfig | None) -> None:
    """Checks `model.keras` before a model is built: whole, with enough weights, of that config.

    Raises:
        ValueError: It is not.
    """
    try:
        check_archive(path, (CONFIG, WEIGHTS))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged or does not match {CONFIG}: {error}. Restore the file."
        ) from error
    if config is None:
        return
    with zipfile.ZipFile(path) as archive:
        stored = archive.getinfo(WEIGHTS).file_size
        built_from = _built_from(path, archive.read(CONFIG))
    # Each takes at least two bytes.
    if 2 * config.least_weights > stored:
        raise ValueError(
            f"{path} does not match {CONFIG}: a model of that config has more than "
            f"{config.least_weights:,} weights, but the file stores {stored:,} bytes. Restore both "
            "files."
        )
    given = dataclasses.asdict(config)
    before = dataclasses.asdict(built_from or config)
    other = [name for name, value in given.items() if value != before[name]]
    # Those of training alone may differ.
    if other := [name for name in other if "dropout" not in name and name != "initializer"]:
        raise ValueError(
            f"{path} does not match {CONFIG}: they have other values of {', '.join(other)}. "
            "Restore both files."
        )


def _built_from(path: Path, content: bytes) -> ModelConfig | None:
    """The config that `build_model` wrote into a `.keras` file, if it did."""
    try:
        inner = parse_object(content).get("config")
        values = inner.get("model_config") if isinstance(inner, dict) else None
        return None if values is None else ModelConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error}. Restore the file.") from error


def load_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads the weights of a model with a config, and the state of its optimizer, if any.

    Raises:
        ValueError: For a damaged file, or one that lacks weights.
    """
    try:
        _load_all_weights(model, path)
    except Exception as error:  # Keras, h5py and zipfile each raise their own.
        raise ValueError(
            f"{path} is damaged or does not match {CONFIG}: {_reason(error)}"
        ) from error


def _load_all_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Loads weights and the optimizer's state; raises `ValueError` if the file lacks some.

    Keras 3.15.1 only warns if a file lacks an optimizer's state, or layers in nested lists.
    """
    optimizer = getattr(model, "optimizer", None)
    # Layers of users may compute weights instead of loading them.
    computed = {
        id(each)
        for layer in model._flatten_layers()
        if not type(layer).load_own_variables.__module__.startswith("keras.")
        for each in layer._trainable_variables + layer._non_trainable_variables
    }
    variables = [
        each
        for each in (*model.weights, *(optimizer.variables if optimizer else ()))
        if keras.backend.is_float_dtype(each.dtype) and id(each) not in computed
    ]
    for variable in variables:
        # Not `full_like`, which takes no variables on JAX with newer NumPy.
        variable.assign(keras.ops.full(variable.shape, _NOT_LOADED, variable.dtype))
    model.load_weights(path)
    # Not `convert_to_numpy`, which warns of NumPy 2 for variables of TensorFlow 2.21.
    lacking = [each.path for each in variables if keras.ops.any(keras.ops.equal(each, _NOT_LOADED))]
    if lacking:
        raise ValueError(f"it lacks {len(lacking)} weights, the first of them {lacking[0]}.")


def load_hand_built(path: Path) -> keras.Model:
    """Loads a model without a config, whose file is damaged if it lacks weights, or cannot run.

    Raises:
        ValueError: The file is damaged, contains code, or has custom classes that are not
            registered.
    """
    classes = _classes(path)
    if programs := sorted({name for each in classes if (name := each["class_name"]) in _PROGRAMS}):
        raise ValueError(
            f"{path} contains code or names a program ({', '.join(programs)}), which no setting "
            "makes this function execute: use a registered layer or function instead of a lambda."
        )
    if missing := _unregistered(classes):
        raise ValueError(
            f"{path} contains custom classes that are not registered: {', '.join(missing)}. "
            "Register them with keras.saving.register_keras_serializable and import their "
            "module before Translator.load. The command line cannot import it: use "
            "Translator.load in Python after importing the module."
        )
    _check_sizes(path, classes)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        _load_all_weights(model, path)
        # A layer whose config is damaged may have been loaded without being built.
        model(keras.tree.map_structure(_two_steps, model.input))
    except Exception as error:  # Keras, h5py and zipfile each raise their own.
        raise ValueError(
            f"{path} is damaged or does not match its custom classes: {_reason(error)}"
        ) from error
    return model


def _two_steps(tensor: keras.KerasTensor) -> Any:
    """Ones of the shape of an input: 2 for unknown dimensions, and at most 1,000."""
    return keras.ops.ones([min(size or 2, 1000) for size in tensor.shape], tensor.dtype)


def _check_sizes(path: Path, classes: list[dict[str, Any]]) -> None:
    """Refuses layers with more weights than the file stores, before Keras creates them."""
    with zipfile.ZipFile(path) as archive:
        stored = archive.getinfo(WEIGHTS).file_size
    for each in classes:
        config = each.get("config")
        sizes = [config.get(name) for name in _SIZES] if isinstance(config, dict) else []
        # The smallest weights have four bits.
        if any(isinstance(size, int) and size > 2 * stored for size in sizes):
            raise ValueError(
                f"{path} is damaged: {each['class_name']} has more weights than fit in the "
                f"{stored:,} bytes that the file stores. Restore the file."
            )


def _classes(path: Path) -> list[dict[str, Any]]:
    """All objects with a class in the config of a `.keras` file."""
    try:
        with zipfile.ZipFile(path) as file:
            waiting: list[Any] = [parse_object(file.read(CONFIG))]
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    found = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and "class_name" in value:
            found.append(value)
        if isinstance(value, dict | list):
            waiting += value.values() if isinstance(value, dict) else value
    return found


def _unregistered(classes: Sequence[dict[str, Any]]) -> list[str]:
    """Names of the custom classes that this process has not registered."""
    found = set()
    for each in classes:
        module, name = each.get("module"), each.get("registered_name")
        # Keras names no module for a class of a script or notebook.
        known = str(module).partition(".")[0] in ("keras", "builtins")
        if not known and (module is not None or name):
            found.add(str(name or f"{module}.{each['class_name']}"))
    return sorted(name for name in found if keras.saving.get_registered_object(name) is None)


def _reason(error: Exception) -> str:
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.partition(" Full object config: ")[0]  # All layers of the model.
