"""Reading and writing model directories.

model.keras  config.json  source.spm  target.spm  training.json  checkpoints/  (shortlist.npz)
"""

from __future__ import annotations

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attn_nmt.config import SEARCH, VOCABULARIES, ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.model import build_model
from keras_attn_nmt.processes import check_process, register_process
from keras_attn_nmt.reading import check_archive, parse_object
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.writing import atomic_write, make_folder, write_text

MODEL, CONFIG, SOURCE, TARGET = "model.keras", "config.json", "source.spm", "target.spm"
# In `MODEL`, which has a `CONFIG` of its own.
WEIGHTS = "model.weights.h5"
CHECKPOINTS = "checkpoints"
# Optional; loaded on demand.
SHORTLIST = "shortlist.npz"
# Key in `config.json` of a hand-built model, which has no `ModelConfig`.
HAND_BUILT = "hand_built"
# Classes of Keras that execute what a file contains or names. Its `safe_mode=True` refuses them,
# unless `keras.config.enable_unsafe_deserialization` was called.
_PROGRAMS = ("__lambda__", "TFSMLayer", "TorchModuleWrapper")
# Settings of layers that have at least as many weights.
_SIZES = ("units", "filters", "input_dim", "output_dim")
# A weight that no training leads to, exact in float16 and bfloat16.
_NOT_LOADED = -57344.0


class ModelFiles(NamedTuple):
    """The loaded content of a model directory."""

    model: keras.Model
    config: ModelConfig | None
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    search: SearchOptions = SearchOptions()


def save_model(directory: str | os.PathLike[str], files: ModelFiles) -> None:
    """Writes a model directory; existing files are replaced atomically, one by one."""
    directory = Path(directory)
    make_folder(directory)
    files.source_tokenizer.save(directory / SOURCE)
    files.target_tokenizer.save(directory / TARGET)
    with atomic_write(directory / MODEL) as temporary:
        files.model.save(temporary)
    # Last: until then, the digests of the former vocabularies tell that the files do not match.
    write_config(directory, files)


def write_config(directory: Path, files: ModelFiles) -> None:
    """Writes `config.json`: model config, search options and vocabulary digests."""
    values: dict[str, Any] = (
        {HAND_BUILT: True} if files.config is None else dataclasses.asdict(files.config)
    )
    values[VOCABULARIES] = {
        SOURCE: files.source_tokenizer.digest,
        TARGET: files.target_tokenizer.digest,
    }
    values[SEARCH] = dataclasses.asdict(files.search)
    write_text(directory / CONFIG, json.dumps(values, indent=2) + "\n")


def save_search(directory: str | os.PathLike[str], search: SearchOptions) -> None:
    """Stores search options as the defaults of a model directory.

    Raises:
        FileNotFoundError: `config.json` is missing.
        ValueError: `config.json` is damaged.
    """
    directory = Path(directory)
    read_config(directory)
    values = parse_object((directory / CONFIG).read_text(encoding="utf-8"))
    values[SEARCH] = dataclasses.asdict(search)
    write_text(directory / CONFIG, json.dumps(values, indent=2) + "\n")


def read_config(
    directory: Path,
) -> tuple[ModelConfig | None, dict[str, str], SearchOptions]:
    """Reads `config.json`: model config, SHA-256 of each vocabulary by file name, search options.

    The config of a hand-built model is `None`.
    """
    try:
        values = parse_object((directory / CONFIG).read_text(encoding="utf-8"))
        digests, search = values.pop(VOCABULARIES, {}), values.pop(SEARCH, {})
        for name, value in ((VOCABULARIES, digests), (SEARCH, search)):
            if not isinstance(value, dict):
                raise ValueError(f"{name} must be an object, got {value!r}")
        search = SearchOptions.from_dict(search)
        hand_built = values.pop(HAND_BUILT, False)
        return None if hand_built else ModelConfig.from_dict(values), digests, search
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG} is not a model config: {error}") from error


def check_complete(directory: str | os.PathLike[str]) -> None:
    """Raises `FileNotFoundError` if a model directory lacks files."""
    directory = Path(directory)
    if directory.is_file():
        raise FileNotFoundError(
            f"{directory} is a file, but this needs a model directory"
            + (": use the one that it was exported from." if directory.suffix == ".tflite" else ".")
        )
    missing = [name for name in (MODEL, CONFIG, SOURCE, TARGET) if not (directory / name).is_file()]
    if len(missing) == 4:
        raise FileNotFoundError(
            f"The model directory {directory} "
            f"{'has no model' if directory.is_dir() else 'does not exist'}: expected a directory "
            f"with {MODEL}, {CONFIG}, {SOURCE} and {TARGET}, as written by train."
        )
    if missing:
        raise FileNotFoundError(
            f"The model directory {directory} is incomplete: {', '.join(missing)} missing. "
            "Copy the missing files, or train again."
        )


def load_model(directory: str | os.PathLike[str]) -> ModelFiles:
    """Loads a model directory.

    A model with a `ModelConfig` is built from `config.json` and takes its weights from
    `model.keras`, in float32 and without optimizer. A hand-built model is loaded from `model.keras`
    as saved.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: A file is damaged, or the files do not match.
        RuntimeError: This process was forked after a model was loaded or run.
    """
    check_process()
    directory = Path(directory)
    check_complete(directory)
    config, digests, search = read_config(directory)
    sizes: tuple = (None, None)
    if config is not None:
        sizes = (config.source_vocabulary_size, config.target_vocabulary_size)
    source, target = load_vocabularies(directory, digests, sizes)
    _check_weights(directory / MODEL, config)
    register_process()
    if config is None:
        model = _load_hand_built(directory / MODEL)
    else:
        model = build_float32(config)
        load_weights(model, directory / MODEL)
    if not all(np.isfinite(each).all() for each in model.get_weights()):
        raise ValueError(f"{directory / MODEL} has weights that are NaN or infinite: train again.")
    return ModelFiles(model, config, source, target, search)


def check_same_vocabularies(directories: Sequence[str | os.PathLike[str]]) -> None:
    """Raises `ValueError` for model directories with different vocabularies."""
    for directory in directories[1:]:
        for name in (SOURCE, TARGET):
            paths = [Path(each, name) for each in (directories[0], directory)]
            if all(path.is_file() for path in paths):
                first, other = (Tokenizer.load(path).digest for path in paths)
                if first != other:
                    raise ValueError(
                        f"{paths[1]} is another vocabulary than {paths[0]}: the models of an "
                        "ensemble need the same vocabularies. Train them with the same "
                        "vocabulary.source_model and vocabulary.target_model."
                    )


def load_vocabularies(
    directory: Path, digests: Mapping[str, str], sizes: Sequence[int | None] = (None, None)
) -> tuple[Tokenizer, Tokenizer]:
    """Both vocabularies of a model directory.

    Raises:
        ValueError: One is damaged, or does not have the digest in `config.json`, or this size.
    """
    source, target = (
        _load_vocabulary(directory / name, digests.get(name), size)
        for name, size in zip((SOURCE, TARGET), sizes, strict=True)
    )
    return source, target


def _load_vocabulary(path: Path, digest: str | None, size: int | None) -> Tokenizer:
    tokenizer = Tokenizer.load(path, digest)
    if tokenizer.vocabulary_size != (size or tokenizer.vocabulary_size):
        raise ValueError(
            f"{path}, {tokenizer.vocabulary_size} pieces, does not belong to this model, which was "
            f"trained with another vocabulary of {size} pieces. Restore the original file."
        )
    return tokenizer


def _check_weights(path: Path, config: ModelConfig | None) -> None:
    """Checks `model.keras` before a model is built: whole, with enough weights, of that config."""
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


def build_float32(config: ModelConfig) -> keras.Model:
    """`build_model` in float32, whatever the global dtype policy."""
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("float32")
        return build_model(config)
    finally:
        keras.config.set_dtype_policy(policy)


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
        variable.assign(keras.ops.full_like(variable, _NOT_LOADED))
    model.load_weights(path)
    lacking = [
        each.path for each in variables if (keras.ops.convert_to_numpy(each) == _NOT_LOADED).any()
    ]
    if lacking:
        raise ValueError(f"it lacks {len(lacking)} weights, the first of them {lacking[0]}.")


def _load_hand_built(path: Path) -> keras.Model:
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
        if module is not None and str(module).partition(".")[0] not in ("keras", "builtins"):
            found.add(str(name or f"{module}.{each['class_name']}"))
    return sorted(name for name in found if keras.saving.get_registered_object(name) is None)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
