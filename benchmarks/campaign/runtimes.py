"""The same texts in all runtimes: one table of differences, each of them explained.

The model is exported, and the same texts are translated by `Translator` on TensorFlow and on JAX,
by the SavedModel in eager mode and in a Session, by `.tflite` files and by a web page in Chromium,
each in a process of its own. Where a float runtime has another translation than `Translator` on
TensorFlow, the model scores both at the first token that differs: if it holds them for equally
good, rounding has chosen.
"""

from __future__ import annotations

import collections
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from campaign import child
from campaign.rows import Row, planted
from campaign.runtime_answers import MAX_SOURCE_LENGTH, Answers
from campaign.texts import CORPORA, mixed_texts

REFERENCE = "tensorflow"
# Each with its beam size. Of the web page and the file with text there is greedy search only.
FLOAT = (
    *(("jax", 1), ("saved_model", 1), ("session", 1), ("tflite", 1), ("text_flavour", 1)),
    *(("web", 1), ("jax", 5), ("saved_model", 5), ("tflite", 5)),
)
QUANTIZED = (("tflite_int8", 1), ("web_int8", 1))
# Beam search is slower: a part of the texts.
BEAM_SHARE = 5
TOLERANCE, MARGIN = 1e-4, 1e-3
TEXTS_PER_MINUTE = 250

PLANTED = ("swapped rows", "another token", "attention shifted", "a lost text")


def runtimes(
    seed: int,
    minutes: float,
    model: str = "",
    corpora: str = str(CORPORA),
    count: int = 0,
) -> list[Row]:
    """A row for each runtime, and one of planted faults.

    Args:
        seed: Of the texts.
        minutes: For all runtimes together, about; 5,000 texts take 20.
        model: Model directory; by default, one with unigram vocabularies is trained, as the file
            that takes text needs them.
        corpora: Folder of the real texts.
        count: Number of texts instead of `minutes`.
    """
    texts = mixed_texts(seed, count or min(5000, int(minutes * TEXTS_PER_MINUTE)), corpora)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = model or trained(folder / "model", seed)
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        (folder / "beam.json").write_text(json.dumps(texts[::BEAM_SHARE]), encoding="utf-8")
        exported = child.call("runtime_answers", "export_all", model=model, folder=name)
        broken = {}
        for kind, beam in [(REFERENCE, 1), (REFERENCE, 5), *FLOAT, *QUANTIZED]:
            if kind in exported["left_out"]:
                broken[kind, beam] = exported["left_out"][kind]
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
        rows = []
        for kind, beam in (*FLOAT, *QUANTIZED):
            label = f"runtimes, {kind}, {'greedy' if beam == 1 else f'beam of {beam}'}"
            if (kind, beam) in broken:
                lost = 0 if kind in exported["left_out"] else 1
                rows.append(Row(label, lost, 0, 0, lost, broken[kind, beam]))
                continue
            arguments = {"kind": kind, "beam": beam, "model": model, "folder": name}
            rows.append(Row(label, *child.call("runtimes", "compare", **arguments)))
        if not {("saved_model", 1), (REFERENCE, 1)} & set(broken):
            arguments = {"kind": "saved_model", "beam": 1, "model": model, "folder": name}
            found = {
                fault: [Row(fault, *child.call("runtimes", "compare", **arguments, plant=fault))]
                for fault in PLANTED
            }
            rows.append(planted("runtimes", found))
    return rows


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
        damage(found, plant)
    quantized = (kind, beam) in QUANTIZED
    judge = _Judge(model)
    kinds: collections.Counter[str] = collections.Counter()
    examples: dict[str, str] = {}
    device = kind.startswith(("tflite", "web", "text"))
    for text, want, got in zip(wanted.texts, wanted.answers, found.answers, strict=True):
        what = difference(judge, want, got, device)
        if quantized and what.startswith(("wrong: ", "tie")) and _plausible(got):
            same = got["text"] == want["text"]
            what = f"{'the same' if same else 'another'} translation by quantised weights"
        if kind == "text_flavour" and set("\0▁") & set(text) and what.startswith("wrong"):
            what = "NUL or U+2581 read otherwise, as documented"
        kinds[what] += 1
        if what.startswith(("wrong", "lost")):
            examples.setdefault(what, repr(text)[:60])
    wrong = sum(count for what, count in kinds.items() if what.startswith("wrong"))
    lost = sum(count for what, count in kinds.items() if what.startswith("lost"))
    total = len(wanted.texts)
    notes = "; ".join(
        f"{count} {what}{f', as {examples[what]}' if what in examples else ''}"
        for what, count in kinds.most_common()
    )
    return [total, total - wrong - lost, wrong, lost, notes]


def damage(found: Answers, plant: str) -> None:
    """Plants a fault in answers."""
    full = [place for place, each in enumerate(found.answers) if each.get("target_tokens")]
    first, second = (
        full[0],
        next(
            place
            for place in full
            if found.answers[place]["text"] != found.answers[full[0]]["text"]
        ),
    )
    answers = found.answers
    if plant == "swapped rows":
        answers[first], answers[second] = answers[second], answers[first]
    if plant == "another token":
        tokens = answers[first]["target_tokens"]
        tokens[0] = "▁zzz" if tokens[0] == "▁" else "▁"
        answers[first]["text"] = "zzz"
    if plant == "attention shifted":
        answers[first]["attention"] = np.roll(answers[first]["attention"], 1, axis=-1)
    if plant == "a lost text":
        answers[first] = {"error": "no answer"}


def difference(judge: Any, want: dict, got: dict, device: bool) -> str:
    """`same`, or another class of difference; `wrong` and `lost` ones begin with that word."""
    if device and len(want.get("source_tokens", ())) > MAX_SOURCE_LENGTH:
        return "too long and refused" if got.get("error") == "too long" else "wrong: not refused"
    if "error" in got or "error" in want:
        same = got.get("error") == want.get("error")
        return "refused by both" if same else f"lost: {got.get('error') or want['error']}"
    if got["source_tokens"] != want["source_tokens"]:
        return "wrong: source tokens"
    if got["target_tokens"] != want["target_tokens"]:
        return judge.explain(want, got)
    if got["text"] != want["text"]:
        half = "\ufffd" in want["text"] or "\ufffd" in got["text"]
        return "half a character, replaced otherwise" if half else "wrong: text of equal tokens"
    for name in ("score", "token_scores", "attention"):
        if not np.allclose(got[name], want[name], rtol=0, atol=TOLERANCE):
            return f"wrong: {name}"
    return "same"


def _plausible(got: dict[str, Any]) -> bool:
    """Whether a quantised file gave numbers that a model may give."""
    sums = np.asarray(got["attention"]).sum(-1)
    return bool(np.isfinite(got["score"]) and np.abs(sums - 1).max(initial=0) < 0.01)


class _Judge:
    """What the model, on TensorFlow and in float32, thinks of two translations."""

    def __init__(self, model: str):
        from keras_attn_nmt import Translator

        self._translator = Translator.load(model)
        sides = (self._translator.source_tokenizer, self._translator.target_tokenizer)
        self._ids = [
            dict(zip(each.pieces(list(range(each.vocabulary_size))), range(10**9), strict=False))
            for each in sides
        ]

    def explain(self, want: dict, got: dict) -> str:
        """Whether both are equally good: at the first other token, or as a whole."""
        if any(token not in self._ids[1] for token in got["target_tokens"]):
            return "wrong: unknown tokens"
        source = [self._ids[0][token] for token in want["source_tokens"]]
        one, other = (
            self._log_probabilities(
                source, [self._ids[1][token] for token in each["target_tokens"]]
            )
            for each in (want, got)
        )
        first = next(
            (
                place
                for place, (a, b) in enumerate(
                    zip(want["target_tokens"], got["target_tokens"], strict=False)
                )
                if a != b
            ),
            min(len(one), len(other)) - 1,
        )
        if abs(one[first] - other[first]) < MARGIN:
            return "tie, chosen by rounding"
        scores = [sum(each) / ((5 + len(each)) / 6) for each in (one, other)]
        if abs(scores[0] - scores[1]) < MARGIN:
            return "tie of hypotheses, chosen by rounding"
        return f"wrong: another translation, score {'higher' if scores[1] > scores[0] else 'lower'}"

    def _log_probabilities(self, source: list[int], target: list[int]) -> list[float]:
        shifted = np.array([[1, *target[:-1]]], "int32")
        inputs = {"source": np.array([source], "int32"), "target": shifted}
        logits = np.asarray(self._translator.model(inputs)["logits"], "float64")[0]
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return [float(row[token]) for row, token in zip(logits, target, strict=True)]
