"""Constrained search: matching of phrases, and translations of models with random weights."""

import numpy as np
import pytest
from keras import ops
from test_search import LONGEST, SOURCE, VOCABULARY, compiled_on_jax, random_model

from keras_attn_nmt.decoding.constrained_search import SMALLEST_BEAM, constrained_search
from keras_attn_nmt.decoding.constraints import (
    Constraints,
    Matcher,
    PieceTables,
    source_positions,
)
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import BOS, EOS

# No piece joins another.
NO_JOINS = PieceTables(*np.zeros((4, VOCABULARY), bool), np.zeros(VOCABULARY, "int32"))


def constraints_of(rows, terms=None):
    """Rows of constraints, lists of phrases, which are lists of ids."""
    every = [each for row in rows for each in row]
    shape = (
        *(len(rows), max(map(len, rows)), max(map(len, every))),
        max(len(ids) for each in every for ids in each),
    )
    phrases = np.zeros(shape, "int32")
    for b, row in enumerate(rows):
        for c, variants in enumerate(row):
            for v, ids in enumerate(variants):
                phrases[b, c, v, : len(ids)] = ids
    terms = np.zeros((*shape[:2], 1), "int32") if terms is None else np.array(terms, "int32")
    return Constraints(phrases, terms)


def followed(row, tokens, tables=NO_JOINS):
    """Which constraints a sequence meets, and how many tokens are missing, after each token."""
    matcher = Matcher(constraints_of([row]), tables, np.array([[50]], "int32"), 50)
    progress, previous, history = matcher.start(1), BOS, []
    for token in tokens:
        candidates = np.array([[[token]]], "int32")
        after = matcher.advance(progress, np.array([[previous]], "int32"), candidates)
        progress = type(after)(*(each[:, :, 0] for each in after))
        met = ops.convert_to_numpy(progress.met)[0, 0].tolist()
        history.append((met, int(ops.convert_to_numpy(matcher.remaining(progress))[0, 0])))
        previous = token
    return history


@pytest.mark.parametrize(
    ("row", "tokens", "expected"),
    [
        # A phrase that breaks begins anew, also inside of itself.
        ([[[4, 4, 5]]], [4, 4, 4, 5], [([False], 2), ([False], 1), ([False], 1), ([True], 0)]),
        # Any variant will do.
        ([[[4, 5], [6]]], [4, 6], [([False], 1), ([True], 0)]),
        # The same phrase twice needs two occurrences.
        ([[[4]], [[4]]], [4, 5, 4], [([True, False], 1), ([True, False], 1), ([True, True], 0)]),
        # A longer phrase takes the tokens of a shorter one in it.
        ([[[4]], [[4, 5]]], [4, 5, 4], [([True, False], 1), ([False, True], 1), ([True] * 2, 0)]),
        # Only at the beginning.
        ([[[BOS, 4], [5]]], [4], [([True], 0)]),
        ([[[BOS, 4], [5]]], [6, 4, 5], [([False], 1), ([False], 1), ([True], 0)]),
    ],
)
def test_phrases_are_followed(row, tokens, expected):
    assert followed(row, tokens) == expected


def test_a_longer_word_does_not_meet_a_phrase():
    continues = np.arange(VOCABULARY) == 5
    tables = NO_JOINS._replace(ends=np.arange(VOCABULARY) >= 4, continues=continues)
    assert followed([[[4]]], [4, 5, 6, 4, 6], tables) == [
        *[([True], 0), ([False], 1), ([False], 1), ([True], 0), ([True], 0)]
    ]
    # Unless the longer one is a variant.
    assert followed([[[4], [4, 5]]], [4, 5], tables) == [([True], 0)] * 2


@pytest.mark.parametrize(
    ("phrase", "continued"),
    [("บ", "้า"), ("न", "े"), ("▁می", "\u200cخواهد"), ("▁می", "\u200c")],
    ids=["Thai tone mark", "Hindi vowel sign", "joiner and letters", "joiner alone"],
)
def test_a_mark_or_joiner_after_a_phrase_makes_a_longer_word(phrase, continued):
    class Pieces:
        vocabulary_size = 7

        def pieces(self, ids):
            return [*("<pad>", "<s>", "</s>", "<unk>"), phrase, continued, "▁x"]

    tables = PieceTables.of(Pieces())
    assert followed([[[4]]], [4, 5, 4, 6], tables) == [
        *[([True], 0), ([False], 1), ([True], 0), ([True], 0)]
    ]


def test_phrases_inside_of_text_without_spaces():
    unspaced, inner = np.zeros(VOCABULARY, bool), np.zeros(VOCABULARY, "int32")
    unspaced[5], inner[4], inner[6] = True, -1, 5
    tables = NO_JOINS._replace(unspaced=unspaced, inner=inner)
    for phrase, text in (([4, 5], [3, 5]), ([6], [3, 5]), ([6, 3], [5, 3])):
        assert followed([[phrase]], text, tables)[-1] == ([True], 0)
    assert followed([[[4, 3]]], [3], tables)[-1][0] == [False]


def test_positions_of_terms():
    source = np.array([[4, 5, 4, 5, 6, 2]], "int32")
    terms = np.array([[[4, 5, 0], [5, 6, 2], [6, 5, 0], [0, 0, 0]]], "int32")
    found = ops.convert_to_numpy(source_positions(source, terms))[0]
    wanted = [[1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 1], [0] * 6, [0] * 6]
    np.testing.assert_array_equal(found, wanted)


def found_by(model, constraints, tables=NO_JOINS, **options):
    options = SearchOptions(**{"max_length": LONGEST + 2, "beam_size": 3, **options})

    def search(source, phrases, terms):
        wanted = Constraints(phrases, terms)
        return constrained_search(IncrementalDecoder(model), source, wanted, tables, options)

    found, met = compiled_on_jax(search)(SOURCE, *constraints)
    return type(found)(*map(ops.convert_to_numpy, found)), ops.convert_to_numpy(met)


def contains(tokens, phrase):
    tokens = tokens.tolist()
    return any(tokens[i : i + len(phrase)] == phrase for i in range(len(tokens)))


ROWS = [[[[6, 5]], [[3]]], [[[4, 4], [5, 6, 5]]], [[[4]]], [[[6]], [[6]]]]


@pytest.mark.parametrize(("placed", "attention"), [(0, "bahdanau"), (1, "bahdanau"), (1, "none")])
def test_translations_contain_the_phrases(placed, attention):
    # Each phrase translates the token 4 of the source, or nothing that is known.
    terms = np.full((4, 2, 1), 4 * placed, "int32")
    model = random_model(1, attention=attention)
    found, met = found_by(model, constraints_of(ROWS, terms))
    assert met[[0, 1, 3], 0].all()
    for row in (0, 1, 3):
        tokens = found.tokens[row, 0, : found.lengths[row, 0]]
        assert tokens[-1] == EOS or found.lengths[row, 0] == LONGEST + 2
        assert all(any(contains(tokens, ids) for ids in each) for each in ROWS[row])
        total = found.attention[row, 0, : len(tokens)].sum(-1)
        np.testing.assert_allclose(total, attention != "none", atol=1e-5)
        # Best first.
        assert (np.diff(found.scores[row]) <= 0).all()
    assert (found.tokens[3, 0] == 6).sum() >= 2
    # The blank text has none.
    assert found.lengths[2, 0] == 0


def test_phrases_fill_the_maximum_length_and_not_more():
    rows = [[[[4, 5, 6]], [[3]]]] * 4
    found, met = found_by(random_model(2), constraints_of(rows), max_length=5, beam_size=1)
    assert met[[0, 1, 3]].all()
    # No room for the second one.
    found, met = found_by(random_model(2), constraints_of(rows), max_length=4)
    assert met[[0, 1, 3], 0].tolist() == [[True, False]] * 3
    assert found.lengths.max() == 4


def test_a_translation_ends_where_all_likely_pieces_continue_the_word_of_a_phrase():
    size = 20
    model = random_model(1, target_vocabulary_size=size)
    (bias,) = [weight for weight in model.weights if weight.shape == (size,)]
    bias.assign(np.where(np.arange(size) < 4, -9.0, 0.0))
    ends = continues = np.arange(size) >= 4
    rest = np.zeros((2, size), bool)
    tables = PieceTables(ends, continues, *rest, np.zeros(size, "int32"))
    found, met = found_by(model, constraints_of([[[[4, 5]]]] * 4), tables, max_length=5)
    assert met[[0, 1, 3], 0].all()
    for row in (0, 1, 3):
        assert found.tokens[row, 0, : found.lengths[row, 0]].tolist()[-3:] == [4, 5, EOS]


def test_without_placement_the_score_is_that_of_the_model():
    """A wide beam finds the best of all translations that contain the phrase."""
    from test_search import exhaustive

    model = random_model(1)
    rows = [[[[6]]]] * 4
    found, _ = found_by(model, constraints_of(rows), max_length=LONGEST, beam_size=60)
    for row in (0, 1, 3):
        best = next(each for each in exhaustive(model, SOURCE[row], 1.0) if 6 in each[1])
        tokens = found.tokens[row, 0, : found.lengths[row, 0]]
        if EOS not in best[1]:  # Cut at the limit: there is always room for the end.
            best = next(
                each
                for each in exhaustive(model, SOURCE[row], 1.0)
                if 6 in each[1] and EOS in each[1]
            )
        assert found.scores[row, 0] >= best[0] - 1e-4
        assert 6 in tokens


def test_small_beams_are_wider_inside():
    rows = [[[[6, 5]], [[3]], [[4, 4]]]] * 4
    for beam_size in (1, 2):
        found, met = found_by(
            random_model(3), constraints_of(rows), max_length=9, beam_size=beam_size
        )
        assert found.tokens.shape[1] == beam_size < SMALLEST_BEAM
        assert met[[0, 1, 3]].all()
