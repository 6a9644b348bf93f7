"""A small model with random weights."""

from pathlib import Path

import numpy as np
import pytest

from keras_attn_nmt import model_directory
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.model import build_model
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translator import Translator


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)
    size = tokenizer.vocabulary_size
    config = ModelConfig(
        size, size, embedding_units=6, encoder_units=5, decoder_units=7, attention_units=4
    )
    network = build_model(config)
    generator = np.random.default_rng(1)
    network.set_weights([generator.normal(size=w.shape) * 0.5 for w in network.get_weights()])
    directory = tmp_path_factory.mktemp("cli") / "model"
    model_directory.save_model(directory, ModelFiles(network, config, tokenizer, tokenizer))
    return str(directory)


@pytest.fixture(scope="session")
def loaded():
    """Models that are loaded already, by directory and the time of its configuration."""
    return {}


@pytest.fixture(autouse=True)
def load_once(loaded, monkeypatch):
    """Commands share a loaded model, whose search is traced once, until its files change."""
    load = Translator.load

    def load_or_reuse(directory, ensemble=()):
        path = Path(directory, model_directory.CONFIG)
        time = path.stat().st_mtime_ns if path.is_file() else None
        key = str(directory), time, *map(str, ensemble)
        if key not in loaded:
            loaded[key] = load(directory, ensemble)
        return loaded[key]

    monkeypatch.setattr(Translator, "load", load_or_reuse)
