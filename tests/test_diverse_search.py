"""Diverse beam search against one in NumPy, written from Vijayakumar et al. 2018."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import call, slow_on_jax
from test_search import LONGEST, SOURCE, found_by, penalty, random_model
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import Glossary, Translator
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import BOS, EOS
from keras_attn_nmt.translation import IMPOSSIBLE

ROWS = (0, 1, 3)  # The other source is blank.


def next_log_probabilities(
    model: keras.Model, source: np.ndarray, prefixes: list[tuple[int, ...]]
) -> np.ndarray:
    """log P(. | prefix, source) by teacher forcing; the prefixes have equal length."""
    target = np.array([[BOS, *prefix] for prefix in prefixes], "int32")
    sources = np.repeat(source[np.newaxis], len(prefixes), axis=0)
    logits = call(model, {"source": sources, "target": target})["logits"]
    logits = ops.convert_to_numpy(logits)[:, -1].astype("float64")
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def diverse_beam_search(
    model: keras.Model, source: np.ndarray, beam_size: int, alpha: float, weight: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Different translations with their scores without penalty, the best first.

    Equation 3 with groups of one hypothesis: each group in turn takes the token with the largest
    log-probability, less `weight` for each group before it that has this token at this step.
    """
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())] * beam_size
    for step in range(LONGEST):
        growing = [words for _, words in beam if len(words) == step and words[-1:] != (EOS,)]
        if not growing:
            break
        rows = dict(zip(growing, next_log_probabilities(model, source, growing), strict=True))
        taken: list[int] = []
        for group, (total, words) in enumerate(beam):
            if words in rows:
                row = rows[words]
                word = max(range(EOS, len(row)), key=lambda w: row[w] - weight * taken.count(w))
                taken.append(word)
                beam[group] = total + row[word], (*words, word)
    return sorted({(total / penalty(len(words), alpha), words) for total, words in beam})[::-1]


def translations(found: Hypotheses, row: int) -> list[tuple[int, ...]]:
    """The translations of a sentence, without empty positions."""
    rows = zip(found.tokens[row], found.lengths[row], strict=True)
    return [tuple(tokens[:length].tolist()) for tokens, length in rows if length]


@slow_on_jax
@pytest.mark.parametrize(
    ("seed", "beam", "alpha", "weight"),
    [
        (1, 4, 1.0, 0.5),
        pytest.param(2, 3, 0.0, 1.0, marks=pytest.mark.slow),
        pytest.param(3, 5, 0.6, 0.2, marks=pytest.mark.slow),
    ],
)
def test_search_equals_the_paper(seed, beam, alpha, weight):
    model = random_model(seed)
    found = found_by(model, beam_size=beam, length_penalty=alpha, diversity_penalty=weight)
    plain = found_by(model, beam_size=beam, length_penalty=alpha)
    for row in ROWS:
        expected = diverse_beam_search(model, SOURCE[row], beam, alpha, weight)
        assert translations(found, row) == [words for _, words in expected]
        scores = [score for score, _ in expected]
        np.testing.assert_allclose(found.scores[row, : len(scores)], scores, atol=1e-4)
    assert not np.array_equal(found.tokens, plain.tokens)


@slow_on_jax
def test_equal_hypotheses_are_one():
    # A penalty too small to change anything: all groups are greedy search.
    found = found_by(random_model(4), beam_size=3, diversity_penalty=1e-6)
    greedy = found_by(random_model(4), beam_size=1)
    for row in ROWS:
        assert translations(found, row) == translations(greedy, row)
        assert (found.scores[row, 1:] == IMPOSSIBLE).all()
        assert not found.attention[row, 1:].any()
    # The blank sentence has one empty translation.
    assert found.scores[2].tolist() == [0.0, IMPOSSIBLE, IMPOSSIBLE]


@slow_on_jax
def test_no_penalty_changes_nothing():
    plain = found_by(random_model(4), beam_size=4)
    found = found_by(random_model(4), beam_size=4, diversity_penalty=0.0)
    for one, other in zip(plain, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def translator():
    files = tiny_files()
    tokenizers = files.source_tokenizer, files.target_tokenizer
    return Translator(files.model, *tokenizers, search=SearchOptions(diversity_penalty=0.5))


@pytest.mark.slow
def test_translations_become_more_diverse_by_default_of_the_model(translator):
    options = {"beam_size": 5, "max_length": 9}
    stored = translator.nbest(TEXTS[:3], **options)
    given = translator.nbest(TEXTS[:3], diversity_penalty=0.5, **options)
    plain = translator.nbest(TEXTS[:3], diversity_penalty=0.0, **options)
    tokens = [[[each.target_tokens for each in row] for row in rows] for rows in (stored, given)]
    assert tokens[0] == tokens[1]
    assert tokens[0] != [[each.target_tokens for each in row] for row in plain]
    # Of all hypotheses of a text, the different pairs of successive tokens.
    bigrams = [
        sum(
            len({pair for each in row for pair in itertools.pairwise(each.target_tokens)})
            for row in rows
        )
        for rows in (plain, stored)
    ]
    assert bigrams[0] < bigrams[1], bigrams
    # Sampling ignores the stored penalty, which needs a beam.
    assert translator.sample(TEXTS[:1], samples=1, max_length=6)[0]


def test_searches_without_it_are_refused(translator):
    with pytest.raises(ValueError, match="needs a beam_size from 2 to 100, got 1"):
        translator(TEXTS[:1], beam_size=1, diversity_penalty=0.5)
    # Also where no text has a term: it does not depend on the texts.
    for phrases in ({"glossary": Glossary({"Meer": "See"})}, {"constraints": [["See"]]}):
        with pytest.raises(ValueError, match="not available with a glossary or constraints"):
            translator(TEXTS[:1], **phrases)
