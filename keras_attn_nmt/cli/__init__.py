"""The `keras-attn-nmt` command line: dispatch and exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from keras_attn_nmt.cli.arguments import UsageError
from keras_attn_nmt.cli.keras_import import import_keras
from keras_attn_nmt.cli.options import PROGRAM
from keras_attn_nmt.cli.parser import build_parser
from keras_attn_nmt.cli.streams import (
    discard_unwritable_output,
    flush_output,
    prepare_streams,
    presentable,
    say,
)
from keras_attn_nmt.quiet import set_process_of_a_command
from keras_attn_nmt.signals import exit_code, stopped_by_signals

_STOPPED = {
    "train": " If an epoch was saved, the best model so far is usable, and the same command with "
    "--resume resumes the run.",
    "back-translate": " The same command continues after the last finished part.",
    "bulk-translate": " What is finished is kept: the same command continues.",
    "study": " The same command resumes it after the last saved epoch.",
}

_ERRORS_OF_TENSORFLOW = "tensorflow.python.framework.errors_impl"
# Interrupted, full disk (or memory), no permission, damaged file, input or output error.
_ERRORS_OF_FILES = (
    *("UnavailableError", "ResourceExhaustedError", "PermissionDeniedError"),
    *("DataLossError", "UnknownError"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code.

    It is 0, 1 for an error, 2 for wrong usage, and 128 + N if signal N stopped the command.
    """
    name = ""
    try:
        prepare_streams()
        try:
            options = build_parser().parse_args(arguments)
            name = options.command
            with stopped_by_signals():
                _run(options)
        finally:
            # Also after --help, where the parser exits.
            flush_output()
    except BrokenPipeError:
        # The reader closed the pipe, e.g. `head`: not an error.
        discard_unwritable_output()
    except UsageError as error:
        say(f"{PROGRAM} {name}: error: {presentable(str(error))}")
        return 2
    except Exception as error:
        if not (isinstance(error, (ValueError, OSError, ImportError)) or _is_of_a_backend(error)):
            raise
        say(f"{PROGRAM}: error: {presentable(str(error).strip()) or type(error).__name__}")
        discard_unwritable_output()
        return 1
    except KeyboardInterrupt as stop:
        say(f"\n{PROGRAM}: stopped.{_STOPPED.get(name, '')}")
        return exit_code(stop)
    return 0


def _is_of_a_backend(error: Exception) -> bool:
    """Whether TensorFlow failed to read or write a file, or TensorFlow or JAX lacks memory.

    Their errors are not those of Python.
    """
    kind = type(error)
    if kind.__name__ in ("JaxRuntimeError", "XlaRuntimeError"):  # Before JAX 0.6, the latter.
        # Keras puts the name of a layer before it.
        return "RESOURCE_EXHAUSTED" in str(error)
    return kind.__module__ == _ERRORS_OF_TENSORFLOW and kind.__name__ in _ERRORS_OF_FILES


def _run(options: argparse.Namespace) -> None:
    set_process_of_a_command()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "jax", "matplotlib", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    logging.getLogger("sacrebleu").setLevel(logging.WARNING)
    if options.command in ("export", "demo"):
        # Exports always run on TensorFlow, whatever the training backend.
        os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if _needs_keras(options):
        import_keras()
    options.run(options)


def _needs_keras(options: argparse.Namespace) -> bool:
    """Whether a command imports Keras, and so TensorFlow, which takes seconds."""
    on_device = str(getattr(options, "model", "")).endswith(".tflite")
    # The workers of bulk-translate import it, if the model is one of Keras.
    return options.command not in ("recipe", "bulk-translate") and not on_device
