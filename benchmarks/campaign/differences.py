"""What differs between two translations of a text, and whether rounding explains it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

SAME = "same"
FIELDS = ("text", "score", "source_tokens", "target_tokens", "token_scores", "attention")
# Of log-probabilities, in nats: what rounding may change, and what a tie is.
MARGIN = 1e-3

Judge = Callable[[Mapping[str, Any], Mapping[str, Any], int], str]


def described(translation: Any) -> dict[str, Any]:
    """The fields of a `Translation` that are compared."""
    return {name: getattr(translation, name) for name in FIELDS}


def difference(
    wanted: Mapping[str, Any], got: Mapping[str, Any], judge: Judge, tolerance: float
) -> str:
    """`same`, or a kind of difference; one that is an error begins with `wrong`.

    Args:
        wanted: The right translation: its `FIELDS`.
        got: The other translation.
        judge: Explains other tokens, given both and the first position at which they differ.
        tolerance: Of scores and attention.
    """
    try:
        return _difference(wanted, got, judge, tolerance)
    except Exception as error:
        return f"wrong: cannot be compared: {type(error).__name__}: {error}"[:200]


def _difference(
    wanted: Mapping[str, Any], got: Mapping[str, Any], judge: Judge, tolerance: float
) -> str:
    source, target = got["source_tokens"], got["target_tokens"]
    if source != wanted["source_tokens"]:
        return "wrong: source tokens"
    shapes = np.shape(got["token_scores"]), np.shape(got["attention"])
    if shapes != ((len(target),), (len(target), len(source))):
        return "wrong: shapes"
    if target != wanted["target_tokens"]:
        place = first_difference(wanted["target_tokens"], target)
        # The end is a token, too: no translation is the beginning of another one.
        return "wrong: cut short or too long" if place is None else judge(wanted, got, place)
    if got["text"] != wanted["text"]:
        half = "\ufffd" in wanted["text"] or "\ufffd" in got["text"]
        return "half a character, replaced otherwise" if half else "wrong: text of equal tokens"
    for name in ("score", "token_scores", "attention"):
        if not np.allclose(got[name], wanted[name], rtol=0, atol=tolerance):
            return f"wrong: {name}"
    return SAME


def first_difference(one: Sequence[str], other: Sequence[str]) -> int | None:
    """Position of the first token that differs; None if one begins with the other."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), None)


class ModelJudge:
    """What a model, on TensorFlow and in float32, thinks of two translations; for any thread.

    Args:
        model: Model directory.
        beam_search: Whether hypotheses of equal score are a tie, too.
    """

    def __init__(self, model: str, beam_search: bool = False):
        from keras_attn_nmt import Translator

        self._translator = Translator.load(model)
        self._beam_search = beam_search
        sides = (self._translator.source_tokenizer, self._translator.target_tokenizer)
        self._ids = [
            {piece: id for id, piece in enumerate(each.pieces(list(range(each.vocabulary_size))))}
            for each in sides
        ]
        self._lock = threading.Lock()
        self._known: dict[tuple[tuple[str, ...], ...], np.ndarray] = {}

    def __call__(self, wanted: Mapping[str, Any], got: Mapping[str, Any], place: int) -> str:
        """Whether both are equally good: at the first token that differs, or as a whole."""
        if any(token not in self._ids[1] for token in got["target_tokens"]):
            return "wrong: unknown tokens"
        one, other = (self._log_probabilities(each) for each in (wanted, got))
        scores = [each.sum() / ((5 + len(each)) / 6) for each in (one, other)]
        tie = ""
        if abs(one[place] - other[place]) < MARGIN:
            tie = "tie, chosen by rounding"
        elif self._beam_search and abs(scores[0] - scores[1]) < MARGIN:
            tie = "tie of hypotheses, chosen by rounding"
        if not tie:
            higher = "higher" if scores[1] > scores[0] else "lower"
            return f"wrong: another translation, score {higher}"
        # As tokens of one text with the scores of another would be.
        if not np.allclose(other, got["token_scores"], rtol=0, atol=MARGIN):
            return "wrong: token_scores of another translation"
        return tie

    def _log_probabilities(self, translation: Mapping[str, Any]) -> np.ndarray:
        """Of each target token, float64."""
        key = tuple(translation["source_tokens"]), tuple(translation["target_tokens"])
        with self._lock:
            if key not in self._known:
                source, target = (
                    [ids[token] for token in tokens]
                    for ids, tokens in zip(self._ids, key, strict=True)
                )
                self._known[key] = self._scored(source, target)
            return self._known[key]

    def _scored(self, source: list[int], target: list[int]) -> np.ndarray:
        shifted = np.array([[1, *target[:-1]]], "int32")
        inputs = {"source": np.array([source], "int32"), "target": shifted}
        logits = np.asarray(self._translator.model(inputs)["logits"], "float64")[0]
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits[np.arange(len(target)), target]
