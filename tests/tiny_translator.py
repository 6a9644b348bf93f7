"""A small model with random weights, and texts for it."""

import numpy as np

from keras_attn_nmt import model_directory
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.model import build_model
from keras_attn_nmt.text.tokenizer import Tokenizer

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "   ", "日本 🙂", "ein Haus"]


def tiny_files(settings: dict | None = None) -> model_directory.ModelFiles:
    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)
    config = ModelConfig(
        tokenizer.vocabulary_size,
        tokenizer.vocabulary_size,
        embedding_units=6,
        encoder_units=5,
        decoder_units=7,
        attention_units=4,
        **(settings or {}),
    )
    model = build_model(config)
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model_directory.ModelFiles(model, config, tokenizer, tokenizer)
