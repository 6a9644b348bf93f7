"""A small corpus of random words."""

import random

import pytest
from batch_checks import Texts

from keras_attn_nmt.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def texts() -> Texts:
    """700 pairs of random words, some of them more than once."""
    generator = random.Random(0)
    words = ["ein", "zwei", "Haus", "Garten", "grün", "und", "Männer", "im", "Park"]

    def text() -> str:
        return " ".join(generator.choices(words, k=min(1 + int(generator.expovariate(0.2)), 22)))

    return [(text(), text()) for _ in range(700)]


@pytest.fixture(scope="session")
def tokenizer(texts: Texts) -> Tokenizer:
    return Tokenizer.learn([text for pair in texts for text in pair], 300)
