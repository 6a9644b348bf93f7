"""Imports Keras quickly and quietly, for a process that runs one command."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from keras_attn_nmt.quiet import quiet_stderr

# Keras and TensorFlow import these where they are installed, for features that no command uses.
# Commands that need one import it themselves, later.
OPTIONAL = ("matplotlib", "sklearn")


def import_keras() -> None:
    """Imports Keras, and so its backend, if it is installed.

    Takes about half the time of a plain import where Matplotlib, scikit-learn and JAX are
    installed.

    Raises:
        FileNotFoundError: No folder for temporary files can be written, and TensorFlow needs one.
        ImportError: The backend that was chosen is not installed.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.strerror}: none can be written. Set the environment variable TMPDIR to a "
            "folder that can, or mount one (docker run --tmpfs /tmp)."
        ) from error
    backend = _backend()
    unused = OPTIONAL if backend == "jax" else (*OPTIONAL, "jax")
    try:
        with quiet_stderr(), _hidden(unused), _no_garbage():
            importlib.import_module("keras")
    except ModuleNotFoundError as error:
        # Devices that only run `.tflite` files have neither Keras nor TensorFlow.
        if (error.name or "").split(".")[0] == backend != "tensorflow":
            raise ImportError(
                f"The Keras backend is {backend} (KERAS_BACKEND or keras.json), which is not "
                f"installed: pip install {backend}, or set KERAS_BACKEND=tensorflow in the "
                "environment."
            ) from error


def _backend() -> str:
    """The backend that Keras will choose."""
    if given := os.environ.get("KERAS_BACKEND"):
        return given
    # Unlike `Path.home`, this does not raise for a user without a home.
    home = os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")
    try:
        return str(json.loads(Path(home, "keras.json").read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return "tensorflow"


@contextlib.contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Lets imports of modules fail, unless they are imported already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    """Pauses garbage collection, which finds nothing in modules."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
