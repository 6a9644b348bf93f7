"""Calls a function of a campaign in a process of its own, on another backend or to be killed.

    python benchmarks/campaign/child.py MODULE FUNCTION '{"seed": 1}'

The last line of its output is the result in JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]
TIMEOUT = 2 * 3600.0


def call(
    module: str,
    function: str,
    *,
    backend: str = "tensorflow",
    timeout: float = TIMEOUT,
    **arguments: Any,
) -> Any:
    """The result of `campaign.MODULE.FUNCTION(**arguments)`, from a process of its own.

    Raises:
        RuntimeError: The process failed, with the end of what it wrote to stderr, or it did not end
            within `timeout` seconds and was killed with its children.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    command = [sys.executable, __file__, module, function, json.dumps(arguments)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(
            f"campaign.{module}.{function} on {backend} did not end within {timeout:.0f} s"
        ) from error
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise RuntimeError(
            f"campaign.{module}.{function} on {backend} ended with {process.returncode}: "
            f"{errors[-2000:]}"
        )
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Prints the result of the function that the arguments name."""
    # The folder of this file holds modules with names of the standard library's kind.
    sys.path[0] = str(BENCHMARKS)
    module, function, arguments = sys.argv[1:]
    found = getattr(importlib.import_module(f"campaign.{module}"), function)(
        **json.loads(arguments)
    )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
