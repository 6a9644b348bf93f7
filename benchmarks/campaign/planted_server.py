"""The tests' server with a fault: `planted_server.py FAULT FLAGS...`, see `serving.PLANTED`."""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "export"))

import numpy as np
import serving_double
import serving_predict
import serving_rest
from serving_batching import INVALID, StatusError


def plant(fault: str) -> None:
    """Changes the server."""
    numbers, kept, models = itertools.count(1), [], []
    run, read = serving_predict.Servable._run, serving_rest.read_predict
    load = serving_predict.Servable.__init__

    def faulty_run(self: Any, signature: str, inputs: Any) -> Any:
        outputs = run(self, signature, inputs)
        number = next(numbers)
        if fault == "swapped rows" and number % 20 == 0:
            outputs = {name: np.roll(value, 1, axis=0) for name, value in outputs.items()}
        if fault == "a leaked buffer":
            kept.append(np.ones(2**19, "float64"))
        if fault == "a lost answer" and number % 50 == 0:
            raise StatusError(INVALID, "lost")
        return outputs

    def slow_errors(*arguments: Any) -> Any:
        try:
            return read(*arguments)
        except StatusError:
            time.sleep(3)
            raise

    def stale(self: Any, *arguments: Any) -> None:
        load(self, *arguments)
        # After the warm-up requests; no version is closed.
        models.append(self._model)
        self._model = models[0]

    serving_predict.Servable._run = faulty_run
    if fault == "slow errors":
        serving_rest.read_predict = slow_errors
    if fault == "the first model in new versions":
        serving_predict.Servable.__init__ = stale
        serving_predict.Servable.close = lambda self: self.batcher and self.batcher.close()


if __name__ == "__main__":
    plant(sys.argv.pop(1))
    sys.exit(serving_double.main())
