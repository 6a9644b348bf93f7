"""A served model under load: is any answer wrong, lost or mixed up, and how long does one take?

    python benchmarks/load.py MODEL TEXTS [--clients 32] [--requests 10000]

The model is exported and served with the operator's files, by `tensorflow_model_server` where it is
on the PATH, else by the tests' stand-in, in a process of its own. Half of the clients ask over REST
and half over gRPC, each one request after another, of one to four texts. In the middle of it a
second version comes; clients ask on until it is AVAILABLE and the first one unloaded. Every answer
is compared with that of `Translator`: text, score and attention. How many batches the server ran
for the requests is read from its metrics.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import re
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import requests
from operator_flags import operator_flags

TESTS = Path(__file__).resolve().parents[1] / "tests" / "export"
TOLERANCE = 1e-3


def main() -> int:
    """Prints the figures as JSON; 1 where an answer is not right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("texts", help="one a line")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--beam-size", type=int, default=5)
    options = parser.parse_args()

    from keras_attn_nmt import Translator
    from keras_attn_nmt.export import TranslationClient, export_saved_model

    sys.path.insert(0, str(TESTS))
    from serving_double import ModelServer

    texts = Path(options.texts).read_text(encoding="utf-8").splitlines()
    translated = Translator.load(options.model)(texts, beam_size=options.beam_size)
    wanted = dict(zip(texts, translated, strict=True))
    wrong: collections.Counter[str] = collections.Counter()
    seconds: list[float] = []
    numbers = itertools.count()
    half, taken_up = threading.Event(), threading.Event()

    def client(address: str) -> None:
        connected = TranslationClient(address, "model", timeout=120)
        while (number := next(numbers)) < options.requests or not taken_up.is_set():
            if number == options.requests // 2:
                half.set()
            batch = [texts[(7 * number + place) % len(texts)] for place in range(1 + number % 4)]
            begin = time.perf_counter()
            try:
                found = connected(batch)
            except Exception as error:
                wrong[f"{type(error).__name__}: {error}"] += 1
                continue
            seconds.append(time.perf_counter() - begin)
            if len(found) != len(batch):
                wrong["lost"] += 1
            for text, got in zip(batch, found, strict=False):
                if difference := _difference(got, wanted[text]):
                    wrong[difference] += 1
        connected.close()

    with tempfile.TemporaryDirectory() as folder:
        versions = Path(folder, "versions")
        first = export_saved_model(options.model, versions, beam_size=options.beam_size)
        program = shutil.which("tensorflow_model_server")
        command = [program] if program else [sys.executable, str(TESTS / "serving_double.py")]
        flags = operator_flags(versions)
        with ModelServer(command, versions, "model", flags) as server:
            addresses = [server.rest_address, server.grpc_address]
            threads = [
                threading.Thread(target=client, args=[addresses[number % 2]])
                for number in range(options.clients)
            ]
            begin = time.perf_counter()
            for thread in threads:
                thread.start()
            while not half.wait(1) and any(thread.is_alive() for thread in threads):
                pass
            shutil.copytree(first, versions / ".coming")
            (versions / ".coming").rename(versions / "2")
            seconds_to_take_up = _take_up(f"{server.rest_address}/v1/models/model", threads)
            answered_until_then = len(seconds)
            taken_up.set()
            for thread in threads:
                thread.join()
            whole = time.perf_counter() - begin
            batches = _batches(server.rest_address)
    quantiles = statistics.quantiles(seconds, n=100)
    report = {
        "server": "tensorflow_model_server" if program else "stand-in of the tests",
        "clients": options.clients,
        # Each client drew a number more than it used.
        "requests": next(numbers) - options.clients,
        "answered": len(seconds),
        "wrong": dict(wrong),
        "seconds_to_new_version": seconds_to_take_up,
        "answered_until_then": answered_until_then,
        "batches": batches,
        "requests_per_second": round(len(seconds) / whole, 1),
        "p50_ms": round(1000 * quantiles[49]),
        "p99_ms": round(1000 * quantiles[98]),
    }
    print(json.dumps(report, indent=2))
    return bool(wrong)


def _take_up(url: str, threads: list[threading.Thread]) -> float | None:
    """Seconds until the server answers with version 2 alone; None if the clients ended before."""
    begin = time.perf_counter()
    while any(thread.is_alive() for thread in threads):
        answer = requests.get(url, timeout=60).json()["model_version_status"]
        states = {status["version"]: status["state"] for status in answer}
        if states.get("2") == "AVAILABLE" and states["1"] == "END":
            return round(time.perf_counter() - begin, 1)
        time.sleep(0.1)
    return None


def _batches(address: str) -> int:
    """How many batches the server ran, warm-up included."""
    page = requests.get(f"{address}/monitoring/prometheus/metrics", timeout=60).text
    (count,) = re.findall(
        r"^:tensorflow:serving:batching_session:wrapped_run_count.* (\d+)$", page, re.M
    )
    return int(count)


def _difference(got, wanted) -> str:
    if got.text != wanted.text:
        return "text"
    if abs(got.score - wanted.score) > TOLERANCE:
        return "score"
    if got.attention.shape != wanted.attention.shape:
        return "shape of attention"
    if np.abs(got.attention - wanted.attention).max(initial=0) > TOLERANCE:
        return "attention"
    return ""


if __name__ == "__main__":
    sys.exit(main())
