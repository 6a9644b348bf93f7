"""A server for an hour: are answers right while versions change and clients misbehave?

32 clients, half over REST and half over gRPC, ask for 1 to 16 texts at a time, by
`tensorflow_model_server` where it is on the PATH, else by the tests' stand-in. A new version comes
every minute. In every second half-minute, 5 % of all requests are malformed, and some clients hang
up: without having sent all, before the answer, or on a call. Every answer is compared with that of
the same server to one client, and every malformed request must be refused at once.
"""

from __future__ import annotations

import collections
import itertools
import random
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import requests

from campaign.hostile import HANG_UPS, MALFORMED, Hostile
from campaign.resident import Watch
from campaign.rows import Row, planted
from campaign.texts import CORPORA, mixed_texts
from campaign.threads import MAX_LENGTH, TESTS, difference, short_enough

CLIENTS, TEXTS = 32, 300
MALFORMED_SHARE, HANG_UP_SHARE = 0.05, 0.01
# The median of good requests with malformed ones, to that without; 1 but for noise.
MOST_MOVED = 1.2

PLANTED = ("swapped rows", "a leaked buffer", "a lost answer", "slow errors")


def serving(seed: int, minutes: float, model: str, corpora: str = str(CORPORA)) -> list[Row]:
    """Rows for good requests, malformed ones, hang-ups, versions, memory, latency, planted faults.

    Args:
        seed: Of texts and requests.
        minutes: How long clients ask; a tenth of it is for planted faults. A version comes every
            minute, or more often in less than six.
        model: Model directory.
        corpora: Folder of the real texts.
    """
    from keras_attn_nmt.export import export_saved_model

    share = 0.1 * minutes / len(PLANTED)
    with tempfile.TemporaryDirectory() as folder:
        options = {"beam_size": 1, "length_penalty": 1.0, "max_length": MAX_LENGTH}
        version = export_saved_model(model, folder, **options)
        texts = short_enough(mixed_texts(seed, TEXTS, corpora), model)
        rows = served(version, texts, seed, 0.9 * minutes)
        found = {fault: served(version, texts, seed, share, fault) for fault in PLANTED}
    return [*rows, planted("server", found)]


def served(
    version: Path, texts: list[str], seed: int, minutes: float, plant: str = ""
) -> list[Row]:
    """The rows of a server of an exported version; with a fault of `PLANTED`, they must show it."""
    from keras_attn_nmt.export import TranslationClient, export_serving

    sys.path.insert(0, str(TESTS))
    from serving_double import ModelServer

    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder, "versions")
        first = Path(shutil.copytree(version, versions / "1"))
        files = {path.name: path for path in export_serving(versions, name="model")}
        flags = [
            "--enable_batching=true",
            f"--batching_parameters_file={files['batching.config']}",
            f"--monitoring_config_file={files['monitoring.config']}",
            "--max_num_load_retries=5",
            "--load_retry_interval_micros=1000000",
        ]
        with ModelServer(_program(plant), versions, "model", flags) as server:
            with TranslationClient(server.rest_address, "model", timeout=300) as client:
                expected = dict(zip(texts, client(texts), strict=True))
            load = _Load(seed, 60 * minutes, server, texts, expected)
            with Watch(server._process.pid) as watch:
                swaps = load.run(versions, first)
            rows = load.rows()
            alive = load.serves()
    rows.append(Row("server, new versions", swaps[0], swaps[1], 0, swaps[0] - swaps[1]))
    rows.append(watch.row("server, memory"))
    rows.append(Row("server, answers at the end", 1, int(alive), 0, int(not alive)))
    return rows


def _program(plant: str) -> list[str]:
    if plant:
        return [sys.executable, str(Path(__file__).with_name("planted_server.py")), plant]
    program = shutil.which("tensorflow_model_server")
    return [program] if program else [sys.executable, str(TESTS / "serving_double.py")]


class _Load:
    """The clients, and what they have seen."""

    def __init__(
        self, seed: int, seconds: float, server: Any, texts: list[str], expected: dict[str, Any]
    ):
        self._seed, self._server = seed, server
        self._texts, self._expected = texts, expected
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
        # Latency in seconds by whether there were malformed requests, and texts in the request.
        self._seconds: dict[bool, list[float]] = {False: [], True: []}

    def run(self, versions: Path, first: Path) -> tuple[int, int]:
        """Lets clients ask until the end; how many versions came, and how many were taken up."""
        clients = [threading.Thread(target=self._ask, args=[each]) for each in range(CLIENTS)]
        for each in clients:
            each.start()
        came = taken = 0
        newest = int(first.name)
        while time.monotonic() + self._swap_seconds < self._end:
            time.sleep(self._swap_seconds)
            came += 1
            shutil.copytree(versions / str(newest), versions / ".coming")
            (versions / ".coming").rename(versions / str(newest + 1))
            taken += self._taken_up(newest + 1)
            shutil.rmtree(versions / str(newest))
            newest += 1
        for each in clients:
            each.join()
        return came, taken

    def _taken_up(self, version: int) -> bool:
        """Waits until the version is available and the one before has gone."""
        url = f"{self._server.rest_address}/v1/models/model"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            answer = requests.get(url, timeout=60).json()["model_version_status"]
            states = {int(status["version"]): status["state"] for status in answer}
            if states.get(version) == "AVAILABLE" and states.get(version - 1) in (None, "END"):
                return True
            time.sleep(0.2)
        return False

    def _ask(self, number: int) -> None:
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
                    self._note("malformed", name, hostile.malformed(name))
                elif misbehaving and kind < MALFORMED_SHARE + HANG_UP_SHARE:
                    name = generator.choice(HANG_UPS)
                    self._note("hang-up", name, hostile.hang_up(name))
                else:
                    self._good(client, generator, misbehaving)

    def _good(self, client: Any, generator: random.Random, misbehaving: bool) -> None:
        batch = generator.choices(self._texts, k=generator.randrange(1, 17))
        begin = time.perf_counter()
        try:
            found = client(batch)
        except Exception as error:
            self._note("good", "", f"lost: {type(error).__name__}: {error}"[:200])
            return
        seconds = time.perf_counter() - begin
        outcomes = [
            difference(got, self._expected[text]) for text, got in zip(batch, found, strict=False)
        ]
        lost = "lost: fewer answers than texts" if len(found) < len(batch) else ""
        wrong = [each for each in outcomes if each and not each.startswith("tie")]
        self._note("good", "", lost or (wrong[0] if wrong else ""), ties=outcomes.count("tie"))
        with self._lock:
            self._seconds[misbehaving].append(seconds)

    def _note(self, group: str, name: str, problem: str, ties: int = 0) -> None:
        with self._lock:
            counts = self._counts[group]
            counts["tried"] += 1
            counts["ties"] += ties
            if problem:
                counts["lost" if problem.startswith("lost") else "wrong"] += 1
                counts[f"{name}: {problem}" if name else problem] += 1

    def serves(self) -> bool:
        """Whether one more client gets the right answers."""
        from keras_attn_nmt.export import TranslationClient

        with TranslationClient(self._server.rest_address, "model", timeout=60) as client:
            found = client(self._texts[:8])
        return all(
            difference(got, self._expected[text]) in ("", "tie")
            for text, got in zip(self._texts, found, strict=False)
        )

    def rows(self) -> list[Row]:
        """Rows of requests and latency."""
        rows = []
        for group in ("good", "malformed", "hang-up"):
            counts = self._counts[group]
            tried, wrong, lost = (counts.pop(name, 0) for name in ("tried", "wrong", "lost"))
            notes = "; ".join(f"{count} {what}" for what, count in counts.most_common() if count)
            name = f"server, {group} requests of {CLIENTS} clients"
            rows.append(Row(name, tried, tried - wrong - lost, wrong, lost, notes))
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
