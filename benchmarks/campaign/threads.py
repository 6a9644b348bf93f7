"""Eight threads that share one translator: are the answers right, and is memory flat?

`Translator`, `TFLiteTranslator` and `TranslationClient` (of the tests' server, over REST and gRPC)
translate batches of 1 to 16 texts in random order. Every answer is compared with that of one
thread. Where tokens differ, the model scores both: of two that are equally good, rounding chooses,
which depends on the batch.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
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
from campaign.differences import SAME, ModelJudge, described, difference
from campaign.resident import Watch
from campaign.rows import Row, Shown, planted
from campaign.texts import mixed_texts

TESTS = Path(__file__).resolve().parents[2] / "tests" / "export"
SUBJECTS = ("Translator", "TFLiteTranslator", "client over REST", "client over gRPC")
THREADS, TEXTS, MOST = 8, 400, 100_000
MAX_LENGTH = 64
TOLERANCE = 1e-3

PLANTED_IN = "TFLiteTranslator"
_NAME = f"threads, {PLANTED_IN}, {THREADS} threads"
# Each with the row that must show it.
PLANTED = {
    "a shared buffer": Shown(_NAME),
    "last tokens dropped": Shown(_NAME),
    "a leaked buffer": Shown(f"{_NAME}, memory"),
    "a lost answer": Shown(_NAME, "lost"),
    "a crash of the comparison": Shown(_NAME),
}
PARTED = "other tokens"

Translate = Callable[[list[str]], list[Any]]


def threads(seed: int, minutes: float, model: str) -> Iterator[Row]:
    """Two rows for each subject, its answers and its memory, and one of planted faults.

    Args:
        seed: Of texts and batches.
        minutes: For all subjects together; each ends after 100,000 texts. Planted faults and the
            run without one take as long as two subjects, and at least 10 seconds each.
        model: Model directory.
    """
    share = 60 * minutes / (len(SUBJECTS) + 2)
    with tempfile.TemporaryDirectory() as folder:
        child.call("threads", "export", model=model, folder=folder)
        paths = {"model": model, "folder": folder}
        for subject in SUBJECTS:
            yield from _rows(subject, seed, share, paths)
        seconds = max(10.0, 2 * share / (len(PLANTED) + 1))
        clean = _rows(PLANTED_IN, seed, seconds, paths)
        found = {fault: _rows(PLANTED_IN, seed, seconds, paths, fault) for fault in PLANTED}
    yield planted("threads", found, PLANTED, clean)


def _rows(
    subject: str, seed: int, seconds: float, paths: dict[str, str], plant: str = ""
) -> list[Row]:
    arguments = {"subject": subject, "seed": seed, "seconds": seconds, "plant": plant, **paths}
    try:
        found = child.call("threads", "shared", timeout=seconds + 1800, **arguments)
    except RuntimeError as error:
        return [Row(f"threads, {subject}", 1, 0, 0, 1, str(error))]
    return [Row(*each) for each in found]


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
    plant: str = "",
) -> list[Row]:
    """The rows of a subject, in this process."""
    texts = mixed_texts(seed, TEXTS)
    counts: collections.Counter[str] = collections.Counter()
    numbers = itertools.count()
    parted: list[tuple[dict[str, Any], dict[str, Any], int]] = []

    def later(*pair: Any) -> str:
        parted.append(pair)
        return PARTED

    with _translator(subject, model, folder) as translate:
        texts = short_enough(texts, model)
        # One text at a time, on one thread.
        expected = {text: described(translate([text])[0]) for text in texts}
        asked = _planted(translate, plant)
        end = time.monotonic() + seconds

        def compare(text: str, got: Any) -> str:
            return difference(expected[text], described(got), later, TOLERANCE)

        def work() -> None:
            try:
                while time.monotonic() < end and counts["tried"] < MOST:
                    generator = random.Random(seed * MOST + next(numbers))
                    batch = generator.choices(texts, k=generator.randrange(1, 17))
                    count(counts, batch, asked, compare)
            except BaseException as error:
                with _LOCK:
                    counts["tried"] += 1
                    counts["lost"] += 1
                    counts[f"a thread ended: {type(error).__name__}: {error}"[:200]] += 1
                raise

        with Watch() as watch:
            workers = [threading.Thread(target=work) for _ in range(THREADS)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join()
    # After the run, as the judge needs memory.
    counts.pop(PARTED, None)
    judge = ModelJudge(model) if parted else None
    for pair in parted:
        outcome = difference(pair[0], pair[1], judge, TOLERANCE) if judge else ""
        counts["wrong"] += outcome.startswith("wrong")
        counts[outcome] += 1
    wrong, lost, tried = (counts.pop(name, 0) for name in ("wrong", "lost", "tried"))
    notes = [f"{number} {what}" for what, number in counts.most_common() if number]
    notes += ["server: the tests' stand-in"] if subject.startswith("client") else []
    name = f"threads, {subject}, {THREADS} threads"
    return [
        Row(name, tried, tried - wrong - lost, wrong, lost, "; ".join(notes)),
        watch.row(f"{name}, memory"),
    ]


_LOCK = threading.Lock()


def count(
    counts: collections.Counter[str],
    batch: list[str],
    translate: Translate,
    compare: Callable[[str, Any], str],
) -> None:
    """Translates a batch, and counts what its answers are; without an exception."""
    found: list[Any] = []
    reason = ""
    try:
        found = list(translate(batch))
        if len(found) != len(batch):
            reason = "another number of answers"
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"[:200]
    outcomes = []
    # Of another number, nobody knows which is of which text.
    for text, got in [] if reason else zip(batch, found, strict=True):
        try:
            outcomes.append(compare(text, got))
        except Exception as error:
            outcomes.append(f"wrong: cannot be compared: {type(error).__name__}: {error}"[:200])
    with _LOCK:
        counts["tried"] += len(batch)
        if reason:
            counts["lost"] += len(batch)
            counts[reason] += 1
        for outcome in outcomes:
            counts["wrong"] += outcome.startswith("wrong")
            if outcome != SAME:
                counts[outcome] += 1


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
        if plant == "last tokens dropped" and len(texts) == 16:
            found = [_cut(each) for each in found]
        if plant == "a crash of the comparison" and len(texts) == 16:
            return [None, *found[1:]]
        return found[:-1] if plant == "a lost answer" and len(texts) == 16 else found

    return faulty if plant else translate


def _cut(translation: Any) -> Any:
    """The translation without its last token."""
    arrays = {
        name: getattr(translation, name)[:-1]
        for name in ("target_tokens", "token_scores", "attention")
    }
    return dataclasses.replace(translation, **arrays)
