"""The speed that an evaluation reports."""

import keras
import pytest

from keras_attn_nmt.training.evaluation import timed


@pytest.mark.parametrize(("backend", "before"), [("tensorflow", 1), ("jax", 3)])
def test_compilation_is_not_timed(backend, before, monkeypatch):
    calls = []
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    found, seconds = timed(lambda texts, **_: calls.append(texts) or texts, "abc", beam_size=2)
    assert [len(texts) for texts in calls] == [before, 3]
    assert found == ["a", "b", "c"]
    assert seconds >= 0
