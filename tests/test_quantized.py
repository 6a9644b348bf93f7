"""Models after `model.quantize`: what multiplies by the kernel of a layer itself uses its scale."""

import keras
import numpy as np
import pytest
from layer_checks import fewer_on_jax, slow_on_jax
from tiny_translator import tiny_files

from keras_attn_nmt import Translator, model_directory
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.layers.dense import kernel_of

# Layers without weights to quantise, each of which Keras names.
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")


@pytest.mark.parametrize("use_bias", [False, True])
def test_kernel_is_the_one_that_is_computed_with(use_bias, rng):
    layer = keras.layers.Dense(3, use_bias=use_bias, bias_initializer="ones")
    layer.build((None, 5))
    before = keras.ops.convert_to_numpy(kernel_of(layer))
    layer.quantize("int8")
    assert layer.kernel.dtype == "int8"
    after = keras.ops.convert_to_numpy(kernel_of(layer))
    np.testing.assert_allclose(after, before, atol=np.abs(before).max() / 100)


@pytest.fixture
def files(tied):
    return tiny_files({"tie_target_embeddings": tied, "layer_normalization": False})


of_both_kinds = pytest.mark.parametrize("tied", fewer_on_jax([False, True]))


INPUTS = {"source": np.array([[5, 6, 7, 2]]), "target": np.array([[1, 8, 9, 10]])}


@slow_on_jax
@of_both_kinds
def test_quantized_model_is_near_the_model(files):
    before = files.model(INPUTS)
    files.model.quantize("int8")
    after = files.model(INPUTS)
    for name, values in before.items():
        values, found = map(keras.ops.convert_to_numpy, (values, after[name]))
        np.testing.assert_allclose(found, values, atol=0.05 * np.abs(values).max(), err_msg=name)


@slow_on_jax
@of_both_kinds
def test_shortlist_of_all_pieces_gives_the_logits_of_the_quantized_model(files):
    files.model.quantize("int8")
    decoder = IncrementalDecoder(files.model)
    memory, state = decoder.encode(INPUTS["source"])
    tokens, ids = np.array([[1]]), np.arange(files.config.target_vocabulary_size)
    logits, *_ = decoder.step(tokens, state, memory)
    chosen, *_ = decoder.step(tokens, state, memory, decoder.output_weights(ids))
    chosen, logits = map(keras.ops.convert_to_numpy, (chosen, logits))
    np.testing.assert_allclose(chosen, logits, atol=1e-2 * np.abs(logits).max())


@pytest.mark.parametrize("tied", [True])
def test_quantized_model_is_not_saved_as_a_directory_that_cannot_be_loaded(files, tmp_path):
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    files.model.quantize("int8")
    for config in (files.config, None):  # None: built by hand.
        with pytest.raises(ValueError, match=r"changed by model\.quantize, .* save it before"):
            model_directory.save_model(tmp_path / "model", files._replace(config=config))
    assert not (tmp_path / "model").exists()
    # What was traced before would read the former weights.
    with pytest.raises(RuntimeError, match=r"other weights than .* make a new Translator"):
        translator(["ein Haus"])
