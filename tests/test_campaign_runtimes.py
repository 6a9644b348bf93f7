"""The reliability campaigns see the faults that are planted in what they check."""

import copy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from campaign import numerics, runtimes, threads
from campaign.resident import flatness
from campaign.runtime_answers import Answers
from campaign.texts import mixed_texts


@pytest.mark.parametrize("plant", ["", "unnormalised attention", "swapped rows"])
def test_numerics(plant):
    model = numerics.small_model({}, 40, "float32", 1.0, 1)
    rng = np.random.default_rng(3)
    source = np.array([[4, 7, 5, 2], [6, 2, 0, 0], [0, 0, 0, 0]], "int32")
    target = np.array([[1, 5], [1, 6], [1, 7]], "int32")
    with numerics.planted(plant):
        runs = numerics.Runs(model, plant, beams=())
        found, largest = runs.check(source, target, rng, "float32", regular=True)
    assert bool(found) == bool(plant), found
    assert plant or largest < numerics.TOLERANCES["float32"]


def answers():
    def answer(token):
        return {
            "text": token,
            "score": -0.5,
            "source_tokens": ["▁ein", "</s>"],
            "target_tokens": ["▁" + token, "</s>"],
            "token_scores": [-0.5, -0.1],
            "attention": np.array([[0.9, 0.1], [0.2, 0.8]]),
        }

    return Answers(["ein", "zwei"], [answer("one"), answer("two")])


@pytest.mark.parametrize("plant", ["", *runtimes.PLANTED])
def test_differences_of_runtimes(plant, tmp_path):
    wanted, found = answers(), answers()
    if plant:
        runtimes.damage(found, plant)
    (tmp_path / "texts.json").write_text('["ein", "zwei"]')
    found.write(tmp_path, "web", 1)
    found = Answers.read(tmp_path, "web", 1)
    judge = SimpleNamespace(explain=lambda want, got: "wrong: another translation")
    kinds = [
        runtimes.difference(judge, want, got, device=True)
        for want, got in zip(wanted.answers, found.answers, strict=True)
    ]
    assert (kinds == ["same", "same"]) == (not plant)
    assert all(each == "same" or each.startswith(("wrong", "lost")) for each in kinds)


def test_differences_of_threads():
    wanted = SimpleNamespace(**answers().answers[0])
    assert threads.difference(copy.deepcopy(wanted), wanted) == ""
    other = copy.deepcopy(wanted)
    other.attention[0] = [0.1, 0.9]
    assert threads.difference(other, wanted) == "other attention"
    other = SimpleNamespace(**answers().answers[1])
    # Only of equal scores, rounding chooses.
    assert threads.difference(other, wanted) == "tie"
    other.token_scores = [-0.6, -0.1]
    assert threads.difference(other, wanted) == "other tokens"


def test_memory_that_grows():
    settled = [100 + (place % 3) for place in range(90)]
    assert flatness("", [20, 60, 80, *settled]).survived == 1
    assert flatness("", [mib + place / 4 for place, mib in enumerate(settled)]).wrong == 1


def test_texts_are_reproducible_and_encodable():
    texts = mixed_texts(1, 200, corpora="absent")
    assert texts == mixed_texts(1, 200, corpora="absent")
    assert len(set(texts)) == len(texts) > 150
    assert all(text.encode() is not None for text in texts)
