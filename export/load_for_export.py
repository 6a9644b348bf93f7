"""Loads trained models for export, independent of the training device."""

from __future__ import annotations

import os
from collections.abc import Sequence

import keras
import tensorflow as tf

from keras_attn_nmt.layers.encoder import BidirectionalEncoder
from keras_attn_nmt.model_directory import ModelFiles, check_same_vocabularies, load_model
from keras_attn_nmt.run_record import read_record


def load_for_export(model: str | os.PathLike[str]) -> ModelFiles:
    """Loads a model directory, trained on any backend and device.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: A file is damaged, or Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Export requires Keras on TensorFlow, but the backend is {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow. The model may be trained on any backend."
        )
    with tf.device("/CPU:0"):
        files = load_model(model)
    # Exports do not use cuDNN: same weights, same result.
    for layer in files.model.layers:
        if isinstance(layer, BidirectionalEncoder):
            layer.use_cudnn = False
    return files


def load_ensemble_for_export(models: Sequence[str | os.PathLike[str]]) -> list[ModelFiles]:
    """Loads model directories with the same vocabularies, see `load_for_export`.

    Raises:
        FileNotFoundError, ValueError: See `load_for_export`.
        ValueError: The vocabularies differ.
    """
    check_same_vocabularies(models)
    return [load_for_export(each) for each in models]


def languages(model: str | os.PathLike[str]) -> dict[str, str]:
    """`source_language` and `target_language` of the training corpus, if recorded."""
    try:
        data = read_record(model)["recipe"]["data"]
        return {f"{side}_language": data[f"{side}_language"] for side in ("source", "target")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
