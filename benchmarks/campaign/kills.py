"""Trainings that are killed at random moments and resumed until they are finished.

Weights, `training.json` and all other files must be those of a training that was never stopped,
and another process must be able to read every file at every moment.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from campaign.fault_cases import Worker, write_data
from campaign.outputs import Broken, fingerprint
from campaign.rows import Row

EPOCHS = 6


class Reader(threading.Thread):
    """Reads all files of a folder again and again while another process writes them.

    Attributes:
        rounds: How often all files were read.
        broken: Files that were not whole.
    """

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder = folder
        self.rounds = 0
        self.broken: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            try:
                fingerprint(self.folder)
            except Broken as error:
                self.broken.append(str(error))
            self.rounds += 1

    def close(self) -> None:
        self.ended.set()
        self.join()


def campaign(
    work: Path,
    seed: int,
    kills: int = 50,
    minutes: float = 20,
    backends: Sequence[str] = ("tensorflow", "jax"),
    plant: str = "",
) -> Iterator[Row]:
    """A row for each backend.

    Args:
        work: Folder for outputs.
        seed: Of the moments.
        kills: Number of kills for each backend.
        minutes: After which no further training is begun.
        backends: Keras backends.
        plant: See `fault_worker.PLANTS`.
    """
    end = time.monotonic() + 60 * minutes
    write_data(work / "data", seed)
    for index, backend in enumerate(backends):
        worker = Worker(work / backend, backend)
        try:
            share = (end - time.monotonic()) / (len(backends) - index)
            until = time.monotonic() + share
            yield killed_trainings(worker, work, seed, kills, until, backend, plant)
        finally:
            worker.close()


def killed_trainings(
    worker: Worker, work: Path, seed: int, kills: int, until: float, backend: str, plant: str
) -> Row:
    """Kills and resumes trainings on one backend; each kill is a trial."""
    chance = random.Random(seed)
    whole, out = work / backend / "whole", work / backend / "out"
    shutil.rmtree(whole, ignore_errors=True)
    command = ["train", str(work / "data" / "tiny.toml"), "--quiet"]
    command += ["--set", f"training.epochs={EPOCHS}", "--output"]
    begin = time.monotonic()
    code, messages = worker.run([*command, str(whole)], whole)
    if code:
        raise RuntimeError(f"training on {backend} without kills ends with {code}: {messages}")
    seconds = time.monotonic() - begin
    wanted = fingerprint(whole)

    killed = runs = rounds = 0
    wrong: list[str] = []
    lost: list[str] = []
    while killed < kills and time.monotonic() < until:
        shutil.rmtree(out, ignore_errors=True)
        runs += 1
        code = -9
        while code == -9:
            resume = ["--resume"] if (out / "checkpoints" / "state.json").is_file() else []
            # Once in a while too late, so that every run ends.
            moment = 0.0 if killed >= kills else chance.uniform(0.2, 1.2) * seconds
            reader = Reader(out)
            reader.start()
            code, messages = worker.run(
                [*command, str(out), *resume], out, plant=plant, kill_after=moment
            )
            reader.close()
            rounds += reader.rounds
            wrong += reader.broken
            killed += code == -9
        if code:
            lost.append(f"resumed, exit code {code}: {messages[-200:]!r}")
        elif differing := _differing(out, wanted):
            wrong.append(f"{', '.join(differing)} of run {runs} differ")
    shutil.rmtree(out, ignore_errors=True)
    notes = f"{runs} runs of {EPOCHS} epochs; all files read {rounds:,} times meanwhile"
    notes += "".join(f"; {each}" for each in (wrong + lost)[:3])
    failed = len(wrong), len(lost)
    return Row(
        f"training killed and resumed, {backend}", killed, killed - sum(failed), *failed, notes
    )


def _differing(out: Path, wanted: dict[str, str]) -> list[str]:
    """Names of files that are not those of the training that was never stopped."""
    try:
        found = fingerprint(out)
    except Broken as error:
        return [str(error)]
    names = found.keys() | wanted.keys()
    return sorted(name for name in names if found.get(name) != wanted.get(name))
