"""The reliability campaigns see the faults that are planted in what they check."""

import collections
import copy
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from campaign import numerics, runtimes, threads, write_faults
from campaign.differences import ModelJudge, difference, first_difference
from campaign.hostile import BUSY, SLOW, Hostile
from campaign.power_loss import Call
from campaign.resident import flatness
from campaign.rows import Row, Shown, planted
from campaign.runtime_answers import Answers
from campaign.texts import mixed_texts
from campaign.versions import Timeline, verdict
from tiny_translator import tiny_files


@pytest.mark.slow
def test_numerics():
    found = numerics.problems_of_faults("float32", 3)
    assert list(found) == [*numerics.FAULTS]
    assert all(found.values()), found


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


def other_translation(*_):
    return "wrong: another translation"


@pytest.mark.parametrize("plant", ["", *runtimes.PLANTED])
def test_differences_of_runtimes(plant, tmp_path):
    wanted, found = answers(), answers()
    if plant:
        runtimes.damage(wanted, found, plant)
    (tmp_path / "texts.json").write_text('["ein", "zwei"]')
    found.write(tmp_path, "web", 1)
    found = Answers.read(tmp_path, "web", 1)
    tried, survived, wrong, lost, notes = runtimes.judged("web", wanted, found, other_translation)
    assert (tried, survived) == (2, 2 - wrong - lost)
    assert (wrong > 0, lost > 0) == (
        runtimes.PLANTED.get(plant) == "wrong",
        runtimes.PLANTED.get(plant) == "lost",
    ), notes


def test_quantised_weights_may_change_few_translations_and_no_source():
    wanted, found = answers(), answers()
    wanted.texts, found.texts = ([*"abcdefgh"] for _ in range(2))
    wanted.answers = [copy.deepcopy(wanted.answers[0]) for _ in range(8)]
    found.answers = [copy.deepcopy(wanted.answers[0]) for _ in range(8)]

    def change(place):
        found.answers[place] |= {"text": "zwei", "target_tokens": ["▁zwei", "</s>"]}

    change(0)
    change(1)
    assert runtimes.judged("web_int8", wanted, found, other_translation)[1:4] == [8, 0, 0]
    assert runtimes.judged("web", wanted, found, other_translation)[1:4] == [6, 2, 0]
    change(2)
    assert runtimes.judged("web_int8", wanted, found, other_translation)[1:4] == [5, 3, 0]
    found.answers = [copy.deepcopy(each) for each in wanted.answers]
    found.answers[0]["source_tokens"] = ["▁zwei", "</s>"]
    assert runtimes.judged("web_int8", wanted, found, other_translation)[1:4] == [7, 1, 0]


def test_differences():
    one, two = answers().answers
    assert difference(one, copy.deepcopy(one), other_translation, 1e-3) == "same"
    assert difference(one, one | {"score": -0.6}, other_translation, 1e-3) == "wrong: score"
    swapped = one | {"attention": one["attention"][::-1]}
    assert difference(one, swapped, other_translation, 1e-3) == "wrong: attention"
    # One that NumPy would broadcast.
    assert difference(one, one | {"attention": np.ones((1, 1))}, None, 1e-3) == "wrong: shapes"
    assert difference(one, two, lambda *_: "tie", 1e-3) == "tie"
    assert difference(one, {"text": "one"}, None, 1e-3).startswith("wrong: cannot be compared")
    cut = {name: one[name][:-1] for name in ("target_tokens", "token_scores", "attention")}
    assert difference(one, one | cut, lambda *_: "tie", 1e-3) == "wrong: cut short or too long"
    assert difference(one | cut, one, lambda *_: "tie", 1e-3) == "wrong: cut short or too long"
    assert first_difference("abc", "abd") == 2
    assert first_difference("abc", "ab") is None


def test_only_equally_probable_tokens_are_a_tie(tmp_path):
    from keras_attn_nmt import Translator, model_directory

    model_directory.save_model(tmp_path, tiny_files())
    (best,) = Translator.load(tmp_path)(["ein Haus"], beam_size=1, max_length=5)
    wanted = {name: getattr(best, name) for name in ("source_tokens", "target_tokens")}
    wanted["token_scores"] = best.token_scores
    judge = ModelJudge(str(tmp_path))
    assert judge(wanted, wanted, 0) == "tie, chosen by rounding"
    others = wanted | {"token_scores": best.token_scores - 0.1}
    assert judge(wanted, others, 0) == "wrong: token_scores of another translation"
    tokens = list(best.target_tokens)
    tokens[0] = next(each for each in judge._ids[1] if each != tokens[0])
    # Although its own scores say that nothing is different.
    assert judge(wanted, wanted | {"target_tokens": tokens}, 0).startswith("wrong: another")


@pytest.mark.parametrize(
    ("translate", "wrong", "lost"),
    [
        (lambda texts: texts, 0, 0),
        (lambda texts: texts[:-1], 0, 3),
        (lambda texts: [*texts, "more"], 0, 3),
        (lambda texts: None, 0, 3),
        (lambda texts: [None, *texts[1:]], 1, 0),
        (lambda texts: ["other", *texts[1:]], 1, 0),
    ],
)
def test_threads_count_every_text(translate, wrong, lost):
    def compare(text, got):
        return "same" if got.encode() == text.encode() else "wrong: text"

    counts = collections.Counter()
    threads.count(counts, ["a", "b", "c"], translate, compare)
    assert (counts["tried"], counts["wrong"], counts["lost"]) == (3, wrong, lost)


class Versioned:
    """A model whose answer to a text is the text and its name."""

    def __init__(self, name):
        self.name = name

    def outcomes(self, texts, found):
        pairs = zip(texts, found, strict=True)
        return ["same" if got == text + self.name else "wrong: score" for text, got in pairs]


@pytest.mark.parametrize(
    ("found", "possible", "expected"),
    [
        (["a0", "b0"], [0], ""),
        (["a1", "b1"], [1, 0], ""),
        (["a0", "b0"], [1], "wrong: the answer of another version"),
        (["a0", "b1"], [1, 0], "wrong: a mixture of versions"),
        (["a0", "c0"], [0], "wrong: score"),
        (["a0"], [0], "lost: another number of answers"),
    ],
)
def test_a_request_is_answered_by_one_version(found, possible, expected):
    models = [Versioned("0"), Versioned("1")]
    assert verdict(["a", "b"], found, models, possible) == expected


def test_which_versions_may_answer():
    timeline = Timeline()
    first = time.monotonic()
    assert timeline.possible(first, first) == [1]
    timeline.published()
    second = time.monotonic() + 1e-6
    assert timeline.possible(first, second) == [2, 1]
    timeline.loaded(2)
    assert timeline.possible(first, first) == [1]
    assert timeline.possible(second + 60, second + 61) == [2]


def test_slow_refusals_are_wrong_unless_a_retry_is_not(monkeypatch):
    now, found = [0.0], []
    monkeypatch.setattr("campaign.hostile.time.monotonic", lambda: now[0])
    monkeypatch.setattr("campaign.hostile.time.sleep", lambda _: None)

    def refusal(_):
        problem, seconds = found.pop(0)
        now[0] += seconds
        return problem

    hostile = Hostile.__new__(Hostile)
    hostile._refusal = refusal
    slow = ("", SLOW + 1)
    found[:] = [slow, ("", 0.1)]
    assert hostile.malformed("nothing") == ("", 1)
    found[:] = [slow, slow, slow]
    assert hostile.malformed("nothing") == ("refused after more than 2 s", 2)
    found[:] = [(BUSY, 0.1)] * 3
    assert hostile.malformed("nothing") == (BUSY, 2)
    found[:] = [("status 500, not 400", 0.1)]
    assert hostile.malformed("nothing")[0] == "status 500, not 400"


def test_planted_faults_must_be_shown_by_their_row():
    shown = {"a leak": Shown("memory"), "a lost answer": Shown("answers", "lost")}
    right = [Row("answers", 9, 9, 0, 0), Row("memory", 1, 1, 0, 0)]
    found = {
        "a leak": [right[0], Row("memory", 1, 0, 1, 0)],
        "a lost answer": [Row("answers", 9, 8, 0, 1), right[1]],
    }
    assert not planted("", found, shown, right).failed
    # Another row, another column, a crash of the campaign, no trial.
    for rows in (
        [Row("answers", 9, 8, 1, 0), right[1]],
        [right[0], Row("memory", 1, 0, 0, 1)],
        [Row("crash", 1, 0, 1, 0)],
        [right[0], Row("memory", 0, 0, 1, 0)],
    ):
        assert planted("", found | {"a leak": rows}, shown, right).wrong == 1
    assert planted("", found, shown, found["a leak"]).wrong == 1
    assert planted("", found, shown, []).wrong == 1


def test_rows_without_trials_fail():
    assert Row("", 0, 0, 0, 0, "too few samples").failed
    assert not Row("", 0, 0, 0, 0, "left out: no Chromium").failed
    assert not Row("", 1, 1, 0, 0).failed


def test_only_an_open_that_is_repeated_at_once_has_not_failed():
    failed, good = (Call("open", "/x.npz", "", each) for each in (True, False))
    other = Call("open", "/y.npz", "")
    assert write_faults._reopened(failed, [other, good])
    assert not write_faults._reopened(failed, [Call("write", "/x.npz", "8"), good])
    assert not write_faults._reopened(failed, [failed, good])
    assert not write_faults._reopened(Call("close", "/x.npz", "", True), [good])


def test_memory_that_grows():
    settled = [100 + (place % 3) for place in range(90)]
    assert flatness("", [20, 60, 80, *settled]).survived == 1
    assert flatness("", [mib + place / 4 for place, mib in enumerate(settled)]).wrong == 1
    # In an hour, after the first ten minutes.
    hour = [*[100.0] * 1200, *[100 + place / 24 for place in range(1200)], *[150.0] * 4800]
    assert flatness("", hour).wrong == 1


def test_texts_are_reproducible_and_encodable():
    texts = mixed_texts(1, 200, corpora="absent")
    assert texts == mixed_texts(1, 200, corpora="absent")
    assert len(set(texts)) == len(texts) > 150
    assert all(text.encode() is not None for text in texts)
