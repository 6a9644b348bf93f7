"""A served model under load: is any answer wrong, lost or mixed up, and how long does one take?

    python benchmarks/load.py MODEL TEXTS [--clients 32] [--requests 10000]

The model is exported and served, by `tensorflow_model_server` where it is on the PATH, else by the
tests' stand-in, in a process of its own. Half of the clients ask over REST and half over gRPC,
each one request after another, of one to four texts. In the middle of it a second version comes.
Every answer is compared with that of `Translator`: text, score and attention.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

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
    from keras_attn_nmt.export import TranslationClient, export_saved_model, export_serving

    sys.path.insert(0, str(TESTS))
    from serving_double import ModelServer

    texts = Path(options.texts).read_text(encoding="utf-8").splitlines()
    translated = Translator.load(options.model)(texts, beam_size=options.beam_size)
    wanted = dict(zip(texts, translated, strict=True))
    wrong: collections.Counter[str] = collections.Counter()
    seconds: list[float] = []
    numbers = itertools.count()
    half = threading.Event()

    def client(address: str) -> None:
        connected = TranslationClient(address, "model", timeout=120)
        while (number := next(numbers)) < options.requests:
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
        flags = []
        if program:
            files = export_serving(versions, name="model")
            flags = ["--enable_batching=true", f"--batching_parameters_file={files[1]}"]
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
            for thread in threads:
                thread.join()
            whole = time.perf_counter() - begin
    quantiles = statistics.quantiles(seconds, n=100)
    report = {
        "server": "tensorflow_model_server" if program else "stand-in of the tests",
        "clients": options.clients,
        "requests": options.requests,
        "answered": len(seconds),
        "wrong": dict(wrong),
        "requests_per_second": round(options.requests / whole, 1),
        "p50_ms": round(1000 * quantiles[49]),
        "p99_ms": round(1000 * quantiles[98]),
    }
    print(json.dumps(report, indent=2))
    return bool(wrong)


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
