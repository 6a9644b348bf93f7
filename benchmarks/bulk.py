"""Bulk translation with one and with two worker processes, beside `translate --jobs 1` and `2`.

    .venv-beam/bin/python benchmarks/bulk.py model.tflite train.de.gz

The `.tflite` file should be of `export tflite --quantize int8 --bulk`. Each row is a whole command,
start and end included, on the same lines with greedy search, rows alternating, `--rounds` times:
medians. The translations of all rows must be equal. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

COMMAND = [sys.executable, "-m", "keras_attn_nmt.cli"]
SEARCH = ["--beam-size", "1"]


def write_lines(source: Path, target: Path, count: int) -> int:
    """Writes the first lines of a file, plain or gzip; their number."""
    with (gzip.open if source.suffix == ".gz" else open)(source, "rb") as lines:
        chosen = [line.rstrip(b"\r\n") + b"\n" for line in itertools.islice(lines, count)]
    target.write_bytes(b"".join(chosen))
    return len(chosen)


def translate(model: Path, text: Path, output: Path, jobs: int) -> None:
    words = ["translate", str(model), *SEARCH, "--too-long", "skip", "--jobs", str(jobs)]
    with text.open("rb") as source, output.open("wb") as target:
        subprocess.run(
            [*COMMAND, *words], stdin=source, stdout=target, stderr=subprocess.DEVNULL, check=True
        )


def bulk_translate(model: Path, text: Path, output: Path, workers: int) -> None:
    folder = output.with_suffix(".folder")
    words = ["bulk-translate", str(model), *SEARCH, "--input", str(text), "--output", str(folder)]
    # One worker is a process of its own, too.
    words += ["--", "--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
    subprocess.run(
        [*COMMAND, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )
    (folder / text.name).rename(output)
    shutil.rmtree(folder)


ROWS: dict[str, Callable[[Path, Path, Path], None]] = {
    "`translate --jobs 1`": lambda *paths: translate(*paths, 1),
    "`translate --jobs 2`": lambda *paths: translate(*paths, 2),
    "`bulk-translate`, 1 worker process": lambda *paths: bulk_translate(*paths, 1),
    "`bulk-translate`, 2 worker processes": lambda *paths: bulk_translate(*paths, 2),
}


def measure(run: Callable[[], None]) -> tuple[float, float]:
    """Elapsed seconds and CPU seconds of the processes that a function starts and waits for."""
    before, begin = os.times(), time.perf_counter()
    run()
    seconds, after = time.perf_counter() - begin, os.times()
    cpu = after.children_user + after.children_system
    return seconds, cpu - before.children_user - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, help="a .tflite file")
    parser.add_argument("source", type=Path, help="sentences, one per line, plain or .gz")
    parser.add_argument("--lines", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        text, output = Path(folder, "text.txt"), Path(folder, "output.txt")
        lines = write_lines(options.source, text, options.lines)
        wanted = None
        for number in range(options.rounds):
            for name, row in ROWS.items():
                found[name].append(measure(lambda row=row: row(options.model, text, output)))
                translations = output.read_bytes()
                wanted = translations if wanted is None else wanted
                if translations != wanted:
                    raise SystemExit(f"{name} translates other than {next(iter(ROWS))}.")
                print(f"round {number + 1}: {name}: {found[name][-1][0]:.1f} s", file=sys.stderr)
    medians = {
        name: [statistics.median(each) for each in zip(*found[name], strict=True)] for name in ROWS
    }
    print(f"{lines:,} lines, {options.rounds} rounds, medians\n")
    print("| command | seconds | range | lines/s | CPU seconds | as fast as with one |")
    print("|---|---|---|---|---|---|")
    one = 0.0
    for index, (name, (seconds, cpu)) in enumerate(medians.items()):
        one = seconds if index % 2 == 0 else one
        measured = sorted(each for each, _ in found[name])
        print(
            f"| {name} | {seconds:.1f} | {measured[0]:.1f} to {measured[-1]:.1f} "
            f"| {lines / seconds:,.0f} | {cpu:.1f} | {one / seconds:.2f} x |"
        )


if __name__ == "__main__":
    main()
