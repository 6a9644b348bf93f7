"""Inputs for exported models, their search options, and the comparison of results."""

import numpy as np

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "  ein  Haus ", "🙂 שלום", "ein"]
OPTIONS = {"beam_size": 3, "length_penalty": 0.6, "max_length": 12}
GREEDY = {**OPTIONS, "beam_size": 1}
LIMITS = {
    "max_source_length": 64,
    "max_target_length": OPTIONS["max_length"],
}


def assert_same_nbest(found, wanted):
    for hypotheses, expected in zip(found, wanted, strict=True):
        assert len(hypotheses) == len(expected)
        for got, wanted in zip(hypotheses, expected, strict=True):
            assert got.text == wanted.text
            assert got.target_tokens == wanted.target_tokens
            assert got.source_tokens == wanted.source_tokens
            assert got.complete == wanted.complete
            np.testing.assert_allclose(got.score, wanted.score, atol=1e-4)
            np.testing.assert_allclose(got.token_scores, wanted.token_scores, atol=1e-4)
            np.testing.assert_allclose(got.attention, wanted.attention, atol=1e-5)
