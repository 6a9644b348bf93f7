"""A server for an hour: are answers right while versions change and clients misbehave?

32 clients, half over REST and half over gRPC, ask for 1 to 16 texts at a time, by
`tensorflow_model_server` where it is on the PATH, else by the tests' stand-in. A new version comes
every minute, of two models in turn. In every second half-minute, 5 % of all requests are malformed,
and some clients hang up: without having sent all, before the answer, or on a call. All answers to a
request must be those of one model, as the same server gives them to one client, and of the newest
version; while versions change, of either. Every malformed request must be refused at once.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import math
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from operator_flags import operator_flags

from campaign.hostile import HANG_UPS, MALFORMED, Hostile
from campaign.resident import Watch
from campaign.rows import Row, Shown, planted
from campaign.texts import mixed_texts
from campaign.threads import MAX_LENGTH, TESTS, short_enough
from campaign.versions import Model, Timeline, second_model, verdict

CLIENTS, TEXTS = 32, 300
MALFORMED_SHARE, HANG_UP_SHARE = 0.05, 0.01
# The median of good requests with malformed ones, to that without; 1 but for noise.
MOST_MOVED = 1.2
LEAST_TOLD_APART = 0.5
STAND_IN = "the tests' stand-in"
GROUPS = ("good", "malformed", "hang-up")

_GOOD, _MALFORMED = (f"server, {kind} requests of {CLIENTS} clients" for kind in GROUPS[:2])
VERSIONS = "server, new versions"
# Each with the row that must show it.
PLANTED = {
    "swapped rows": Shown(_GOOD),
    "the first model in new versions": Shown(_GOOD),
    "a lost answer": Shown(_GOOD, "lost"),
    "slow errors": Shown(_MALFORMED),
    "a leaked buffer": Shown("server, memory"),
}
# Of a planted fault, or the run without one.
PLANTED_SECONDS = 45
# Generous, for a busy machine.
START_SECONDS = 600
# How long clients ask at least after a new version is loaded.
ASKED_SECONDS = 15


def serving(seed: int, minutes: float, model: str) -> Iterator[Row]:
    """Rows for good requests, malformed ones, hang-ups, versions, memory, latency, planted faults.

    Args:
        seed: Of texts, requests and the second model.
        minutes: How long clients ask; five more are for planted faults. A version comes every
            minute, or more often in less than six.
        model: Model directory.
    """
    from keras_attn_nmt.export import export_saved_model

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {"beam_size": 1, "length_penalty": 1.0, "max_length": MAX_LENGTH}
        texts = short_enough(mixed_texts(seed, TEXTS), model)
        models = []
        for each in (model, second_model(model, folder / "model", seed)):
            version = export_saved_model(each, folder / str(len(models)), **options)
            models.append(Model(each, version, answers(version, texts)))
        told = models[0].told_apart(models[1])
        if told < LEAST_TOLD_APART:
            raise ValueError(f"Answers tell the two models apart in {told:.0%} of the texts only.")
        which = f"server: {_real() or STAND_IN}"
        apart = f"{told:.0%} of the texts tell the two models apart"
        for row in served(models, texts, seed, 60 * minutes):
            notes = [row.notes, apart if row.name == VERSIONS else "", which]
            yield row._replace(notes="; ".join(filter(None, notes)))
        clean = served(models, texts, seed, PLANTED_SECONDS, short=True)
        found = {fault: served(models, texts, seed, PLANTED_SECONDS, fault) for fault in PLANTED}
    yield planted("server", found, PLANTED, clean)


@contextlib.contextmanager
def _running(versions: Path, first: Path, program: list[str]) -> Iterator[Any]:
    """A server of the exported version, with the operator's files."""
    sys.path.insert(0, str(TESTS))
    from serving_double import ModelServer

    shutil.copytree(first, versions / "1")
    flags = operator_flags(versions)
    with ModelServer(program, versions, "model", flags, START_SECONDS) as server:
        yield server


def answers(version: Path, texts: list[str]) -> dict[str, Any]:
    """Of each text, by a server with a single client."""
    from keras_attn_nmt.export import TranslationClient

    with (
        tempfile.TemporaryDirectory() as folder,
        _running(Path(folder, "versions"), version, _program("", False)) as server,
        TranslationClient(server.rest_address, "model", timeout=300) as client,
    ):
        return dict(zip(texts, client(texts), strict=True))


def served(
    models: list[Model],
    texts: list[str],
    seed: int,
    seconds: float,
    plant: str = "",
    short: bool = False,
) -> list[Row]:
    """The rows of a server of versions of two models; a lost one if it does not start.

    Args:
        models: Both.
        texts: For requests.
        seed: Of requests.
        seconds: How long clients ask.
        plant: A fault of `PLANTED`, which the rows must show.
        short: As with a fault, but without one: in the tests' stand-in, and with a single new
            version.
    """
    try:
        return _served(models, texts, seed, seconds, plant, short or bool(plant))
    except Exception as error:
        return [Row("server, run", 1, 0, 0, 1, f"{type(error).__name__}: {error}"[:200])]


def _served(
    models: list[Model], texts: list[str], seed: int, seconds: float, plant: str, short: bool
) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder, "versions")
        with _running(versions, models[0].version, _program(plant, short)) as server:
            load = _Load(seed, seconds, server, texts, models)
            with Watch(server._process.pid) as watch:
                new = load.run(versions, 1 if short else 10**9)
            rows = load.rows()
            alive = load.serves()
    loaded = sum(new)
    notes = f"{len(new)} published, {loaded} loaded"
    rows.append(Row(VERSIONS, len(new), loaded, 0, len(new) - loaded, notes))
    rows.append(watch.row("server, memory"))
    rows.append(Row("server, answers at the end", 1, int(not alive), 0, int(bool(alive)), alive))
    return rows


def _real() -> str | None:
    return shutil.which("tensorflow_model_server")


def _program(plant: str, short: bool) -> list[str]:
    if plant:
        return [sys.executable, str(Path(__file__).with_name("planted_server.py")), plant]
    program = None if short else _real()
    return [program] if program else [sys.executable, str(TESTS / "serving_double.py")]


class _Load:
    """The clients, and what they have seen."""

    def __init__(
        self, seed: int, seconds: float, server: Any, texts: list[str], models: list[Model]
    ):
        self._seed, self._server = seed, server
        self._texts, self._models = texts, models
        self._timeline = Timeline()
        self._begin = time.monotonic()
        self._end = self._begin + seconds
        # Half-minutes with and without malformed requests, and at least six of each.
        self._period = min(30.0, seconds / 12)
        self._swap_seconds = min(60.0, seconds / 6)
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._counts: dict[str, collections.Counter[str]] = collections.defaultdict(
            collections.Counter
        )
        # Latency in seconds by whether there were malformed requests.
        self._seconds: dict[bool, list[float]] = {False: [], True: []}

    def run(self, versions: Path, most: int) -> list[bool]:
        """Lets clients ask until the end; whether each of at most so many new versions loaded."""
        clients = [threading.Thread(target=self._ask, args=[each]) for each in range(CLIENTS)]
        for each in clients:
            each.start()
        loaded: list[bool] = []
        planned = self._end
        while time.monotonic() + self._swap_seconds < planned and len(loaded) < most:
            time.sleep(self._swap_seconds)
            newest = len(loaded) + 2
            shutil.copytree(self._model(newest).version, versions / ".coming")
            # Loading may take long, and the new version must be asked, too.
            self._end = math.inf
            try:
                self._timeline.published()
                (versions / ".coming").rename(versions / str(newest))
                loaded.append(self._loaded(newest))
            finally:
                self._end = max(planned, time.monotonic() + ASKED_SECONDS)
            shutil.rmtree(versions / str(newest - 1))
        for each in clients:
            each.join()
        return loaded

    def _model(self, version: int) -> Model:
        return self._models[(version - 1) % len(self._models)]

    def _loaded(self, version: int) -> bool:
        """Waits until the version is available and the one before is unloaded."""
        url = f"{self._server.rest_address}/v1/models/model"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(requests.RequestException, ValueError, KeyError):
                answer = requests.get(url, timeout=60).json()["model_version_status"]
                states = {int(status["version"]): status["state"] for status in answer}
                if states.get(version) == "AVAILABLE" and states.get(version - 1) in (None, "END"):
                    self._timeline.loaded(version)
                    return True
            time.sleep(0.2)
        return False

    def _ask(self, number: int) -> None:
        try:
            self._ask_until_end(number)
        except BaseException as error:
            self._note("good", "", f"lost: a client ended: {type(error).__name__}: {error}"[:200])
            raise

    def _ask_until_end(self, number: int) -> None:
        from keras_attn_nmt.export import TranslationClient

        rest = number % 2 == 0
        address = self._server.rest_address if rest else self._server.grpc_address
        hostile = Hostile(self._server, self._texts)
        with TranslationClient(address, "model", timeout=120) as client:
            while (now := time.monotonic()) < self._end:
                generator = random.Random(self._seed * 10**9 + next(self._numbers))
                misbehaving = int((now - self._begin) / self._period) % 2 == 1
                kind = generator.random()
                if misbehaving and kind < MALFORMED_SHARE:
                    name = generator.choice(sorted(MALFORMED))
                    problem, retries = hostile.malformed(name)
                    self._note("malformed", name, problem, retries)
                elif misbehaving and kind < MALFORMED_SHARE + HANG_UP_SHARE:
                    name = generator.choice(HANG_UPS)
                    self._note("hang-up", name, hostile.hang_up(name))
                else:
                    self._good(client, generator, misbehaving)

    def _good(self, client: Any, generator: random.Random, misbehaving: bool) -> None:
        batch = generator.choices(self._texts, k=generator.randrange(1, 17))
        begin = time.monotonic()
        try:
            found = client(batch)
        except Exception as error:
            self._note("good", "", f"lost: {type(error).__name__}: {error}"[:200])
            return
        end = time.monotonic()
        self._note("good", "", self._verdict(batch, found, begin, end))
        with self._lock:
            self._seconds[misbehaving].append(end - begin)

    def _verdict(self, batch: list[str], found: list[Any], begin: float, end: float) -> str:
        versions = self._timeline.possible(begin, end)
        places = [(version - 1) % len(self._models) for version in versions]
        return verdict(batch, found, self._models, list(dict.fromkeys(places)))

    def _note(self, group: str, name: str, problem: str, retries: int = 0) -> None:
        with self._lock:
            counts = self._counts[group]
            counts["tried"] += 1
            counts["retries of slow refusals or of a full queue"] += retries
            if problem:
                counts["lost" if problem.startswith("lost") else "wrong"] += 1
                counts[f"{name}: {problem}" if name else problem] += 1

    def serves(self) -> str:
        """What is wrong with the answers to one more client; empty if nothing is."""
        from keras_attn_nmt.export import TranslationClient

        begin = time.monotonic()
        try:
            with TranslationClient(self._server.rest_address, "model", timeout=60) as client:
                found = client(self._texts[:8])
        except Exception as error:
            return f"lost: {type(error).__name__}: {error}"[:200]
        return self._verdict(self._texts[:8], found, begin, time.monotonic())

    def rows(self) -> list[Row]:
        """Rows of requests and latency."""
        rows = []
        for group in GROUPS:
            counts = self._counts[group]
            tried, wrong, lost = (counts.pop(name, 0) for name in ("tried", "wrong", "lost"))
            notes = [f"{count} {what}" for what, count in counts.most_common() if count]
            survived = tried - wrong - lost
            if group == "hang-up":
                survived = 0
                notes.append("load only: nothing is checked of these, so none is said to survive")
            name = f"server, {group} requests of {CLIENTS} clients"
            rows.append(Row(name, tried, survived, wrong, lost, "; ".join(notes)))
        without, misbehaving = self._seconds[False], self._seconds[True]
        if min(len(without), len(misbehaving)) < 50:
            rows.append(Row("server, latency", 0, 0, 0, 0, "too few requests"))
            return rows
        medians = [1000 * statistics.median(each) for each in (without, misbehaving)]
        p99 = [1000 * statistics.quantiles(each, n=100)[98] for each in (without, misbehaving)]
        moved = medians[1] > MOST_MOVED * medians[0]
        rows.append(
            Row(
                *("server, latency beside malformed requests", 1, int(not moved), int(moved), 0),
                f"median {medians[0]:.0f} ms without them, {medians[1]:.0f} ms with them; "
                f"99 % within {p99[0]:.0f} and {p99[1]:.0f} ms",
            )
        )
        return rows
