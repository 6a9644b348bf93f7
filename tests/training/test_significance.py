"""Paired bootstrap resampling."""

import json
import os

import pytest

from keras_attn_nmt.training.significance import paired_bootstrap

NAMES = ["dog", "cat", "bird", "horse", "child", "teacher", "farmer", "sailor", "doctor", "baker"]
REFERENCES = [f"The {name} sees a small house near the old river." for name in NAMES]
WORSE = [line.replace("small house near", "large tree by") for line in REFERENCES]


def test_equal_scores_are_no_difference():
    for other in (WORSE, [line.lower() for line in WORSE]):
        found = paired_bootstrap(WORSE, other, REFERENCES, samples=50)
        assert found["bleu_lowercase"]["p_value"] == 1.0
        assert found["bleu_lowercase"]["difference"] == 0.0
    same = paired_bootstrap(WORSE, WORSE, REFERENCES, samples=50)
    assert [each["p_value"] for each in same.values()] == [1.0] * 3


def test_better_in_all_sentences_is_significant():
    other = WORSE[:8] + REFERENCES[8:]
    found = paired_bootstrap(REFERENCES, other, [REFERENCES, REFERENCES[::-1]], samples=200)
    for each in found.values():
        assert each["p_value"] < 0.05
        assert each["difference"] == pytest.approx(each["score"] - each["against"])
        assert each["difference"] > 0
        assert each["against_interval"] > each["interval"] == 0
    assert "nrefs:2|bs:200|seed:12345" in found["bleu"]["signature"]
    # NumPy's float32 of chrF would not be.
    assert json.loads(json.dumps(found)) == found


def test_a_seed_repeats_the_samples(monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "none")
    mixed = WORSE[:4] + REFERENCES[4:6] + WORSE[6:]

    def found(seed):
        return paired_bootstrap(mixed, WORSE, REFERENCES, seed=seed, samples=100)

    assert found(3) == found(3)
    assert found(3) != found(4)
    assert os.environ["SACREBLEU_SEED"] == "none"
    with pytest.raises(ValueError, match="seed must be a whole number of at least 1, got 0"):
        found(0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((WORSE, WORSE[1:], REFERENCES), "10 translations and 9 translations of the second"),
        ((WORSE, WORSE, REFERENCES[1:]), "10 translations and 9 references"),
        (([], [], []), "at least one: got 0"),
    ],
)
def test_unequal_numbers_are_rejected(arguments, message):
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(*arguments)
