"""Examples in docstrings run and give the shown results."""

import doctest
import importlib

import keras
import pytest

import keras_attn_nmt

# Examples of `Translator`, `TFLiteTranslator` and `TranslationClient` need a trained model.
MODULES = (
    *("layers.attention", "layers.decoder", "layers.encoder", "layers.losses", "layers.readout"),
    *("text.alignment", "text.markup", "text.pieces", "text.protection", "text.tokenizer"),
    *("text.words", "plots"),
)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"keras_attn_nmt.{name}")
    names = {each: getattr(keras_attn_nmt, each) for each in keras_attn_nmt.__all__}
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, tried = doctest.testmod(
        module, extraglobs={"keras": keras, **names}, optionflags=options
    )
    assert tried
    assert not failed
