"""Guards against running a model in a forked process, which lacks the backend's threads."""

from __future__ import annotations

import os
from typing import Any, Self

_first: list[int] = []


def check_process() -> None:
    """Checks that a model can run in this process; call it before running one.

    Raises:
        RuntimeError: This process was forked after a model was built or run: TensorFlow and JAX
            would wait forever for threads that `fork` does not copy.
    """
    if _first and os.getpid() != _first[0]:
        raise RuntimeError(
            f"Process {os.getpid()} was forked from process {_first[0]}, in which a model was "
            "loaded or run: TensorFlow and JAX do not work after a fork. Start processes with "
            'multiprocessing.get_context("spawn"), or load the first model in the child process.'
        )


class LoadedInEachProcess:
    """Refuses to pickle or copy a loaded model, with a message that says what to do.

    `copy.copy` gives another translator with the same model, for other defaults.
    """

    def __copy__(self) -> Self:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        name = type(self).__name__
        raise TypeError(
            f"A {name} holds a loaded model and cannot be pickled or copied: load it in each "
            "process, with Translator.load(directory) or TFLiteTranslator(path)."
        )


def register_process() -> None:
    """Call before building a model: from now on, `check_process` rejects forks of this process.

    Raises:
        RuntimeError: See `check_process`.
    """
    check_process()
    if not _first:
        _first.append(os.getpid())
