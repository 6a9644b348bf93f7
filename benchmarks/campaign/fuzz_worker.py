"""Reads fuzzed inputs of one target in this process, with limits; started by `fuzz.py`.

    fuzz_worker.py TARGET SEED FIRST END FOLDER

Writes a line of JSON for each input: `[number]` before it is read, `[number, outcome, message]`
after. Outcomes: `answered`, `refused`, or the name of a fault.
"""

from __future__ import annotations

import json
import os
import random
import resource
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# As a program; the tests' stand-ins are among what is fuzzed.
sys.path[:1] = [str(ROOT / each) for each in ("benchmarks", "tests", "tests/export")]

MEMORY = 2 * 2**30


def main() -> None:
    name, seed, first, end, folder = sys.argv[1:]
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from campaign import fuzz_models, fuzz_rest, fuzz_texts, fuzz_watch, fuzz_weights

    work = fuzz_watch.work_folder(Path(folder))
    modules = (fuzz_models, fuzz_rest, fuzz_texts, fuzz_weights)
    target: Any = next(found for each in modules if (found := getattr(each, name, None)))
    make, read = target(work)
    watch = fuzz_watch.Watch(work)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for number in range(int(first), int(end)):
        data = make(random.Random(f"{name} {seed} {number}"))
        print(json.dumps([number]), file=output)
        print(json.dumps([number, *watch.outcome(read, data)]), file=output)


if __name__ == "__main__":
    main()
