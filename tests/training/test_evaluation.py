"""The speed that an evaluation reports, and references that BLEU cannot measure."""

import logging

import keras
import pytest

from keras_attn_nmt.training.callbacks import ValidationBleu
from keras_attn_nmt.training.evaluation import check_references, timed
from keras_attn_nmt.training.tuning import measure_translations

JAPANESE = ["私は学生です。", "彼は東京に住んでいます。", "これは 本 です か 。"]


@pytest.mark.parametrize(("backend", "before"), [("tensorflow", 1), ("jax", 3)])
def test_compilation_is_not_timed(backend, before, monkeypatch):
    calls = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    found, seconds = timed(lambda texts, **_: calls.append(texts) or texts, "abc", beam_size=2)
    assert [len(texts) for texts in calls] == [before, 3]
    assert found == ["a", "b", "c"]
    assert seconds >= 0


@pytest.mark.parametrize("references", [JAPANESE[:2], ["two apples", "three red houses"]])
def test_nothing_is_chosen_by_a_bleu_of_zero(references):
    uses = (
        lambda: ValidationBleu(None, references, references),
        lambda: measure_translations(None, references, references),
        lambda: measure_translations(None, references, [references, references]),
    )
    for use in uses:
        with pytest.raises(ValueError, match=r"0 of \d references for the tokeniser 13a\. Choose"):
            use()
    measure_translations(None, references, references, metric="chrf")
    ValidationBleu(None, references, references, "char")


def test_references_that_are_mostly_too_short_for_bleu_are_named(caplog):
    check_references(JAPANESE[1:], "13a")
    check_references(JAPANESE, "char")
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        check_references(JAPANESE, "13a")
        check_references(JAPANESE[:2], "13a", needed=False)
    assert ["1 of 3 references" in caplog.text, "0 of 2 references" in caplog.text] == [True, True]
