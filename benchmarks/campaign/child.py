"""Calls a function of a campaign in a process of its own, on another backend or to be killed.

    python benchmarks/campaign/child.py MODULE FUNCTION '{"seed": 1}'

The last line of its output is the result in JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parents[1]


def call(module: str, function: str, *, backend: str = "tensorflow", **arguments: Any) -> Any:
    """The result of `campaign.MODULE.FUNCTION(**arguments)`, from a process of its own.

    Raises:
        RuntimeError: The process failed; with the end of what it wrote to stderr.
    """
    environment = {**os.environ, "KERAS_BACKEND": backend}
    environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    command = [sys.executable, __file__, module, function, json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(
            f"campaign.{module}.{function} on {backend} ended with {done.returncode}: "
            f"{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout.splitlines()[-1])


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
