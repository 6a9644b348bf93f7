"""Runs an exported SavedModel in this process, with the results of `TranslationClient`."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.export.client import TranslationClient
from keras_attn_nmt.export.transports import Arrays, Transport
from keras_attn_nmt.processes import check_process, register_process
from keras_attn_nmt.reading import parse_object

BATCH_SIZE = 64
METADATA = "assets.extra/keras_attn_nmt.json"


def read_metadata(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What an exported version records: `beam_size`, `attention`, ...; empty if nothing.

    Raises:
        ValueError: The file is damaged.
    """
    path = Path(directory, METADATA)
    if not path.is_file():
        return {}
    try:
        return parse_object(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Export the model again.") from error


def exports_attention(metadata: Mapping[str, Any]) -> bool:
    """Whether the model of an exported version has attention, and the version returns it."""
    # Older versions do not say whether the model has.
    return metadata.get("attention") != "none" and metadata.get("has_attention", True)


def check_folder(directory: str | os.PathLike[str]) -> None:
    """Raises `ValueError` for a folder whose weights TensorFlow cannot load."""
    if "[" in os.fspath(directory):
        raise ValueError(
            f"{os.fspath(directory)} contains a bracket, which TensorFlow would read as a pattern "
            "when it loads the weights: copy or rename the folder."
        )


class SavedModelTranslator(TranslationClient):
    """Translates with a SavedModel, like `TranslationClient` with a server that has loaded it.

    Needs TensorFlow and TF Text; neither Keras nor the extra `serve`. A pickled one loads the
    SavedModel again.

    Args:
        directory: Folder of a version, such as `served/1`.
        batch_size: Maximum number of texts that are translated at once.

    Attributes:
        metadata: See `read_metadata`.

    Raises:
        FileNotFoundError: The folder is not a SavedModel.
        ValueError: The SavedModel has no signature `nbest`, its path contains `[`, or `batch_size`
            is not positive.
        RuntimeError: This process was forked after a model was loaded; also raised by every method
            that runs the model.

    Example:
        >>> translator = SavedModelTranslator("build/demo/served/1")
        >>> translator(["einundvierzig"])[0].text
        'forty-one'
    """

    def __init__(self, directory: str | os.PathLike[str], *, batch_size: int = BATCH_SIZE):
        self._batch_size = check_whole("batch_size", batch_size)
        self._transport = _InProcess(directory)
        self.metadata = read_metadata(directory)
        self._timeout, self._retries = math.inf, 0

    @property
    def has_attention(self) -> bool:
        """Whether the model has attention, and the version returns its weights."""
        return exports_attention(self.metadata)


class _InProcess(Transport):
    """A SavedModel that is loaded here."""

    def __init__(self, directory: str | os.PathLike[str]):
        super().__init__(os.path.abspath(directory))
        if not Path(directory, "saved_model.pb").is_file():
            raise FileNotFoundError(
                f"{os.fspath(directory)} has no saved_model.pb: expected the folder of a version, "
                "which keras-attn-nmt export saved-model writes."
            )
        check_folder(directory)
        register_process()
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  Its ops.

        self._tensorflow = tf
        # The signatures keep only weak references.
        self._model = tf.saved_model.load(os.fspath(directory))
        if "nbest" not in self._model.signatures:
            raise ValueError(
                f"{os.fspath(directory)} has no signature nbest, as those of keras-attn-nmt export "
                "saved-model have."
            )

    def predict(self, signature: str, inputs: dict[str, list[str]], timeout: float) -> Arrays:
        """All outputs of a signature."""
        check_process()
        if signature not in self._model.signatures:
            raise ValueError(f"The SavedModel has no signature {signature}.")
        tensors = {name: self._tensorflow.constant(texts) for name, texts in inputs.items()}
        outputs = self._model.signatures[signature](**tensors)
        return {name: value.numpy() for name, value in outputs.items()}

    def close(self) -> None:
        """The model is freed with this object."""
