"""Translations word by word."""

import numpy as np

from keras_attn_nmt.text.words import word_spans
from keras_attn_nmt.translation import Translation


def pieces(text):
    """A piece for each word and punctuation mark."""
    starts = [start for start, _ in word_spans(text)]
    ends = [*starts[1:], len(text)][: len(starts)]
    words = [text[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    spaced = [start == 0 or text[start - 1] == " " for start in starts]
    return ["▁" * each + word for each, word in zip(spaced, words, strict=True)] + ["</s>"]


def translation(source, target, links):
    """A translation word by word: target word `j` attends to source word `links[j]`."""
    sides = [pieces(source), pieces(target)]
    attention = np.full((len(sides[1]), len(sides[0])), 0.1 / len(sides[0]))
    for row, column in enumerate([*links, len(sides[0]) - 1]):
        attention[row, column] += 0.9
    return Translation(target, 0.0, *sides, np.zeros(len(sides[1])), attention)
