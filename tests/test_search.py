"""Greedy and beam search against exhaustive search, and against teacher forcing."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import call, fewer_on_jax, slow_on_jax

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search import search
from keras_attn_nmt.decoding.search_options import SearchOptions, length_penalty
from keras_attn_nmt.model import build_model
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD

VOCABULARY, LONGEST = 7, 4
SOURCE = np.array([[4, 5, 6, 2, 0, 0], [6, 4, 2, 0, 0, 0], [0] * 6, [5, 5, 4, 6, 4, 2]], "int32")


def random_model(seed: int, **settings) -> keras.Model:
    sizes = {
        "source_vocabulary_size": VOCABULARY,
        "target_vocabulary_size": VOCABULARY,
        "embedding_units": 6,
        "encoder_units": 5,
        "decoder_units": 7,
        "attention_units": 4,
    }
    model = build_model(ModelConfig(**{**sizes, **settings}))
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=w.shape) * 0.7 for w in model.get_weights()])
    return model


def compiled_on_jax(function):
    """`function` of tensors, compiled on JAX with the weights of its first call."""
    if keras.backend.backend() != "jax":
        return function
    import jax

    return jax.jit(function)


def found_by(model, source=SOURCE, **options) -> Hypotheses:
    options = SearchOptions(**{"max_length": LONGEST, **options})
    found = compiled_on_jax(lambda ids: search(IncrementalDecoder(model), ids, options))(source)
    return Hypotheses(*(ops.convert_to_numpy(each) for each in found))


def penalty(length: int, alpha: float) -> float:
    return ((5 + length) / 6) ** alpha


def all_translations() -> list[tuple[int, ...]]:
    """Every sequence a search may give: closed by EOS, or cut at the limit."""
    words = [word for word in range(VOCABULARY) if word not in (PAD, BOS, EOS)]
    closed = [
        (*sequence, EOS)
        for length in range(LONGEST)
        for sequence in itertools.product(words, repeat=length)
    ]
    return closed + list(itertools.product(words, repeat=LONGEST))


def exhaustive(
    model, source: np.ndarray, alpha: float, beta: float = 0.0
) -> list[tuple[float, tuple[int, ...]]]:
    """Scores all translations of one source by teacher forcing, the best first."""
    sequences = all_translations()
    padded = np.zeros((len(sequences), LONGEST), "int32")
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    target = np.concatenate([np.full((len(padded), 1), BOS), padded[:, :-1]], axis=1)
    sources = np.repeat(source[np.newaxis], len(padded), axis=0)
    outputs = call(model, {"source": sources, "target": target})
    logits, attention = (
        ops.convert_to_numpy(outputs[name]).astype("float64") for name in ("logits", "attention")
    )
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    results = []
    for row, sequence in enumerate(sequences):
        total = sum(log_probabilities[row, i, word] for i, word in enumerate(sequence))
        score = total / penalty(len(sequence), alpha)
        for position in np.flatnonzero(source):
            covered = sum(attention[row, i, position] for i in range(len(sequence)))
            score += beta * np.log(min(max(covered, 1e-6), 1.0))
        results.append((score, sequence))
    return sorted(results, reverse=True)


@pytest.mark.parametrize(
    ("seed", "alpha", "beta"),
    fewer_on_jax([(1, 1.0, 0.0), (1, 0.0, 0.0), (2, 0.6, 0.4)]),
)
def test_wide_beam_equals_exhaustive_search(seed, alpha, beta):
    model = random_model(seed)
    # Before the last step there are 21 finished and 64 unfinished hypotheses: nothing is pruned.
    # At the end, there are 341, which the coverage penalty ranks.
    beam = 341 if beta else 100
    widest = found_by(model, beam_size=beam, length_penalty=alpha, coverage_penalty=beta)
    for row in (0, 1, 3):
        expected = exhaustive(model, SOURCE[row], alpha, beta)
        found = [
            tuple(tokens[:length])
            for tokens, length in zip(widest.tokens[row], widest.lengths[row], strict=True)
        ]
        assert widest.scores[row, 0] == pytest.approx(expected[0][0], abs=1e-4)
        assert found[0] == expected[0][1]
        # The beam contains only translations with their true scores, sorted.
        scores = {sequence: score for score, sequence in expected}
        true_scores = [scores[sequence] for sequence in found]
        np.testing.assert_allclose(widest.scores[row], true_scores, atol=1e-4)
        assert np.all(np.diff(widest.scores[row]) <= 1e-6)


@pytest.mark.parametrize(
    "settings",
    fewer_on_jax(
        [
            {},
            {"attention": "none", "source_order": "twice"},
            {"cell": "lstm"},
            {"attention": "luong"},
            {"readout": "maxout", "tie_target_embeddings": False, "reset_after": False},
        ],
        kept=2,
    ),
    ids=str,
)
@pytest.mark.parametrize("beam", fewer_on_jax([3, 1]))
def test_scores_and_attention_equal_teacher_forcing(settings, beam):
    model = random_model(3, **settings)
    found = found_by(model, beam_size=beam, length_penalty=0.6)
    # The empty sentence has only empty hypotheses: nothing to score.
    flat = [each[[0, 1, 3]].reshape(3 * beam, *each.shape[2:]) for each in found]
    found = Hypotheses(*flat)
    sources = np.repeat(SOURCE[[0, 1, 3]], beam, axis=0)
    score = compiled_on_jax(
        lambda *ids: searching.score(
            IncrementalDecoder(model), *ids, options=SearchOptions(length_penalty=0.6)
        )
    )
    forced = score(sources, found.tokens)
    forced = Hypotheses(*(ops.convert_to_numpy(each)[:, 0] for each in forced))
    np.testing.assert_array_equal(found.lengths, forced.lengths)
    np.testing.assert_allclose(found.scores, forced.scores, atol=1e-4)
    np.testing.assert_allclose(found.token_scores, forced.token_scores, atol=1e-4)
    np.testing.assert_allclose(found.attention, forced.attention, atol=1e-5)


@slow_on_jax
@pytest.mark.parametrize("beam", fewer_on_jax([4, 1]))
def test_results_are_independent_of_batch_composition_and_padding(beam):
    model = random_model(4)
    together = found_by(model, beam_size=beam, length_penalty=1.0, max_length=9)
    for row in (0, 1, 3):
        length = np.count_nonzero(SOURCE[row])
        single = found_by(
            model, SOURCE[row : row + 1, :length], beam_size=beam, length_penalty=1.0, max_length=9
        )
        np.testing.assert_array_equal(together.tokens[row], single.tokens[0])
        np.testing.assert_allclose(together.scores[row], single.scores[0], atol=1e-5)
        np.testing.assert_allclose(
            together.attention[row, ..., :length], single.attention[0], atol=1e-5
        )
        assert not together.attention[row, ..., length:].any()


def test_empty_source_has_empty_translation():
    for beam in (1, 3):
        found = found_by(random_model(5), beam_size=beam)
        assert found.lengths[2, 0] == 0
        assert found.scores[2, 0] == 0
        assert not found.tokens[2, 0].any()
        assert np.isfinite(found.scores).all()


def test_output_excludes_pad_and_bos():
    model = random_model(6)
    bias = model.get_layer("target_embedding").bias
    bias.assign(ops.convert_to_tensor([50.0, 50.0] + [0.0] * (VOCABULARY - 2)))
    found = found_by(model, beam_size=2)
    for row, k in itertools.product((0, 1, 3), range(2)):
        assert not set(found.tokens[row, k, : found.lengths[row, k]]) & {PAD, BOS}


def test_length_penalty_matches_wu_et_al():
    assert float(length_penalty(7, 0.0)) == 1.0
    assert float(length_penalty(7, 0.6)) == pytest.approx(2**0.6)


def test_maximum_length_is_respected():
    model = random_model(7)
    bias = model.get_layer("target_embedding").bias
    bias.assign(ops.convert_to_tensor([0.0, 0.0, -50.0] + [0.0] * (VOCABULARY - 3)))
    found = found_by(model, beam_size=2, max_length=30)
    # Three times the source length plus 20: 3 * 3 + 20.
    assert found.lengths[1].tolist() == [29, 29]
    assert found.lengths[0].tolist() == [30, 30]


@pytest.mark.parametrize("size", [40, 640, 641, 8000])
def testtop_tokens_for_any_vocabulary_size(size):
    logits = np.random.default_rng(size).normal(size=(3, 2, size)).astype("float32")
    logits[:, :, :EOS] = 100.0  # PAD and BOS are excluded.
    top, ids = searching.top_tokens(ops.convert_to_tensor(logits), 5)
    wanted = np.argsort(-logits[..., EOS:], axis=-1)[..., :5] + EOS
    np.testing.assert_array_equal(ops.convert_to_numpy(ids), wanted)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(top), np.take_along_axis(logits, wanted, axis=-1)
    )
