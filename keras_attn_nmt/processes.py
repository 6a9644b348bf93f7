"""Refuses to run a model in a forked process, where the threads of its backend are missing."""

from __future__ import annotations

import os

_first: list[int] = []


def check_process() -> None:
    """Call before a model is run.

    Raises:
        RuntimeError: A model was built or run in a parent process, and this one was forked from it:
            TensorFlow and JAX wait for ever for threads that `fork` does not copy.
    """
    if _first and os.getpid() != _first[0]:
        raise RuntimeError(
            f"Process {os.getpid()} was forked from process {_first[0]}, in which a model was "
            "loaded or run: TensorFlow and JAX do not work after a fork. Start processes with "
            'multiprocessing.get_context("spawn"), or load the first model in the child process.'
        )


def register_process() -> None:
    """Call before a model is built: from now on, `check_process` refuses forks of this process.

    Raises:
        RuntimeError: As of `check_process`.
    """
    check_process()
    if not _first:
        _first.append(os.getpid())
