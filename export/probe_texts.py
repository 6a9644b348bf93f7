"""Probe texts for verification, generated from the vocabulary of a model."""

from __future__ import annotations

import random

from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer

LENGTHS = (1, 2, 4, 8, 16, 24)
UNUSUAL = ("", "  ", "?", "🙂 שלום")


def probe_texts(tokenizer: Tokenizer) -> list[str]:
    """Deterministic probe texts: random pieces and words of the vocabulary, and edge cases."""
    generator = random.Random(0)
    written, words = [], []
    for number in range(UNK + 1, tokenizer.vocabulary_size):
        text, piece = tokenizer.decode([[number]])[0], tokenizer.pieces([number])[0]
        # Byte pieces are part of characters.
        if not is_blank(text) and not piece.startswith("<0x"):
            written.append(number)
            if piece.startswith("▁") and len(text) > 2 and text.isalpha():
                words.append(number)
    result = [
        tokenizer.decode([generator.choices(written, k=length)])[0] for length in LENGTHS if written
    ]
    if words:  # A readable one, for examples in the README.
        result.append(tokenizer.decode([generator.choices(words, k=3)])[0])
    return [*result, *UNUSUAL]
