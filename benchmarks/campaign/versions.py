"""Versions of a served model: which of them may answer a request, and whether one of them did."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from campaign.differences import ModelJudge, described, difference

TOLERANCE = 1e-3
# Relative standard deviation of the weights of the second model.
NOISE = 0.02


def second_model(model: str, output: Path, seed: int) -> str:
    """Saves a model with slightly different weights, so that all of its scores are others."""
    from keras_attn_nmt import model_directory

    rng = np.random.default_rng(seed)
    files = model_directory.load_model(model)
    weights = files.model.get_weights()
    files.model.set_weights([each * rng.normal(1, NOISE, each.shape) for each in weights])
    model_directory.save_model(output, files)
    return str(output)


class Model:
    """A model that versions have: its exported version, its right answers and its judge.

    Args:
        model: Model directory.
        version: Directory of the exported version.
        answers: Of each text, by a server with a single client.
    """

    def __init__(self, model: str, version: Path, answers: dict[str, Any]):
        self.version = version
        self._expected = {text: described(each) for text, each in answers.items()}
        self._judge = ModelJudge(model)

    def outcomes(self, texts: Sequence[str], found: Sequence[Any]) -> list[str]:
        """Differences of the answers to a request."""
        return [self._outcome(*pair) for pair in zip(texts, found, strict=True)]

    def told_apart(self, other: Model) -> float:
        """Share of the texts whose answers by another model are wrong ones of this model."""
        texts = list(self._expected)
        wrong = [
            difference(self._expected[text], other._expected[text], self._judge, TOLERANCE)
            for text in texts
        ]
        return sum(each.startswith("wrong") for each in wrong) / len(texts)

    def _outcome(self, text: str, got: Any) -> str:
        try:
            got = described(got)
        except AttributeError:
            return f"wrong: no translation, {type(got).__name__}"
        return difference(self._expected[text], got, self._judge, TOLERANCE)


class Timeline:
    """When which of the versions 1, 2, ... may answer."""

    def __init__(self) -> None:
        self._published = [-np.inf]
        self._gone: dict[int, float] = {}

    def published(self) -> None:
        """The next version is about to be published."""
        self._published.append(time.monotonic())

    def loaded(self, version: int) -> None:
        """All before this version are gone."""
        self._gone.update({each: time.monotonic() for each in range(1, version)} | self._gone)

    def possible(self, begin: float, end: float) -> list[int]:
        """Versions that may answer a request of this time, the newest first."""
        return [
            version
            for version, published in reversed(list(enumerate(self._published, 1)))
            if published < end and begin < self._gone.get(version, np.inf)
        ]


def verdict(
    texts: Sequence[str],
    found: Sequence[Any],
    models: Sequence[Any],
    possible: Sequence[int],
) -> str:
    """Empty if one of the possible models gave all answers to a request, else what is wrong.

    Args:
        texts: The request.
        found: Its answers.
        models: With `outcomes`, as of `Model`.
        possible: Places of those models that may answer.
    """
    if len(found) != len(texts):
        return "lost: another number of answers"
    for place in possible:
        if not any(each.startswith("wrong") for each in models[place].outcomes(texts, found)):
            return ""
    outcomes = [model.outcomes(texts, found) for model in models]
    right = [[not each.startswith("wrong") for each in of_model] for of_model in outcomes]
    if any(map(all, right)):
        return "wrong: the answer of another version"
    if all(map(any, zip(*right, strict=True))):
        return "wrong: a mixture of versions"
    return next(each for each in outcomes[possible[0]] if each.startswith("wrong"))
