"""The coverage penalty, see also the exhaustive search of test_search."""

import numpy as np
import pytest
from keras import ops
from test_search import SOURCE, found_by, random_model
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import Translator
from keras_attn_nmt.decoding.coverage import LEAST, coverage, coverage_scores


def test_penalty_is_that_of_wu_et_al():
    attention = np.array([[0.5, 0.5, 0.0], [0.7, 0.3, 0.0]])
    expected = 0.2 * (np.log(1.0) + np.log(0.8) + np.log(LEAST))
    assert coverage(attention, 0.2) == pytest.approx(expected)
    assert coverage(attention, 0.0) == 0.0
    assert coverage(np.zeros((0, 0)), 0.2) == 0.0
    padded = np.zeros((1, 2, 3, 5), "float32")
    padded[0, 0, :2, :3] = attention
    padded[0, 1, 0, :3] = 1.0
    mask = np.array([[True, True, True, False, False]])
    found = ops.convert_to_numpy(coverage_scores(padded, mask, 0.2))
    np.testing.assert_allclose(found, [[expected, 0.0]], rtol=1e-5)


def test_penalty_ranks_the_hypotheses_of_the_same_beam():
    model = random_model(4)
    plain = found_by(model, beam_size=4)
    ranked = found_by(model, beam_size=4, coverage_penalty=1.5)
    changed = 0
    for row in (0, 1, 3):
        length = np.count_nonzero(SOURCE[row])
        added = [coverage(each[:, :length], 1.5) for each in plain.attention[row]]
        scores = plain.scores[row] + np.array(added)
        order = np.argsort(-scores)
        changed += order.tolist() != [0, 1, 2, 3]
        np.testing.assert_allclose(ranked.scores[row], scores[order], atol=1e-4)
        np.testing.assert_array_equal(ranked.tokens[row], plain.tokens[row][order])
        np.testing.assert_allclose(ranked.attention[row], plain.attention[row][order], atol=1e-6)
    assert changed
    # The blank sentence has nothing to cover.
    assert ranked.scores[2, 0] == 0


def test_no_penalty_and_no_copies_without_attention():
    with pytest.raises(ValueError, match="needs attention, which this model"):
        found_by(random_model(1, attention="none"), coverage_penalty=0.2)
    files = tiny_files({"attention": "none"})
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    for copying in (translator, translator.sample):
        with pytest.raises(ValueError, match="copy needs attention, which this model"):
            copying(TEXTS, copy=True)


@pytest.fixture(scope="module")
def translator():
    files = tiny_files()
    return Translator(files.model, files.source_tokenizer, files.target_tokenizer)


def test_score_of_a_translation_is_that_of_the_search(translator):
    options = {"coverage_penalty": 0.3, "length_penalty": 0.6}
    found = translator(TEXTS[:1], beam_size=2, max_length=6, **options)[0]
    plain = found.log_probability / ((5 + len(found.target_tokens)) / 6) ** 0.6
    assert found.score == pytest.approx(plain + coverage(found.attention, 0.3), abs=1e-4)
    (scored,) = translator.score(TEXTS[:1], ["ein See"], **options)
    plain = scored.log_probability / ((5 + len(scored.target_tokens)) / 6) ** 0.6
    assert scored.score == pytest.approx(plain + coverage(scored.attention, 0.3), abs=1e-4)


@pytest.mark.slow
def test_translations_with_given_phrases_are_ranked_too(translator):
    options = {"beam_size": 5, "max_length": 9, "constraints": [["See"]]}
    (plain,) = translator.nbest(TEXTS[:1], **options)
    (ranked,) = translator.nbest(TEXTS[:1], coverage_penalty=0.5, **options)
    scores = {
        tuple(each.target_tokens): each.score + coverage(each.attention, 0.5) for each in plain
    }
    found = {tuple(each.target_tokens): each.score for each in ranked}
    assert found == pytest.approx(scores, abs=1e-4)
    assert [each.score for each in ranked] == sorted(found.values(), reverse=True)
