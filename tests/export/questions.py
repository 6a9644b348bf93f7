"""Inputs for exported models, their search options, and the comparison of results."""

import numpy as np

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "  ein  Haus ", "🙂 שלום", "ein"]
OPTIONS = {"beam_size": 3, "length_penalty": 0.6, "max_length": 12}
GREEDY = {**OPTIONS, "beam_size": 1}
LIMITS = {
    "max_source_length": 32,
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


def assert_answers(answers, row, wanted):
    """Compares a row of the outputs of a SavedModel with a `Translation`."""
    assert answers["translation"][row].decode() == wanted.text
    np.testing.assert_allclose(answers["score"][row], wanted.score, atol=1e-4)
    length, width = len(wanted.target_tokens), len(wanted.source_tokens)
    assert answers["target_length"][row] == length
    pieces = [piece.decode() for piece in answers["target_tokens"][row]]
    assert pieces == wanted.target_tokens + [""] * (len(pieces) - length)
    np.testing.assert_allclose(
        answers["attention"][row][:length, :width], wanted.attention, atol=1e-5
    )
    np.testing.assert_allclose(
        answers["token_scores"][row][:length], wanted.token_scores, atol=1e-4
    )
    assert not answers["attention"][row][length:].any()
    assert not answers["attention"][row][:, width:].any()
