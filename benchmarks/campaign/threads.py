"""Eight threads that share one translator: are the answers right, and is memory flat?

`Translator`, `TFLiteTranslator` and `TranslationClient` (of the tests' server, over REST and gRPC)
translate batches of 1 to 16 texts in random order. Every answer is compared with that of one
thread.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from campaign import child
from campaign.resident import Watch
from campaign.rows import Row, planted
from campaign.texts import CORPORA, mixed_texts

TESTS = Path(__file__).resolve().parents[2] / "tests" / "export"
SUBJECTS = ("Translator", "TFLiteTranslator", "client over REST", "client over gRPC")
THREADS, TEXTS, MOST = 8, 400, 100_000
MAX_LENGTH = 64
TOLERANCE = 1e-3

PLANTED = ("a shared buffer", "a leaked buffer", "a lost answer")

Translate = Callable[[list[str]], list[Any]]


def threads(seed: int, minutes: float, model: str, corpora: str = str(CORPORA)) -> list[Row]:
    """Two rows for each subject, its answers and its memory, and one of planted faults.

    Args:
        seed: Of texts and batches.
        minutes: For all subjects together; each ends after 100,000 texts.
        model: Model directory.
        corpora: Folder of the real texts.
    """
    share = 60 * minutes / (len(SUBJECTS) + 0.5)
    with tempfile.TemporaryDirectory() as folder:
        child.call("threads", "export", model=model, folder=folder)
        paths = {"model": model, "folder": folder, "corpora": corpora}
        rows = [row for subject in SUBJECTS for row in _rows(subject, seed, share, paths)]
        seconds = share / 2 / len(PLANTED)
        found = {fault: _rows("TFLiteTranslator", seed, seconds, paths, fault) for fault in PLANTED}
    return [*rows, planted("threads", found)]


def _rows(
    subject: str, seed: int, seconds: float, paths: dict[str, str], plant: str = ""
) -> list[Row]:
    arguments = {"subject": subject, "seed": seed, "seconds": seconds, "plant": plant, **paths}
    try:
        return [Row(*each) for each in child.call("threads", "shared", **arguments)]
    except RuntimeError as error:
        return [Row(f"threads, {subject}", 1, 0, 0, 1, str(error))]


def export(model: str, folder: str) -> None:
    """Writes what the subjects load."""
    from keras_attn_nmt.export import export_saved_model, export_tflite

    export_tflite(model, Path(folder, "model.tflite"), max_target_length=MAX_LENGTH)
    options = {"beam_size": 1, "length_penalty": 1.0, "max_length": MAX_LENGTH}
    export_saved_model(model, Path(folder, "versions"), **options)


def shared(
    subject: str,
    seed: int,
    seconds: float,
    model: str,
    folder: str,
    corpora: str,
    plant: str = "",
) -> list[Row]:
    """The rows of a subject, in this process."""
    texts = mixed_texts(seed, TEXTS, corpora)
    counts: collections.Counter[str] = collections.Counter()
    numbers = itertools.count()
    with _translator(subject, model, folder) as translate:
        texts = short_enough(texts, model)
        # One text at a time, on one thread.
        expected = {text: translate([text])[0] for text in texts}
        asked = _planted(translate, plant)
        end = time.monotonic() + seconds

        def work() -> None:
            while time.monotonic() < end:
                generator = random.Random(seed * MOST + next(numbers))
                batch = generator.choices(texts, k=generator.randrange(1, 17))
                if counts["tried"] >= MOST:
                    return
                _count(counts, batch, expected, asked)

        with Watch() as watch:
            workers = [threading.Thread(target=work) for _ in range(THREADS)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    wrong, lost = counts.pop("wrong", 0), counts.pop("lost", 0)
    tried = counts.pop("tried", 0)
    notes = "; ".join(f"{count} {what}" for what, count in counts.most_common())
    name = f"threads, {subject}, {THREADS} threads"
    return [
        Row(name, tried, tried - wrong - lost, wrong, lost, notes),
        watch.row(f"{name}, memory"),
    ]


_LOCK = threading.Lock()


def _count(
    counts: collections.Counter[str],
    batch: list[str],
    expected: dict[str, Any],
    translate: Translate,
) -> None:
    """Translates a batch, and counts what its answers are."""
    found: list[Any] = []
    reason = ""
    try:
        found = translate(batch)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:200]
    outcomes = [difference(got, expected[text]) for text, got in zip(batch, found, strict=False)]
    with _LOCK:
        counts["tried"] += len(batch)
        counts["lost"] += len(batch) - len(outcomes)
        if reason:
            counts[reason] += 1
        for outcome in filter(None, outcomes):
            counts["wrong"] += not outcome.startswith("tie")
            counts[outcome] += 1


def difference(got: Any, wanted: Any) -> str:
    """What differs from the answer of one thread; empty if nothing does.

    Of two translations that are equally good, rounding chooses, which depends on the batch.
    """
    if got.source_tokens != wanted.source_tokens:
        return "other source"
    if got.target_tokens != wanted.target_tokens:
        place = next(
            (
                i
                for i, (a, b) in enumerate(
                    zip(got.target_tokens, wanted.target_tokens, strict=False)
                )
                if a != b
            ),
            0,
        )
        margin = abs(float(got.token_scores[place]) - float(wanted.token_scores[place]))
        return "tie" if margin < TOLERANCE else "other tokens"
    if got.text != wanted.text:
        return "other text"
    for name in ("score", "token_scores", "attention"):
        if not np.allclose(getattr(got, name), getattr(wanted, name), rtol=0, atol=TOLERANCE):
            return f"other {name}"
    return ""


def short_enough(texts: list[str], model: str) -> list[str]:
    """Texts of fewer tokens than the limit of the exports."""
    from keras_attn_nmt import Tokenizer

    tokenizer = Tokenizer.load(Path(model, "source.spm"))
    lengths = map(len, tokenizer.encode(texts))
    return [text for text, length in zip(texts, lengths, strict=True) if length < MAX_LENGTH]


@contextlib.contextmanager
def _translator(subject: str, model: str, folder: str) -> Iterator[Translate]:
    if subject == "Translator":
        from keras_attn_nmt import Translator

        translator = Translator.load(model)
        options = {"beam_size": 1, "length_penalty": 1.0, "max_length": MAX_LENGTH}
        yield lambda texts: translator(texts, **options)
        return
    if subject == "TFLiteTranslator":
        from keras_attn_nmt.export import TFLiteTranslator

        device = TFLiteTranslator(Path(folder, "model.tflite"), jobs=2)
        yield lambda texts: device(texts, beam_size=1)
        return
    from keras_attn_nmt.export import TranslationClient

    sys.path.insert(0, str(TESTS))
    from serving_double import ModelServer

    program = [sys.executable, str(TESTS / "serving_double.py")]
    with ModelServer(program, Path(folder, "versions"), "model") as server:
        address = server.rest_address if subject.endswith("REST") else server.grpc_address
        with TranslationClient(address, "model", timeout=300) as client:
            yield client


def _planted(translate: Translate, plant: str) -> Translate:
    kept: list[Any] = []
    asked: dict[str, list[str]] = {}

    def faulty(texts: list[str]) -> list[Any]:
        if plant == "a shared buffer":
            asked["texts"] = texts
            time.sleep(0.001)
            return translate(asked["texts"])
        found = translate(texts)
        if plant == "a leaked buffer":
            kept.append(np.ones(2**18, "float64"))
        return found[:-1] if plant == "a lost answer" and len(texts) == 16 else found

    return faulty if plant else translate
