"""Texts to try a model with, made from its own vocabulary, as no data are at hand."""

from __future__ import annotations

import random

from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer

LENGTHS = (1, 2, 4, 8, 16, 24)
UNUSUAL = ("", "  ", "?", "🙂 שלום")


def texts(tokenizer: Tokenizer) -> list[str]:
    """The same texts each time: pieces of the vocabulary, of several lengths, and unusual ones."""
    generator = random.Random(0)
    written = []
    for number in range(UNK + 1, tokenizer.vocabulary_size):
        text = tokenizer.decode([[number]])[0]
        # Byte pieces are part of characters.
        if not is_blank(text) and not tokenizer.pieces([number])[0].startswith("<0x"):
            written.append(number)
    result = [
        tokenizer.decode([generator.choices(written, k=length)])[0] for length in LENGTHS if written
    ]
    return [*result, *UNUSUAL]
