"""Fuzzed inputs of everything that the package reads.

    PYTHONPATH=benchmarks python -m campaign.fuzz [TARGET ...] [--inputs 10000] [--seed 1]

Each input must have a clear error or a right answer: no traceback, no crash, less than 10 s of CPU
time and 2 GiB, and nothing executed or written elsewhere. Inputs are read in a process that a crash
may end.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from campaign.rows import Row

TARGETS = (
    *("texts", "markup", "recipes", "records", "lines", "tsv", "json_lines", "tmx", "vectors"),
    *("alignments", "glossaries", "vocabularies", "foreign_vocabularies", "configs", "weights"),
    *("hand_built", "shortlists", "device_files", "rest_requests", "rest_answers"),
)
SURVIVED = ("answered", "refused")
INPUTS = 10_000
NOTES = {"rest_requests": "; parsed by the tests' stand-in for TensorFlow Serving"}
# A process that says nothing for so many seconds hangs in code that no signal interrupts; longer
# before the first input, while a model is exported.
SILENCE, PREPARATION = 120, 900


def campaign(seed: int, minutes: float) -> Iterator[Row]:
    """Reads fuzzed inputs of each target for its share of the time, 10,000 at most."""
    for target in TARGETS:
        yield run(target, INPUTS, seed, seconds=60 * minutes / len(TARGETS))


def run(target: str, inputs: int, seed: int, first: int = 0, seconds: float = math.inf) -> Row:
    """Reads fuzzed inputs of one target; prints a line for each new kind of fault.

    Args:
        target: One of `TARGETS`.
        inputs: Number of inputs.
        seed: Of the inputs.
        first: Number of the first input.
        seconds: How long, from the first input on; at least one is read.
    """
    until = math.inf
    outcomes: collections.Counter[str] = collections.Counter()
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for number, outcome, message in _outcomes(target, inputs, seed, first, folder):
            outcomes[outcome] += 1
            kind = f"{outcome} {message.rpartition(' at ')[2]}"
            if outcome not in SURVIVED and kind not in seen:
                seen.add(kind)
                print(f"{target} {number}: {outcome}: {message}", file=sys.stderr, flush=True)
            until = min(until, time.monotonic() + seconds)
            if time.monotonic() > until:
                break
    tried = outcomes.total()
    lost = outcomes.get("lost", 0)
    survived = sum(outcomes[each] for each in SURVIVED)
    notes = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    notes += NOTES.get(target, "")
    return Row(f"fuzz, {target}", tried, survived, tried - survived - lost, lost, notes)


def _outcomes(
    target: str, inputs: int, seed: int, first: int, folder: str
) -> Iterator[tuple[int, str, str]]:
    number, end = first, first + inputs
    while number < end:
        started = False
        for each, *rest in _worker(target, seed, number, end, folder):
            started = True
            if rest:
                yield each, *rest
                number = each + 1
        if number < end:
            if not started:
                raise RuntimeError(f"The target {target} cannot be prepared.")
            yield number, "lost", "its process ended"
            number += 1


def _worker(target: str, seed: int, first: int, end: int, folder: str) -> Iterator[list]:
    command = [sys.executable, str(Path(__file__).with_name("fuzz_worker.py"))]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*command, target, str(seed), str(first), str(end), folder],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"},
        )
        assert process.stdout is not None
        buffer, complete = b"", 0
        try:
            while select.select([process.stdout], [], [], SILENCE if complete else PREPARATION)[0]:
                block = os.read(process.stdout.fileno(), 1 << 16)
                if not block:
                    break
                *whole, buffer = (buffer + block).split(b"\n")
                for line in whole:
                    complete += 1
                    yield json.loads(line)
        finally:
            process.kill()
            process.wait()
        if not complete or process.returncode not in (0, -9):
            errors.seek(0)
            print(errors.read()[-2000:].decode(errors="replace"), file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=TARGETS, help=f"default: {TARGETS}")
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    print("| input | tried | survived | wrong | lost | |\n|---|---|---|---|---|---|")
    for target in options.targets:
        row = run(target, options.inputs, options.seed, options.first)
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
