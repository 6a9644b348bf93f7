"""Reliability campaigns: faults, hostile input and long runs. Prints the rows of a Markdown table.

The exit code is 1 if a trial failed, or if a row has none that was not left out on purpose.

    python benchmarks/campaign.py build/demo/model --work build/campaign --seed 1

MODEL is the model of `make demo`, with the exports beside it. docs/reliability.md has the results.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from campaign.fault_cases import BULK
from campaign.rows import Row


class Settings(NamedTuple):
    """What a campaign is given: paths, a seed, minutes, and an interpreter with Apache Beam.

    `parts` are commands of write-faults, or runtimes of runtimes; all if there are none.
    """

    model: Path
    work: Path
    seed: int
    minutes: float
    beam_python: str
    parts: Sequence[str]


def write_faults(settings: Settings) -> Iterable[Row]:
    from campaign import write_faults

    return write_faults.campaign(
        settings.model,
        settings.work,
        settings.seed,
        minutes=settings.minutes,
        beam_python=settings.beam_python,
        commands=settings.parts,
    )


def kills(settings: Settings) -> Iterable[Row]:
    from campaign import kills

    return kills.campaign(settings.work, settings.seed, minutes=settings.minutes)


def planted_faults(settings: Settings) -> Iterable[Row]:
    from campaign import planted_faults

    return planted_faults.campaign(settings.model, settings.work, settings.seed)


def fuzz(settings: Settings) -> Iterable[Row]:
    from campaign import fuzz

    return fuzz.campaign(settings.seed, settings.minutes)


def runtimes(settings: Settings) -> Iterable[Row]:
    from campaign import runtimes

    return runtimes.runtimes(settings.seed, settings.minutes, settings.parts)


def numerics(settings: Settings) -> Iterable[Row]:
    from campaign import numerics

    return numerics.numerics(settings.seed, settings.minutes)


def threads(settings: Settings) -> Iterable[Row]:
    from campaign import threads

    return threads.threads(settings.seed, settings.minutes, str(settings.model))


def serving(settings: Settings) -> Iterable[Row]:
    from campaign import serving

    return serving.serving(settings.seed, settings.minutes, str(settings.model))


# Each imports its module when it runs.
CAMPAIGNS: dict[str, Callable[[Settings], Iterable[Row]]] = {
    "write-faults": write_faults,
    "kills": kills,
    "planted-faults": planted_faults,
    "fuzz": fuzz,
    "runtimes": runtimes,
    "numerics": numerics,
    "threads": threads,
    "server": serving,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=CAMPAIGNS, default=list(CAMPAIGNS))
    parser.add_argument("--minutes", type=float, default=60, help="of all campaigns together")
    parser.add_argument("--beam-python", default="", help="interpreter with Apache Beam")
    parser.add_argument(
        "--parts",
        nargs="+",
        default=(),
        metavar="NAME",
        help="only these commands of write-faults, or these runtimes of runtimes",
    )
    options = parser.parse_args()
    if options.parts and options.only not in (["write-faults"], ["runtimes"]):
        parser.error("--parts needs --only write-faults, or --only runtimes")
    if BULK in options.parts and not options.beam_python:
        parser.error(f"{BULK} needs --beam-python")
    print(f"Seed {options.seed}\n", flush=True)
    print("| campaign | tried | survived | wrong | lost | seconds | notes |")
    print("|---|---|---|---|---|---|---|", flush=True)
    failed = False
    for name in options.only:
        work = options.work.resolve() / name
        work.mkdir(parents=True, exist_ok=True)
        minutes = options.minutes / len(options.only)
        begin = time.perf_counter()
        settings = Settings(
            model=options.model.resolve(),
            work=work,
            seed=options.seed,
            minutes=minutes,
            beam_python=options.beam_python,
            parts=options.parts,
        )
        for row in CAMPAIGNS[name](settings):
            failed |= row.failed
            seconds, begin = time.perf_counter() - begin, time.perf_counter()
            counts = f"{row.tried} | {row.survived} | {row.wrong} | {row.lost}"
            print(f"| {row.name} | {counts} | {seconds:.0f} | {row.notes} |", flush=True)
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
