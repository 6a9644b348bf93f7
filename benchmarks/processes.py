"""Does training in two processes pay on one machine? Against one process with one and two threads.

    python benchmarks/processes.py CORPUS WORK [--rounds 3] [--pairs 4000]

`CORPUS` holds Multi30k's files (`train.de.gz`, ...); the model has the sizes of the recipe
`multi30k`. Every training has two epochs: in the first one, batches of every shape are compiled;
target tokens per second are those of the second one, without validation. Each process is bound to
as many cores as it has threads. All systems take turns, `--rounds` times; prints a table of medians
in Markdown. Needs two free cores, Linux and the extra `jax`.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

BACKENDS = ("jax", "tensorflow")
# Cores of each process.
SYSTEMS = {
    "one process, one thread": ({0},),
    "one process, two threads": ({0, 1},),
    "two processes, one thread each": ({0}, {1}),
}
TINY = dict.fromkeys(
    (f"model.{name}_units" for name in ("embedding", "encoder", "decoder", "attention")), 16
)


def main() -> None:
    """Measures all systems in turns, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=4000, help="pairs of an epoch (4000)")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--tiny", action="store_true", help="a tiny model: only tries the program")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        parser.error(f"two cores are needed, this process may use {len(cores)}")
    take(options.corpus, options.work / "corpus", options.pairs)
    figures: dict[tuple[str, str], list[float]] = {}
    for number, backend, (name, bound) in itertools.product(
        range(options.rounds), options.backends, SYSTEMS.items()
    ):
        own = [{cores[each] for each in process} for process in bound]
        speed = tokens_per_second(options.work, backend, own, TINY if options.tiny else {})
        figures.setdefault((backend, name), []).append(speed)
        print(f"round {number + 1}: {backend}, {name}: {speed:,.0f}", file=sys.stderr, flush=True)
    print(table(figures))


def take(corpus: Path, folder: Path, pairs: int) -> None:
    """Writes the first pairs of Multi30k as line-aligned files."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", pairs), ("val", 100)):
        for side in ("de", "en"):
            with gzip.open(corpus / f"{split}.{side}.gz", "rt", encoding="utf-8") as lines:
                text = "".join(itertools.islice(lines, count))
            (folder / f"{split}.{side}").write_text(text, encoding="utf-8")


def tokens_per_second(
    work: Path, backend: str, cores: list[set[int]], settings: dict[str, Any]
) -> float:
    """Target tokens per second of the second epoch, by a process on each set of cores."""
    output = work / "model"
    shutil.rmtree(output, ignore_errors=True)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(cores))]
    settings = {
        "data.corpus": "lines",
        "data.folder": work / "corpus",
        "data.validation": "val",
        "vocabulary.segmentation_samples": 1,
        "training.epochs": 2,
        "training.monitor": "val_loss",
        "training.bleu_sentences": 0,
        **settings,
    }
    if len(cores) > 1 and backend == "tensorflow":
        settings["training.distribution"] = "multi_worker"
    command = [sys.executable, "-m", "keras_attn_nmt.cli", "train", "multi30k", "--quiet"]
    command += ["--output", str(output)]
    command += [f"--set={name}={value}" for name, value in settings.items()]
    started = []
    for index, own in enumerate(cores):
        environment = {
            **os.environ,
            "KERAS_BACKEND": backend,
            "TF_NUM_INTRAOP_THREADS": str(len(own)),
            "TF_NUM_INTEROP_THREADS": "1",
            # Rounds after the first one compile nothing.
            "JAX_COMPILATION_CACHE_DIR": str(work / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        environment.pop("TF_CONFIG", None)
        place = []
        if len(cores) > 1 and backend == "jax":
            place = ["--processes", str(len(cores)), "--process", str(index)]
            place += ["--coordinator", addresses[0]]
        elif len(cores) > 1:
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
        bound = ["taskset", "--cpu-list", ",".join(map(str, sorted(own)))]
        started.append(
            subprocess.Popen(
                [*bound, *command, *place],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    for process in started:
        messages = process.communicate()[1]
        if process.returncode:
            raise SystemExit(f"{backend} on {cores} failed:\n{messages}")
    report = json.loads((output / "training.json").read_text(encoding="utf-8"))
    return float(report["history"][1]["tokens_per_second"])


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in servers]
    for each in servers:
        each.close()
    return ports


def table(figures: dict[tuple[str, str], list[float]]) -> str:
    """Medians in Markdown, with the lowest and highest figure, and relative to one thread."""
    lines = ["| | backend | target tokens/s | range | to one thread |", "|---|---|---|---|---|"]
    first = next(iter(SYSTEMS))
    for (backend, name), values in sorted(figures.items(), key=lambda each: each[0][0]):
        median, alone = statistics.median(values), statistics.median(figures[backend, first])
        lines.append(
            f"| {name} | {backend} | {median:,.0f} | {min(values):,.0f} to {max(values):,.0f} | "
            f"{median / alone:.2f} x |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
