"""Ensembles: several models translate together."""

import dataclasses
import shutil

import numpy as np
import pytest
from keras import ops
from layer_checks import call, slow_on_jax
from test_search import BOS, LONGEST, SOURCE, compiled_on_jax, random_model
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import Tokenizer, Translator, build_model
from keras_attn_nmt.decoding.ensemble import EnsembleDecoder
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search import search
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.model_directory import ModelFiles, save_model


def found_by(models, **options):
    decoder = EnsembleDecoder([IncrementalDecoder(each) for each in models])
    options = SearchOptions(**{"max_length": LONGEST, **options})
    found = compiled_on_jax(lambda ids: search(decoder, ids, options))(SOURCE)
    return Hypotheses(*map(ops.convert_to_numpy, found))


def test_probabilities_are_the_geometric_mean_and_attention_the_arithmetic_one():
    # Members with other cells and other scores have other states.
    models = [random_model(1), random_model(2, cell="lstm", attention="luong")]
    found = found_by(models, beam_size=3, length_penalty=0.0)
    rows = [0, 1, 3]
    tokens = found.tokens[rows].reshape(9, -1)
    target = np.concatenate([np.full((9, 1), BOS), tokens[:, :-1]], axis=1).astype("int32")
    inputs = {"source": np.repeat(SOURCE[rows], 3, axis=0), "target": target}
    outputs = [call(each, inputs) for each in models]
    logits, attention = (
        [ops.convert_to_numpy(each[name]).astype("float64") for each in outputs]
        for name in ("logits", "attention")
    )
    probabilities = [np.exp(each) / np.exp(each).sum(-1, keepdims=True) for each in logits]
    mean = np.sqrt(probabilities[0] * probabilities[1])
    mean /= mean.sum(-1, keepdims=True)
    chosen = np.log(np.take_along_axis(mean, tokens[..., None], axis=-1)[..., 0])
    mask = tokens != 0
    shape = found.token_scores[rows].shape
    np.testing.assert_allclose(found.token_scores[rows], (chosen * mask).reshape(shape), atol=1e-4)
    wanted = (attention[0] + attention[1]) / 2 * mask[..., None]
    np.testing.assert_allclose(
        found.attention[rows], wanted.reshape(*shape, SOURCE.shape[1]), atol=1e-5
    )
    # Each differs from the members alone.
    assert all(np.abs(each - wanted).max() > 0.01 for each in attention)


@slow_on_jax
def test_a_model_with_itself_is_that_model():
    model = random_model(3)
    options = SearchOptions(beam_size=4, max_length=9, coverage_penalty=0.2)
    single = search(IncrementalDecoder(model), SOURCE, options)
    both = found_by([model, model], **dataclasses.asdict(options))
    for one, two in zip(single, both, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(one), two)


def other_model(files, seed=5):
    model = build_model(dataclasses.replace(files.config, cell="lstm", decoder_units=6))
    generator = np.random.default_rng(seed)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def files():
    return tiny_files()


@pytest.fixture(scope="module")
def directories(files, tmp_path_factory):
    """Two models with the same vocabularies, and one with others."""
    folder = tmp_path_factory.mktemp("ensemble")
    other = other_model(files)
    tokenizers = files.source_tokenizer, files.target_tokenizer
    config = dataclasses.replace(files.config, cell="lstm", decoder_units=6)
    save_model(folder / "a", files)
    save_model(folder / "b", ModelFiles(other, config, *tokenizers))
    shutil.copytree(folder / "a", folder / "c")
    size = files.target_tokenizer.vocabulary_size
    Tokenizer.learn(["a house by the lake", "two little houses"] * 3, size).save(
        folder / "c" / "target.spm"
    )
    return [folder / name for name in "abc"]


@slow_on_jax
def test_translator_of_several_models(files, directories, tmp_path):
    first, second, _ = directories
    options = {"max_length": 9, "beam_size": 3}
    single, together = Translator.load(first), Translator.load(first, ensemble=[second])
    alone = [each.text for each in single(TEXTS, **options)]
    found = together(TEXTS, **options)
    assert [each.text for each in found] != alone
    scored = together.score(TEXTS, [each.text for each in found])
    for one, two in zip(found, scored, strict=True):
        if one.target_tokens == two.target_tokens:
            assert one.log_probability == pytest.approx(two.log_probability, abs=1e-4)
            np.testing.assert_allclose(one.attention, two.attention, atol=1e-5)
    assert together.embed(TEXTS).shape == (len(TEXTS), 20)
    np.testing.assert_allclose(together.embed(TEXTS)[:, :10], single.embed(TEXTS), atol=1e-6)
    with pytest.raises(ValueError, match="cannot be saved as one model directory"):
        together.save(tmp_path / "model")


@slow_on_jax
@pytest.mark.slow
def test_translator_of_several_models_samples_and_takes_phrases(directories):
    first, second, _ = directories
    together = Translator.load(first, ensemble=[second])
    (samples,) = together.sample(TEXTS[:1], samples=2, max_length=5)
    assert len(samples) == 2
    for each in together(TEXTS[:1], constraints=[["See"]], beam_size=3, max_length=9):
        assert "See" in each.text


@slow_on_jax
@pytest.mark.slow
def test_ensemble_searches_a_shortlist(files, directories):
    size = files.target_tokenizer.vocabulary_size
    candidates = np.random.default_rng(1).integers(4, size, (size, 3)).astype("int32")
    shortlist = Shortlist(candidates, np.array([5, 9], "int32"))
    translators = [
        Translator(
            *(files.model, files.source_tokenizer, files.target_tokenizer, shortlist),
            ensemble=others,
        )
        for others in ([], [files.model], [other_model(files)])
    ]
    single, twice, together = (
        [each.text for each in translator(TEXTS, shortlist=True, max_length=9)]
        for translator in translators
    )
    assert twice == single
    # One by one, the shortlist of a batch is smaller.
    alone = [
        each.text for text in TEXTS for each in translators[2]([text], shortlist=True, max_length=9)
    ]
    assert alone == together


def test_other_vocabularies_are_refused(directories):
    first, _, other = directories
    with pytest.raises(ValueError, match=r"c/target.spm is another vocabulary than .*a/target.spm"):
        Translator.load(first, ensemble=[other])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Translator.load(first, ensemble=[other.parent / "missing"])
