"""Reading and writing model directories.

model.keras  config.json  source.spm  target.spm  training.json  checkpoints/  (shortlist.npz)
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attn_nmt.config import SEARCH, VOCABULARIES, ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.model import build_model
from keras_attn_nmt.model_file import check_model_file, load_hand_built, load_weights
from keras_attn_nmt.processes import check_process, register_process
from keras_attn_nmt.reading import parse_object
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.writing import atomic_write, make_folder, write_text

MODEL, CONFIG, SOURCE, TARGET = "model.keras", "config.json", "source.spm", "target.spm"
CHECKPOINTS = "checkpoints"
# Optional; loaded on demand.
SHORTLIST = "shortlist.npz"
# Key in `config.json` of a hand-built model, which has no `ModelConfig`.
HAND_BUILT = "hand_built"


class ModelFiles(NamedTuple):
    """The loaded content of a model directory."""

    model: keras.Model
    config: ModelConfig | None
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    search: SearchOptions = SearchOptions()


def save_model(
    directory: str | os.PathLike[str], files: ModelFiles, *, keep_search: bool = False
) -> None:
    """Writes a model directory; existing files are replaced atomically, one by one.

    Args:
        directory: The directory.
        files: What to write.
        keep_search: Keep the search options that the directory has.

    Raises:
        FileNotFoundError: There are no search options to keep.
        ValueError: The model is quantised, and its layers would be made without scales.
    """
    directory = Path(directory)
    layers = files.model._flatten_layers()
    if any(getattr(each, "quantization_mode", 0) for each in layers):
        raise ValueError(
            "The model was changed by model.quantize, and could not be loaded from a file: save it "
            "before; for devices, export with --quantize int8."
        )
    if keep_search:
        read_config(directory)  # Before anything is written.
    make_folder(directory)
    files.source_tokenizer.save(directory / SOURCE)
    files.target_tokenizer.save(directory / TARGET)
    with atomic_write(directory / MODEL) as temporary:
        files.model.save(temporary)
    if keep_search:
        files = files._replace(search=read_config(directory)[2])
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
        # `Path` makes one slash of two.
        is_address = str(directory).startswith(("http:/", "https:/"))
        hint = " For a served model, use TranslationClient." if is_address else ""
        raise FileNotFoundError(
            f"The model directory {directory} "
            f"{'has no model' if directory.is_dir() else 'does not exist'}: expected a directory "
            f"with {MODEL}, {CONFIG}, {SOURCE} and {TARGET}, as written by train.{hint}"
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
    check_model_file(directory / MODEL, config)
    register_process()
    if config is None:
        model = load_hand_built(directory / MODEL)
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


def build_float32(config: ModelConfig) -> keras.Model:
    """`build_model` in float32, whatever the global dtype policy."""
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("float32")
        return build_model(config)
    finally:
        keras.config.set_dtype_policy(policy)
