"""Runs a pipeline on the runner that its options name, with messages for its failures."""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from keras_attn_nmt.bulk.transform import NAMESPACE
from keras_attn_nmt.extras import extra

with extra("beam"):
    import apache_beam as beam
    from apache_beam.options.pipeline_options import (
        DirectOptions,
        PipelineOptions,
        StandardOptions,
    )
    from apache_beam.runners.runner import PipelineState

DEFAULT = "FnApiRunner"
# They run here, and ignore options that are not theirs; others pass them on to a service.
_LOCAL = ("fnapirunner", "directrunner", "bundlebaseddirectrunner", "prismrunner")
_WORKER_DIED = ("Channel closed prematurely", "Worker subprocess exited", "Socket closed")
_PROCESSES = "multi_processing"
_BLOCKS, _BLOCK = 64, 1 << 14
_EXCEPTION = re.compile(r"[\w.]+(Error|Exception|Mismatch|TooLong)\b")

logger = logging.getLogger(__name__)


class JobFailed(ValueError):
    """A pipeline failed; what is finished stays finished."""


def pipeline_options(arguments: Sequence[str]) -> PipelineOptions:
    """Beam's options, with `FnApiRunner` unless another runner is named.

    Raises:
        ValueError: An option that the runner does not have.
    """
    arguments = list(arguments)
    options = PipelineOptions(arguments)
    runner = options.view_as(StandardOptions).runner
    if runner is None:
        arguments.append(f"--runner={DEFAULT}")
        options = PipelineOptions(arguments)
        logger.info(
            "Runs on %s, on this machine; for another runner: -- --runner=NAME (Beam's own "
            "default would first try to download a program)",
            DEFAULT,
        )
    if (runner or DEFAULT).rpartition(".")[2].lower() in _LOCAL:
        parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        for each in PipelineOptions.__subclasses__():
            each._add_argparse_args(parser)
        try:
            _, unknown = parser.parse_known_args(arguments)
        except SystemExit as error:
            raise ValueError("Beam's options, after --, are not well-formed.") from error
        if unknown:
            raise ValueError(f"Beam has no option {unknown[0]} for {runner or DEFAULT}.")
        direct = options.view_as(DirectOptions)
        if direct.direct_num_workers != 1 and direct.direct_running_mode != _PROCESSES:
            logger.warning(
                "workers of --direct_num_workers=%d are threads of one process, which take turns "
                "with its model: add --direct_running_mode=%s for processes",
                *(direct.direct_num_workers, _PROCESSES),
            )
    return options


@contextlib.contextmanager
def messages_kept(path: str | None) -> Iterator[TextIO | None]:
    """Keeps what Beam, its workers and C++ code write to standard error; writes it if they fail.

    It is dozens of lines for each worker. They go through a pipe, as a worker whose messages
    cannot be written, on a full disk, would wait forever. Yields standard error as it was.

    Args:
        path: File of the messages of a job that failed; none for a runner elsewhere.
    """
    if path is None or sys.stderr is None:
        yield sys.stderr
        return
    sys.stderr.flush()
    terminal = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), errors="backslashreplace")
    source, sink = os.pipe()
    kept: deque[bytes] = deque(maxlen=_BLOCKS)

    def keep() -> None:
        with contextlib.suppress(OSError):
            while block := os.read(source, _BLOCK):
                kept.append(block)

    os.dup2(sink, 2)
    os.close(sink)
    reader = threading.Thread(target=keep, daemon=True)
    reader.start()
    try:
        yield terminal
    except BaseException:
        with contextlib.suppress(OSError):
            Path(path).write_bytes(b"".join(kept))
        raise
    finally:
        sys.stderr.flush()
        os.dup2(terminal.fileno(), 2)
        terminal.close()
        # A worker that still ends holds the pipe open.
        reader.join(1.0)


def run(build: Callable[[beam.Pipeline], Any], options: PipelineOptions) -> dict[str, int]:
    """Runs a pipeline until it ends; returns its counters by name.

    Raises:
        JobFailed: It failed.
    """
    pipeline = beam.Pipeline(options=options)
    build(pipeline)
    try:
        result = pipeline.run()
        state = result.wait_until_finish()
    except (KeyboardInterrupt, OSError):
        raise
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Of a worker in this process.
            raise error.__context__ from None
        raise JobFailed(_reason(error)) from error
    if state is not None and state != PipelineState.DONE:
        raise JobFailed(f"The job ended as {state}. The same command goes on.")
    return {
        each.key.metric.name: each.committed
        for each in result.metrics().query().get("counters", [])
        if each.key.metric.namespace == NAMESPACE
    }


def _reason(error: Exception) -> str:
    text = str(error)
    goes_on = "What is finished is kept: the same command goes on."
    if any(sign in text for sign in _WORKER_DIED):
        return (
            "A worker process ended, which ends Beam's local job (killed, or out of memory?). "
            f"{goes_on}"
        )
    lines = [line for line in text.splitlines() if line.strip()]
    # The exception itself, of a traceback from a worker.
    found = [line for line in lines if _EXCEPTION.match(line)]
    return f"The job failed: {(found or lines or [type(error).__name__])[-1]} {goes_on}"
