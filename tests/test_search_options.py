"""Search options: validation, and storage in the model directory."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from keras_attn_nmt import ModelConfig, Tokenizer, Translator, build_model, model_directory
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.model_directory import ModelFiles

OWN = SearchOptions(beam_size=2, length_penalty=0.5, max_length=7)
TEXTS = ["ein Haus", "zwei Häuser am See"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser"] * 3, 290)
    size = tokenizer.vocabulary_size
    config = ModelConfig(size, size, 4, encoder_units=4, decoder_units=5, attention_units=3)
    directory = tmp_path_factory.mktemp("options") / "model"
    model = build_model(config)
    model_directory.save_model(directory, ModelFiles(model, config, tokenizer, tokenizer, OWN))
    return directory


def test_search_defaults_to_the_models_options(directory):
    translator = Translator.load(directory)
    assert translator.search == OWN
    for got, wanted in zip(
        translator.nbest(TEXTS),
        translator.nbest(TEXTS, **dataclasses.asdict(OWN)),
        strict=True,
    ):
        assert [each.text for each in got] == [each.text for each in wanted]
        assert len(got) == 2
        assert len(got[0].target_tokens) <= 7
    assert len(translator.nbest(TEXTS, beam_size=4)[0]) == 4


def test_best_options_are_stored_in_the_model(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "model")
    best = SearchOptions(beam_size=3, length_penalty=1.8)
    model_directory.save_search(copy, best)
    loaded = model_directory.load_model(copy)
    assert loaded.search == best
    assert loaded.config == model_directory.load_model(directory).config


def test_a_training_keeps_the_options_of_its_directory(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "model")
    files = model_directory.load_model(copy)
    model_directory.save_search(copy, SearchOptions(7, 0.3, 40))
    model_directory.save_model(copy, files, keep_search=True)
    assert model_directory.read_config(copy)[2] == SearchOptions(7, 0.3, 40)
    model_directory.save_model(copy, files)
    assert model_directory.read_config(copy)[2] == files.search


def test_directories_from_older_releases_use_defaults(directory, tmp_path):
    copy = shutil.copytree(directory, tmp_path / "model")
    values = json.loads((copy / model_directory.CONFIG).read_text())
    del values["search"]
    (copy / model_directory.CONFIG).write_text(json.dumps(values))
    assert Translator.load(copy).search == SearchOptions(5, 1.0, 200)


def test_model_config_reads_config_of_a_model_directory(directory):
    text = (directory / model_directory.CONFIG).read_text()
    assert ModelConfig.from_json(text) == model_directory.load_model(directory).config


def test_numpy_numbers_are_accepted():
    options = SearchOptions(np.int64(3), np.float32(0.5), np.int32(9))
    assert options == SearchOptions(3, 0.5, 9)
    assert json.dumps(dataclasses.asdict(options))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"beam_size": 0}, "beam_size must be a whole number of at least 1, got 0"),
        ({"beam_size": 2.5}, "beam_size must be a whole number"),
        ({"max_length": True}, "max_length must be a whole number"),
        ({"length_penalty": float("inf")}, "length_penalty must be a finite number .* got inf"),
        ({"length_penalty": float("nan")}, "length_penalty must be a finite number .* got nan"),
        ({"length_penalty": -1}, "length_penalty must be a finite number"),
        # With 1,000, the score of an empty translation would be 0 / 0.
        ({"length_penalty": 1000}, "length_penalty must be at most 5, got 1000"),
        ({"diversity_penalty": -1}, "diversity_penalty must be a finite number"),
        ({"diversity_penalty": 11}, "diversity_penalty must be at most 10, got 11"),
        (
            {"diversity_penalty": 0.5, "beam_size": 1},
            "diversity_penalty=0.5 needs a beam_size from 2 to 100, got 1",
        ),
    ],
)
def test_invalid_search_options_are_rejected(given, message):
    with pytest.raises(ValueError, match=message):
        SearchOptions(**given)
    with pytest.raises(ValueError, match=message):
        SearchOptions().replaced(**given)


def test_greedy_search_has_no_use_for_the_diversity_penalty_of_a_model():
    stored = SearchOptions(5, diversity_penalty=0.5)
    assert stored.replaced(beam_size=1) == SearchOptions(1)
    assert stored.replaced(beam_size=2).diversity_penalty == 0.5
    with pytest.raises(ValueError, match="needs a beam_size from 2"):
        stored.replaced(beam_size=1, diversity_penalty=0.5)


def test_a_coverage_penalty_that_leaves_nothing_of_the_score_is_refused():
    assert SearchOptions(coverage_penalty=10).coverage_penalty == 10
    with pytest.raises(ValueError, match=r"coverage_penalty must be at most 10, got 10\.5"):
        SearchOptions(coverage_penalty=10.5)
