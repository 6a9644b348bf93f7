"""The same texts in all runtimes: one table of differences, each of them explained.

The model is exported, and the same texts are translated by `Translator` on TensorFlow and on JAX,
by the SavedModel in eager mode and in a Session, by `.tflite` files and by a web page in Chromium,
each in a process of its own. Where a float runtime has another translation than `Translator` on
TensorFlow, the model scores both at the first token that differs: if it holds them for equally
good, rounding has chosen. Quantised weights may change scores, attention and translations, but not
most of the translations.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from campaign import child
from campaign.differences import Judge, ModelJudge, difference
from campaign.rows import Row, Shown, planted
from campaign.runtime_answers import MAX_SOURCE_LENGTH, Answers
from campaign.texts import mixed_texts
from keras_attn_nmt.checks import check_known

REFERENCE = "tensorflow"
# Each with its beam size. Of the web page and the file with text there is greedy search only.
FLOAT = (
    *(("jax", 1), ("saved_model", 1), ("session", 1), ("tflite", 1), ("text_flavour", 1)),
    *(("web", 1), ("jax", 5), ("saved_model", 5), ("tflite", 5)),
)
QUANTIZED = (("tflite_int8", 1), ("web_int8", 1))
# Beam search is slower: a part of the texts.
BEAM_SHARE = 5
TOLERANCE = 1e-4
# What quantised weights may change, and in how many texts the translation must stay the same.
BY_WEIGHTS = ("tie", *(f"wrong: {name}" for name in ("score", "attention", "another translation")))
BY_WEIGHTS += ("wrong: token_scores",)
LEAST_EQUAL = 0.7
TEXTS_PER_MINUTE = 250

PLANTED_IN = ("saved_model", 1)
PLANTED = {
    "swapped rows": "wrong",
    "another token": "wrong",
    "last token dropped": "wrong",
    "attention shifted": "wrong",
    "a lost text": "lost",
    "an error in both": "lost",
}


def runtimes(seed: int, minutes: float, kinds: Sequence[str] = ()) -> list[Row]:
    """A row for each runtime, and one of planted faults.

    The model is trained here, with unigram vocabularies, as the file that takes text needs them.

    Args:
        seed: Of the model and the texts.
        minutes: For all runtimes together, about; 5,000 texts take 20.
        kinds: Runtimes to compare, such as `jax`, beside the one of the planted faults; all if
            there are none.

    Raises:
        ValueError: There is no runtime of that name.
    """
    check_known("runtime", kinds, dict((*FLOAT, *QUANTIZED)))
    chosen = [
        each for each in (*FLOAT, *QUANTIZED) if not kinds or each[0] in kinds or each == PLANTED_IN
    ]
    texts = mixed_texts(seed, min(5000, int(minutes * TEXTS_PER_MINUTE)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = trained(folder / "model", seed)
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        (folder / "beam.json").write_text(json.dumps(texts[::BEAM_SHARE]), encoding="utf-8")
        exported = child.call("runtime_answers", "export_all", model=model, folder=name)
        left_out = exported["left_out"]
        broken = {}
        for kind, beam in [(REFERENCE, 1), (REFERENCE, 5), *chosen]:
            if kind in left_out:
                continue
            try:
                child.call(
                    "runtime_answers",
                    "answer",
                    backend="jax" if kind == "jax" else "tensorflow",
                    **{"kind": kind, "beam": beam, "model": model, "folder": name},
                )
            except RuntimeError as error:
                broken[kind, beam] = str(error)
        rows = {}
        for kind, beam in chosen:
            problem = broken.get((kind, beam)) or broken.get((REFERENCE, beam), "")
            if kind in left_out:
                rows[kind, beam] = Row(_label(kind, beam), 0, 0, 0, 0, left_out[kind])
            elif problem:
                rows[kind, beam] = Row(_label(kind, beam), 1, 0, 0, 1, problem)
            else:
                rows[kind, beam] = _compared(kind, beam, model, name)
        found = {fault: [_compared(*PLANTED_IN, model, name, fault)] for fault in PLANTED}
    shown = {fault: Shown(_label(*PLANTED_IN), column) for fault, column in PLANTED.items()}
    return [*rows.values(), planted("runtimes", found, shown, [rows[PLANTED_IN]])]


def _label(kind: str, beam: int) -> str:
    return f"runtimes, {kind}, {'greedy' if beam == 1 else f'beam of {beam}'}"


def _compared(kind: str, beam: int, model: str, folder: str, plant: str = "") -> Row:
    arguments = {"kind": kind, "beam": beam, "model": model, "folder": folder, "plant": plant}
    try:
        return Row(_label(kind, beam), *child.call("runtimes", "compare", **arguments))
    except RuntimeError as error:
        # Under another name: this is not what a planted fault should do.
        return Row(f"{_label(kind, beam)}, comparison", 1, 0, 0, 1, str(error))


def trained(output: Path, seed: int) -> str:
    """A small model of phrases with unigram vocabularies, trained by the command."""
    settings = ["vocabulary.model_type=unigram", "training.epochs=2", f"training.seed={seed}"]
    command = [
        sys.executable,
        "-m",
        "keras_attn_nmt.cli",
        "train",
        "phrases",
        "--output",
        str(output),
    ]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, check=True, capture_output=True)
    return str(output)


def compare(kind: str, beam: int, model: str, folder: str, plant: str = "") -> list[Any]:
    """Tried, survived, wrong, lost and notes of a runtime, from the written answers."""
    wanted, found = (Answers.read(folder, each, beam) for each in (REFERENCE, kind))
    if plant:
        damage(wanted, found, plant)
    judge = ModelJudge(model, beam_search=beam > 1)
    return judged(kind, wanted, found, judge)


def judged(kind: str, wanted: Answers, found: Answers, judge: Judge) -> list[Any]:
    """Tried, survived, wrong, lost and notes of the answers of a runtime."""
    quantized = kind in dict(QUANTIZED)
    kinds: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    equal = other = 0
    device = kind.startswith(("tflite", "web", "text"))
    for text, want, got in zip(wanted.texts, wanted.answers, found.answers, strict=True):
        what = outcome(judge, want, got, device)
        if quantized and "text" in got and "text" in want:
            same = got["text"] == want["text"]
            equal, other = equal + same, other + (not same)
            if what.startswith(BY_WEIGHTS) and _plausible(got):
                what = f"{'the same' if same else 'another'} translation by quantised weights"
        foreign = text.count("\0") + text.count("▁")
        longest = len(want.get("source_tokens", ())) + foreign
        explained = what == "wrong: source tokens" or (
            what == "lost: too long" and longest > MAX_SOURCE_LENGTH
        )
        if kind == "text_flavour" and foreign and explained:
            what = "NUL or U+2581 read otherwise, as documented"
        kinds[what] += 1
        if what.startswith(("wrong", "lost")):
            examples.setdefault(what, repr(text)[:60])
    wrong = sum(count for what, count in kinds.items() if what.startswith("wrong"))
    lost = sum(count for what, count in kinds.items() if what.startswith("lost"))
    total = len(wanted.texts)
    notes = [
        f"{count} {what}{f', as {examples[what]}' if what in examples else ''}"
        for what, count in kinds.most_common()
    ]
    if quantized and equal + other:
        share = equal / (equal + other)
        notes.append(f"{share:.1%} of the translations are equal, {LEAST_EQUAL:.0%} are required")
        if share < LEAST_EQUAL:
            wrong += kinds["another translation by quantised weights"]
    return [total, total - wrong - lost, wrong, lost, "; ".join(notes)]


def damage(wanted: Answers, found: Answers, plant: str) -> None:
    """Plants a fault in answers."""
    answers = found.answers
    full = [place for place, each in enumerate(answers) if each.get("target_tokens")]
    first = full[0]
    text = answers[first]["text"]
    second = next(place for place in full if answers[place]["text"] != text)
    if plant == "swapped rows":
        answers[first], answers[second] = answers[second], answers[first]
    if plant == "another token":
        tokens = answers[first]["target_tokens"]
        tokens[0] = "▁zzz" if tokens[0] == "▁" else "▁"
        answers[first]["text"] = "zzz"
    if plant == "last token dropped":
        for name in ("target_tokens", "token_scores", "attention"):
            answers[first][name] = answers[first][name][:-1]
    if plant == "attention shifted":
        answers[first]["attention"] = np.roll(answers[first]["attention"], 1, axis=-1)
    if plant == "a lost text":
        answers[first] = {"error": "no answer"}
    if plant == "an error in both":
        answers[first] = wanted.answers[first] = {"error": "InternalError: no answer"}


def outcome(judge: Judge, want: dict[str, Any], got: dict[str, Any], device: bool) -> str:
    """`difference`, or what became of a text without a translation; `lost` ones begin so."""
    if device and len(want.get("source_tokens", ())) > MAX_SOURCE_LENGTH:
        return "too long and refused" if got.get("error") == "too long" else "wrong: not refused"
    errors = [each["error"] for each in (got, want) if "error" in each]
    if errors == ["too long", "too long"]:
        return "too long and refused by both"
    if errors:
        return f"lost: {errors[0]}"
    return difference(want, got, judge, TOLERANCE)


def _plausible(got: dict[str, Any]) -> bool:
    """Whether a quantised file gave numbers that a model may give."""
    sums = np.asarray(got["attention"]).sum(-1)
    return bool(np.isfinite(got["score"]) and np.abs(sums - 1).max(initial=0) < 0.01)
