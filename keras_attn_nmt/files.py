"""The directory that a trained model is: read with every check, written whole or not at all.

model.keras  config.json  source.spm  target.spm  training.json  checkpoints/
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import keras

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.model import build_model
from keras_attn_nmt.tokenizer import Tokenizer
from keras_attn_nmt.writing import replacing, write_text

MODEL, CONFIG, SOURCE, TARGET = "model.keras", "config.json", "source.spm", "target.spm"
TRAINING, CHECKPOINTS = "training.json", "checkpoints"


class ModelFiles(NamedTuple):
    """What a model directory holds, loaded."""

    model: keras.Model
    config: ModelConfig
    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer


def save_model(directory: str | os.PathLike[str], files: ModelFiles) -> None:
    """Writes a model directory; what is there of the same names is replaced, file by file."""
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    files.source_tokenizer.save(directory / SOURCE)
    files.target_tokenizer.save(directory / TARGET)
    write_text(directory / CONFIG, files.config.to_json())
    with replacing(directory / MODEL) as temporary:
        files.model.save(temporary)


def load_model(directory: str | os.PathLike[str]) -> ModelFiles:
    """Loads a model directory.

    The model is built anew from `config.json` and takes its weights from `model.keras`, in float32
    and without optimizer, whatever it was trained with.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: A file is damaged, or the files do not belong together.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(
            f"No model directory at {directory}: expected a directory with {MODEL}, {CONFIG}, "
            f"{SOURCE} and {TARGET}, as training writes it."
        )
    missing = [name for name in (MODEL, CONFIG, SOURCE, TARGET) if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{directory} is not a whole model directory: {', '.join(missing)} missing. "
            "Train again, or copy the missing files from where the model came from."
        )
    try:
        config = ModelConfig.from_json((directory / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG}: {error}") from error
    tokenizers = []
    for name, size in (
        (SOURCE, config.source_vocabulary_size),
        (TARGET, config.target_vocabulary_size),
    ):
        tokenizer = Tokenizer.load(directory / name)
        if tokenizer.vocabulary_size != size:
            raise ValueError(
                f"{directory / name} has {tokenizer.vocabulary_size} pieces, but the model was "
                f"made for {size}: the vocabulary does not belong to this model. Put back the "
                "one that it was trained with."
            )
        tokenizers.append(tokenizer)
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("float32")
        model = build_model(config)
    finally:
        keras.config.set_dtype_policy(policy)
    try:
        model.load_weights(directory / MODEL)
    except Exception as error:  # Keras, h5py and zipfile each raise their own.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{directory / MODEL} is damaged or does not fit {CONFIG}: {reason}"
        ) from error
    return ModelFiles(model, config, *tokenizers)
