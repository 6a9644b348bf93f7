"""The mask of `Embedding(mask_zero=True)` reaches encoder, decoder and attention."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from layer_checks import slow_on_jax

from keras_attn_nmt import AttentionDecoder, BahdanauAttention, BidirectionalEncoder

SOURCE = np.array([[5, 3, 4, 0, 0], [2, 6, 7, 8, 9]])
TARGET = np.array([[1, 5, 6], [1, 7, 0]])


def layers(mask_zero: bool) -> list[keras.layers.Layer]:
    keras.utils.set_random_seed(1)
    return [
        keras.layers.Embedding(12, 4, mask_zero=mask_zero),
        BidirectionalEncoder(3),
        keras.layers.Dropout(0.1),
        keras.layers.Embedding(12, 4, mask_zero=mask_zero),
        AttentionDecoder(5, attention_units=4),
    ]


def decoded(parts: list[keras.layers.Layer], source: Any, target: Any, **mask: Any) -> list[Any]:
    source_embedding, encoder, dropout, target_embedding, decoder = parts
    annotations, vector = encoder(source_embedding(source), **mask)
    return decoder(target_embedding(target), dropout(annotations), vector, **mask)


@slow_on_jax
def test_implicit_mask_equals_explicit_mask() -> None:
    source, target = (keras.ops.convert_to_tensor(ids) for ids in (SOURCE, TARGET))
    wanted = decoded(layers(mask_zero=False), source, target, mask=source != 0)
    got = decoded(layers(mask_zero=True), source, target)
    for got_output, wanted_output in zip(got, wanted, strict=True):
        np.testing.assert_allclose(
            *(keras.ops.convert_to_numpy(each) for each in (got_output, wanted_output)), atol=1e-6
        )
    attention = keras.ops.convert_to_numpy(got[3])
    assert not attention[0, :, 3:].any()
    np.testing.assert_allclose(attention.sum(axis=-1), 1, atol=1e-5)


@slow_on_jax
def test_encoder_propagates_an_explicit_mask() -> None:
    source_embedding, encoder, *_ = layers(mask_zero=False)
    source = keras.ops.convert_to_tensor(SOURCE)
    embedded = source_embedding(source)
    annotations, vector = encoder(embedded, mask=source != 0)
    attention = AttentionDecoder(5, attention_units=4)(embedded, annotations, vector)[3]
    assert not keras.ops.convert_to_numpy(attention)[0, :, 3:].any()
    # Keras would not carry on one without its name.
    with pytest.raises(TypeError, match="positional"):
        encoder(embedded, source != 0)


@slow_on_jax
def test_functional_model_keeps_the_mask(tmp_path: Path) -> None:
    inputs = [keras.Input((None,), dtype="int32") for _ in range(2)]
    model = keras.Model(inputs, decoded(layers(mask_zero=True), *inputs)[3])
    model.save(tmp_path / "model.keras")
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        attention = each.predict([SOURCE, TARGET], verbose=0)
        assert not attention[0, :, 3:].any()


def test_attention_layer_uses_the_implicit_mask() -> None:
    annotations = keras.layers.Embedding(12, 4, mask_zero=True)(keras.ops.convert_to_tensor(SOURCE))
    _, weights = BahdanauAttention(4)(keras.ops.ones((2, 3)), annotations)
    assert not keras.ops.convert_to_numpy(weights)[0, 3:].any()


@pytest.mark.parametrize("units", [0, -3, 2.5, True])
def test_units_are_whole_numbers(units: Any) -> None:
    message = "must be a whole number of at least 1"
    for make in (
        BidirectionalEncoder,
        AttentionDecoder,
        BahdanauAttention,
        lambda units: AttentionDecoder(4, attention_units=units),
        lambda units: BidirectionalEncoder(4, num_layers=units),
    ):
        with pytest.raises(ValueError, match=message):
            make(units)
    assert BahdanauAttention(np.int64(3)).units == 3
