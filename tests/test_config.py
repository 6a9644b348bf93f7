"""ModelConfig: validation, error messages and JSON."""

import dataclasses
import json
from typing import Any

import pytest

from keras_attn_nmt.config import ModelConfig


def config(**kwargs: Any) -> ModelConfig:
    return ModelConfig(**{"source_vocabulary_size": 20, "target_vocabulary_size": 30, **kwargs})


def test_json_round_trip() -> None:
    original = config(
        cell="lstm", attention="none", source_order="twice", readout_dropout=0.25, encoder_layers=3
    )
    assert ModelConfig.from_json(original.to_json()) == original
    assert json.loads(original.to_json()) == dataclasses.asdict(original)


def test_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        config().cell = "lstm"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cell", "rnn"),
        ("attention", "local"),
        ("attention", None),
        ("readout", "linear"),
        ("source_order", "backward"),
        ("initializer", "he"),
        ("embedding_units", 0),
        ("encoder_units", -1),
        ("decoder_units", 2.5),
        ("attention_units", "512"),
        ("readout_units", True),
        ("encoder_layers", 0),
        ("source_vocabulary_size", 4),
        ("target_vocabulary_size", None),
        ("embedding_dropout", 1.0),
        ("annotation_dropout", -0.1),
        ("readout_dropout", "0.1"),
        ("bidirectional", "yes"),
        ("reset_after", 1),
        ("layer_normalization", None),
    ],
)
def test_invalid_value_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name) as error:
        config(**{name: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("order", ["reversed", "twice"])
def test_order_needs_a_model_without_attention(order: str) -> None:
    with pytest.raises(ValueError, match="source_order"):
        config(source_order=order)
    assert config(source_order=order, attention="none").source_order == order


def test_query_options_require_attention() -> None:
    with pytest.raises(ValueError, match="query_previous_token"):
        config(attention="none", query_previous_token=True)


def test_maxout_cannot_be_tied() -> None:
    with pytest.raises(ValueError, match="tie_target_embeddings"):
        config(readout="maxout")
    assert config(readout="maxout", tie_target_embeddings=False).readout == "maxout"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON"),
        ("[1]", "list"),
        ("{}", "source_vocabulary_size"),
        ('{"source_vocabulary_size": 20}', "target_vocabulary_size"),
        (
            '{"source_vocabulary_size": 20, "target_vocabulary_size": 20, "encoder_unit": 8}',
            "Did you mean 'encoder_units'",
        ),
    ],
)
def test_invalid_json(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_json(text)
