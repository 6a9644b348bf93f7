"""Every kind of model exports; both exports verify themselves against `Translator`."""

import json

import keras
import numpy as np
import pytest
from questions import OPTIONS, TEXTS, assert_same_nbest

from keras_attn_nmt import ModelConfig, Translator, build_model
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export import (
    TFLiteTranslator,
    export_saved_model,
    export_tflite,
    saved_model,
)
from keras_attn_nmt.model_directory import SHORTLIST, ModelFiles, load_model, save_model

pytestmark = pytest.mark.slow  # Of the fast tests, test_hand_built.py exports an LSTM.

# Choices of a model that `model_directory` has not made, in as few exports as hold them.
LSTM = "lstm_luong_maxout_one_direction_two_layers_shortlist"
VARIANTS = {
    LSTM: {
        "cell": "lstm",
        "attention": "luong",
        "readout": "maxout",
        "tie_target_embeddings": False,
        "layer_normalization": False,
        "bidirectional": False,
        "encoder_layers": 2,
    },
    # Built as the model of a training in mixed precision.
    "papers_cell_fixed_vector_source_twice_mixed_bfloat16": {
        "reset_after": False,
        "attention": "none",
        "source_order": "twice",
    },
}


@pytest.fixture
def variant(request, model_directory, tmp_path_factory):
    trained = load_model(model_directory)
    config = ModelConfig(
        trained.source_tokenizer.vocabulary_size,
        trained.target_tokenizer.vocabulary_size,
        embedding_units=6,
        encoder_units=5,
        decoder_units=7,
        attention_units=4,
        readout_units=4,
        **VARIANTS[request.param],
    )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if "mixed" in request.param else "float32")
    try:
        model = build_model(config)
    finally:
        keras.config.set_dtype_policy(policy)
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    directory = tmp_path_factory.mktemp("variant") / "model"
    save_model(
        directory,
        ModelFiles(model, config, trained.source_tokenizer, trained.target_tokenizer),
    )
    if "shortlist" in request.param:
        sizes = config.source_vocabulary_size, config.target_vocabulary_size
        candidates = generator.integers(4, sizes[1], (sizes[0], 3)).astype("int32")
        shortlist = Shortlist(candidates, np.array([5, 9], "int32"))
        shortlist.save(directory / SHORTLIST, trained.source_tokenizer, trained.target_tokenizer)
    return directory


@pytest.fixture
def wanted(monkeypatch):
    """What an export compares its SavedModel with."""
    kept = {}
    expected = saved_model._expected
    monkeypatch.setattr(
        saved_model, "_expected", lambda *given: kept.update(expected(*given)) or kept
    )
    return kept


@pytest.mark.usefixtures("checked_here")
@pytest.mark.parametrize("variant", VARIANTS, indirect=True)
def test_both_exports_verify_against_translator(variant, wanted, tmp_path):
    # They ask all that they have written, and raise where an answer is not that of the model.
    shortlist = (variant / SHORTLIST).exists()
    # Without attention, there is no coverage penalty.
    weight = 0.4 if shortlist else 0.0
    # The fast tests export the model of this folder with constraints.
    constraints = not shortlist
    version = export_saved_model(
        variant,
        tmp_path / "served",
        **OPTIONS,
        coverage_penalty=weight,
        shortlist=shortlist,
        constraints=constraints,
    )
    metadata = json.loads((version / saved_model.METADATA).read_text())
    assert (metadata["shortlist"], metadata["models"]) == (shortlist, 1)
    has_attention = Translator.load(variant).has_attention
    assert metadata["has_attention"] is has_attention
    translations = wanted["nbest"]["translation"]
    # Not only empty results, which would be compared with empty ones.
    assert len(set(translations[:, 0])) > 1
    assert not constraints or sum(map(bool, wanted["constraints"])) > 2
    path = export_tflite(
        variant,
        tmp_path / "small.tflite",
        beam_size=OPTIONS["beam_size"],
        length_penalty=OPTIONS["length_penalty"],
        coverage_penalty=weight,
        diversity_penalty=0.3,
        max_source_length=32,
        max_target_length=OPTIONS["max_length"],
    )
    device = TFLiteTranslator(path)
    assert device.has_attention is has_attention
    assert (device.search.coverage_penalty, device.search.diversity_penalty) == (weight, 0.3)
    assert len({each.text for row in device.nbest(TEXTS) for each in row}) > 2
    # Options other than those of the file run its steps one by one.
    translator = Translator.load(variant)
    stored = {**OPTIONS, "coverage_penalty": weight, "diversity_penalty": 0.3}
    for options in ({}, {"beam_size": 2}, {"coverage_penalty": 0.0}):
        wanted = translator.nbest(TEXTS, **{**stored, **options})
        assert_same_nbest(device.nbest(TEXTS, **options), wanted)


@pytest.mark.usefixtures("checked_here")
@pytest.mark.parametrize("variant", [LSTM], indirect=True)
def test_two_kinds_of_models_are_exported_together(variant, model_directory, wanted, tmp_path):
    version = export_saved_model(
        variant,
        tmp_path,
        **OPTIONS,
        ensemble=[model_directory],
        coverage_penalty=0.4,
        shortlist=True,
        constraints=True,
    )
    metadata = json.loads((version / saved_model.METADATA).read_text())
    assert (metadata["models"], metadata["has_attention"]) == (2, True)
    assert len(set(wanted["nbest"]["translation"][:, 0])) > 1
    assert sum(map(bool, wanted["constraints"])) > 2
