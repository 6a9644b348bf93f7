"""Sampling: the distribution, and independence of everything but seed, line and sample number."""

import numpy as np
import pytest
from keras import ops
from layer_checks import call
from test_search import LONGEST, SOURCE, VOCABULARY, compiled_on_jax, found_by, random_model
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.sampling import SamplingOptions, sample, uniform_numbers
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD
from keras_attn_nmt.translator import Translator

# Upper 0.1 % quantiles of the chi-square distribution, by degrees of freedom.
CRITICAL = {2: 13.82, 4: 18.47}


def sampled(model, source=SOURCE, samples=3, seed=0, **sampling) -> Hypotheses:
    options = SearchOptions(beam_size=samples, max_length=LONGEST, length_penalty=0.0)
    sampling = SamplingOptions(**sampling)
    uniform = np.stack(
        [uniform_numbers(seed, line, samples, LONGEST) for line in range(len(source))]
    )

    def draw(ids, numbers):
        decoder = IncrementalDecoder(model)
        return sample(decoder, ids, numbers, options=options, sampling=sampling)

    return Hypotheses(*map(ops.convert_to_numpy, compiled_on_jax(draw)(source, uniform)))


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


@pytest.fixture(scope="module")
def model():
    return random_model(3)


@pytest.mark.parametrize(
    ("temperature", "top_k"), [(1.0, None), (0.8, None), (1.7, 3)], ids=["plain", "sharp", "top-k"]
)
def test_tokens_follow_the_softmax(model, temperature, top_k):
    """Pearson's chi-square test of first tokens, and of second tokens after the likeliest first."""
    source = SOURCE[:1]
    found = sampled(model, source, samples=4000, temperature=temperature, top_k=top_k)
    tokens = found.tokens[0]
    firsts, counts = np.unique(tokens[:, 0], return_counts=True)
    likeliest = next(token for token in firsts[np.argsort(-counts)] if token != EOS)
    for prefix in ((), (likeliest,)):
        target = np.array([[BOS, *prefix]], "int32")
        logits = ops.convert_to_numpy(call(model, {"source": source, "target": target})["logits"])
        logits = logits[0, -1, EOS:].astype("float64")
        if top_k:
            logits[np.argsort(-logits)[top_k:]] = -np.inf
        expected = softmax(logits / temperature)
        rows = tokens[:, 0] == likeliest if prefix else slice(None)
        counts = np.bincount(tokens[rows, len(prefix)], minlength=VOCABULARY)
        assert counts[[PAD, BOS]].sum() == 0
        counts, possible = counts[EOS:], expected > 0
        assert counts[~possible].sum() == 0
        wanted = expected[possible] * counts.sum()
        assert wanted.min() > 5
        chi_square = ((counts[possible] - wanted) ** 2 / wanted).sum()
        assert chi_square < CRITICAL[possible.sum() - 1]


def test_scores_and_attention_are_those_of_the_model(model):
    found = sampled(model, temperature=1.5, top_k=4)
    assert not found.lengths[2].any()
    assert (found.lengths[[0, 1, 3]] > 0).all()
    tokens = found.tokens.reshape(-1, LONGEST)
    forced = compiled_on_jax(
        lambda *ids: searching.score(
            IncrementalDecoder(model), *ids, SearchOptions(length_penalty=0.0)
        )
    )(np.repeat(SOURCE, 3, axis=0), tokens)
    forced = Hypotheses(*map(ops.convert_to_numpy, forced))
    np.testing.assert_array_equal(found.lengths.ravel(), forced.lengths[:, 0])
    for name, places in (("token_scores", 1e-5), ("attention", 1e-5), ("scores", 1e-4)):
        one = getattr(forced, name)[:, 0]
        np.testing.assert_allclose(getattr(found, name).reshape(one.shape), one, atol=places)


def test_one_candidate_gives_greedy_search(model):
    found = sampled(model, top_k=1)
    greedy = found_by(model, beam_size=1)
    np.testing.assert_array_equal(found.tokens, np.repeat(greedy.tokens, 3, axis=1))


def test_numbers_depend_on_seed_line_and_sample_alone():
    many = uniform_numbers(7, 3, samples=4, steps=50)
    assert many.shape == (4, 50)
    assert many.dtype == np.float32
    np.testing.assert_array_equal(uniform_numbers(7, 3, samples=2, steps=9), many[:2, :9])
    others = [uniform_numbers(8, 3, 1, 50), uniform_numbers(7, 4, 1, 50), many[1:2]]
    assert not any((each == many[:1]).any() for each in others)
    # The same with every version of NumPy.
    first = [0.01154673, 0.24154913, 0.11142576]
    np.testing.assert_allclose(uniform_numbers(0, 0, 1, 3)[0], first, atol=1e-7)
    numbers = uniform_numbers(2**64 - 1, 0, 1, 40_000)[0]
    assert 0 <= numbers.min() < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 4 / np.sqrt(12 * 40_000)


@pytest.fixture(scope="module")
def translator() -> Translator:
    files = tiny_files()
    return Translator(files.model, files.source_tokenizer, files.target_tokenizer)


def test_samples_depend_on_seed_and_line_number_alone(translator):
    options = {"samples": 2, "temperature": 0.9, "top_k": 20, "max_length": 9}
    found = translator.sample(TEXTS, seed=5, **options)
    texts = [[each.text for each in samples] for samples in found]
    assert texts == [
        [each.text for each in samples]
        for samples in translator.sample(TEXTS, seed=5, batch_size=2, **options)
    ]
    parts = [
        translator.sample([text], seed=5, first_line=line, **options)[0]
        for line, text in enumerate(TEXTS)
    ]
    assert texts == [[each.text for each in samples] for samples in parts]
    # Equal lines and the samples of a line differ from each other.
    assert len({*texts[0], *texts[5]}) == 4
    assert texts != [
        [each.text for each in samples] for samples in translator.sample(TEXTS, seed=6, **options)
    ]
    (first, _) = found[2]
    assert first.attention.shape == (len(first.target_tokens), len(first.source_tokens))
    assert found[1][0].text == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "use greedy search"),
        ({"temperature": 1e-39}, "use greedy search"),
        ({"temperature": 1e39}, "temperature must be a number from"),
        ({"temperature": float("nan")}, "temperature must be a number from"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1"),
        ({"seed": 2**64}, r"less than 2\^64"),
        ({"samples": 0}, "samples must be"),
        ({"samples": 20_000}, "samples must be at most 10,000, got 20000"),
        ({"first_line": -1}, "first_line must be"),
        ({"first_line": 2**64}, "first_line must be at most 9,223,372,036,854,775,808"),
    ],
)
def test_sampling_options_out_of_range_are_rejected(translator, options, message):
    with pytest.raises(ValueError, match=message):
        translator.sample(["ein"], **options)


def test_samples_of_a_model_without_attention_have_no_coverage_penalty():
    files = tiny_files({"attention": "none"})
    translator = Translator(
        files.model,
        files.source_tokenizer,
        files.target_tokenizer,
        search=SearchOptions(coverage_penalty=0.2),
    )
    assert len(translator.sample(TEXTS[:1], samples=2)[0]) == 2
