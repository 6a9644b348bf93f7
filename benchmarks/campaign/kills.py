"""Trainings that are killed at random moments and resumed until they are finished.

Weights, `training.json` and all other files must be those of a training that was never stopped,
and another process must be able to read every file at every moment.
"""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from campaign.fault_cases import Worker, write_data
from campaign.fault_worker import STOPPED
from campaign.outputs import Broken, fingerprint, unlike
from campaign.rows import Row

BACKENDS = ("tensorflow", "jax")
EPOCHS = 6
# Kills for each backend.
KILLS = 50
# Trainings begun, at most, until one is killed.
ATTEMPTS = 5


class Reader(threading.Thread):
    """Reads all files of a folder again and again while another process writes them.

    Args:
        folder: The folder.
        wanted: Fingerprint of the files at the end.

    Attributes:
        rounds: How often all files were read; not counted while there is none.
        broken: Files that could not be read, or were not whole.
    """

    def __init__(self, folder: Path, wanted: dict[str, str]):
        super().__init__(daemon=True)
        self.folder = folder
        self.wanted = wanted
        self.rounds = 0
        self.broken: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.02):
            try:
                found = fingerprint(self.folder)
            except Exception as error:
                self.broken.append(f"{type(error).__name__}: {error}")
                continue
            self.broken += [f"{name} is not whole" for name in unlike(found, self.wanted)]
            self.rounds += bool(found)

    def close(self) -> None:
        self.ended.set()
        self.join()


def campaign(work: Path, seed: int, minutes: float) -> Iterator[Row]:
    """Two rows for each backend.

    Args:
        work: Folder for outputs.
        seed: Of the moments.
        minutes: After which no further training is begun; at least one is on each backend.
    """
    end = time.monotonic() + 60 * minutes
    for index, backend in enumerate(BACKENDS):
        share = (end - time.monotonic()) / (len(BACKENDS) - index)
        until = time.monotonic() + share
        yield from killed_trainings(work / backend, seed, KILLS, until, backend)


def killed_trainings(
    work: Path, seed: int, most: int, until: float, backend: str, plant: str = ""
) -> list[Row]:
    """Kills and resumes trainings on one backend: a row of the kills, one of the trainings.

    Args:
        work: Folder for outputs.
        seed: Of the moments.
        most: Number of kills after which trainings run to their end.
        until: Value of `time.monotonic()` at which they do.
        backend: Keras backend.
        plant: See `fault_worker.PLANTS`.
    """
    worker = Worker(work, backend)
    write_data(work / "data", seed)
    try:
        return _killed_trainings(worker, work, random.Random(seed), most, until, backend, plant)
    finally:
        worker.close()


def _killed_trainings(
    worker: Worker,
    work: Path,
    chance: random.Random,
    most: int,
    until: float,
    backend: str,
    plant: str,
) -> list[Row]:
    whole, out = work / "whole", work / "out"
    shutil.rmtree(whole, ignore_errors=True)
    command = ["train", str(work / "data" / "tiny.toml"), "--quiet"]
    command += ["--set", f"training.epochs={EPOCHS}", "--output"]
    begin = time.monotonic()
    code, messages = worker.run([*command, str(whole)], whole, plant=plant)
    if code:
        raise RuntimeError(f"training on {backend} without kills ends with {code}: {messages}")
    seconds = time.monotonic() - begin
    limit = max(60.0, 10 * seconds)
    wanted = fingerprint(whole)

    killed = broken = lost = compared = differing = begun = rounds = 0
    problems: list[str] = []
    differences = ""
    while (killed < most and time.monotonic() < until) or (not killed and begun < ATTEMPTS):
        shutil.rmtree(out, ignore_errors=True)
        begun += 1
        before = killed
        while True:
            resume = ["--resume"] if (out / "checkpoints" / "state.json").is_file() else []
            last = killed >= most or (killed > before and time.monotonic() > until)
            # Once in a while too late, so that every training ends.
            moment = limit if last else chance.uniform(0, 1.2) * seconds
            reader = Reader(out, wanted)
            reader.start()
            code, messages = worker.run(
                [*command, str(out), *resume], out, plant=plant, kill_after=moment
            )
            reader.close()
            rounds += reader.rounds
            broken += bool(reader.broken)
            problems += reader.broken[:1]
            if code != STOPPED or last:
                break
            killed += 1
        if code:
            # Also a SIGKILL of others, and a training that hangs.
            lost += 1
            problems.append(f"resumed, exit code {code}: {messages[-200:]!r}")
        elif killed > before:
            compared += 1
            if names := _differing(out, wanted):
                differing += 1
                differences = f"; {', '.join(names)} of training {begun} differ"
    shutil.rmtree(out, ignore_errors=True)
    notes = f"all files read {rounds:,} times meanwhile"
    notes += "".join(f"; {each}" for each in problems[:3])
    broken = min(broken, killed)
    survived = max(0, killed - broken - lost)
    # Nothing tried is nothing survived.
    return [
        Row(f"kills of a training, {backend}", killed, survived, broken, lost or int(not killed),
            notes),
        Row(f"killed trainings compared at their end, {backend}", compared, compared - differing,
            differing, int(not compared), f"{EPOCHS} epochs{differences}"),
    ]  # fmt: skip


def _differing(out: Path, wanted: dict[str, str]) -> list[str]:
    """Names of files that are not those of the training that was never stopped."""
    try:
        found = fingerprint(out)
    except Broken as error:
        return [str(error)]
    names = found.keys() | wanted.keys()
    return sorted(name for name in names if found.get(name) != wanted.get(name))
