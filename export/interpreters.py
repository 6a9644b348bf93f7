"""Interpreters of a `.tflite` file for several threads."""

from __future__ import annotations

import os
import queue
import re
from typing import Any

import numpy as np

from keras_attn_nmt.extras import extra
from keras_attn_nmt.quiet import quiet_command

with extra("device"):
    from ai_edge_litert.interpreter import Interpreter

# Names of signatures of greedy search, by the number of sentences and of source tokens.
SIZED = "translate_{}x{}"


class Interpreters:
    """Interpreters of one file, shared by the threads of one process: each runs one at a time.

    Args:
        content: Content of the `.tflite` file.
        threads: Number of threads of an interpreter.
        jobs: Number of interpreters.

    Attributes:
        process: Id of the process that may use them.
        signatures: Names of the signatures.
        sizes: Rows and places of the signatures of greedy search.
    """

    def __init__(self, content: bytes, threads: int, jobs: int):
        self.process = os.getpid()
        self._free: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with quiet_command():
            for _ in range(jobs):
                interpreter = Interpreter(model_content=content, num_threads=threads)
                # Logs the delegate in this context, which the first run would do outside of it.
                interpreter.allocate_tensors()
                names = interpreter.get_signature_list()
                self._free.put({name: interpreter.get_signature_runner(name) for name in names})
        self.signatures = frozenset(names)
        sized = (re.fullmatch(SIZED.format(r"(\d+)", r"(\d+)"), name) for name in names)
        self.sizes = sorted((int(each[1]), int(each[2])) for each in sized if each)

    def check_shapes(self, source_length: int, beam_size: int) -> None:
        """Raises `ValueError` if a signature is missing, or takes arrays of another size."""
        runners = self._free.get()
        self._free.put(runners)
        expected = {"translate": ("source_ids", [1, source_length])}
        if "decode_step" in self.signatures:
            expected["encode"] = expected["translate"]
            expected["decode_step"] = ("tokens", [1, beam_size])
        for name, (input_name, shape) in expected.items():
            if name not in runners:
                raise ValueError(f"it has no signature {name}")
            given = runners[name].get_input_details().get(input_name, {})
            if list(given.get("shape", ())) != shape:
                raise ValueError(
                    f"{input_name} of the signature {name} must be of shape {shape}, got {given}"
                )

    def run(self, signature: str, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Runs a signature and returns copies of its outputs by name."""
        runners = self._free.get()
        try:
            return runners[signature](**inputs)
        finally:
            self._free.put(runners)
