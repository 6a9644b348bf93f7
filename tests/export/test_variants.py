"""Every kind of model exports; both exports compare themselves with the `Translator` as they do."""

import keras
import numpy as np
import pytest
from questions import OPTIONS, TEXTS

from keras_attn_nmt import ModelConfig, Translator, build_model
from keras_attn_nmt.export import TFLiteTranslator, export_saved_model, export_tflite
from keras_attn_nmt.model_directory import ModelFiles

# Choices of a model that `model_directory` has not made, in as few exports as hold them.
VARIANTS = {
    "lstm_luong_maxout_one_direction_two_layers": {
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


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request, model_directory, tmp_path_factory):
    trained = model_directory.load_model(model_directory)
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
    model_directory.save_model(
        directory,
        ModelFiles(model, config, trained.source_tokenizer, trained.target_tokenizer),
    )
    return directory


@pytest.mark.usefixtures("checked_here")
def test_both_exports_translate_as_the_translator(variant, tmp_path):
    # They ask all that they have written, and raise where an answer is not that of the model.
    export_saved_model(variant, tmp_path / "served", **OPTIONS)
    path = export_tflite(
        variant,
        tmp_path / "small.tflite",
        beam_size=OPTIONS["beam_size"],
        length_penalty=OPTIONS["length_penalty"],
        max_source_length=32,
        max_target_length=OPTIONS["max_length"],
    )
    translator = Translator.load(variant)
    for beam_size in (1, OPTIONS["beam_size"]):
        options = {**OPTIONS, "beam_size": beam_size}
        found = TFLiteTranslator(path)(TEXTS, beam_size=beam_size)
        for got, expected in zip(found, translator(TEXTS, **options), strict=True):
            assert got.text == expected.text
            np.testing.assert_allclose(got.score, expected.score, atol=1e-4)
            np.testing.assert_allclose(got.attention, expected.attention, atol=1e-4)
