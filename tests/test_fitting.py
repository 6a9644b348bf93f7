"""Texts that are too long are cut where a reader would, and their links stay those of the line."""

import numpy as np
import pytest

from keras_attn_nmt.results import alignment_row
from keras_attn_nmt.text.fitting import pieces_that_fit
from keras_attn_nmt.text.paragraphs import Paragraph
from keras_attn_nmt.translation import Translation


class Characters:
    """A tokeniser whose tokens are characters."""

    def encode(self, texts):
        return [list(text) for text in texts]


def pieces(text, limit):
    return [text[start:end] for start, end in pieces_that_fit(Characters(), text, limit)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Der Preis stieg um 3.5 Prozent auf neun", ["Der Preis stieg um", "3.5 Prozent auf neun"]),
        ("Es kamen rund 12,000 Menschen her", ["Es kamen rund", "12,000 Menschen her"]),
        ("siehe auch https://a.de/b.html dort", ["siehe auch", "https://a.de/b.html dort"]),
        ("Das ist es. Es war so, wie es war", ["Das ist es.", "Es war so, wie es war"]),
        ("今天天气很好。我们去公园玩了吧", ["今天天气很好。", "我们去公园玩了吧"]),
        ("今天天气很好…我们去公园玩了吧", ["今天天气很好…", "我们去公园玩了吧"]),
        ("今天天气好吗?我们去公园玩了吧", ["今天天气好吗?", "我们去公园玩了吧"]),
    ],
)
def test_cuts_are_between_sentences_clauses_or_words(text, wanted):
    assert pieces(text, 25 if text.isascii() else 12) == wanted


def translated(words, links):
    """A translation whose attention links words one to one."""
    tokens = [f"▁{word}" for word in words.split()]
    attention = np.zeros((len(tokens) + 1, len(links) + 1), "float32")
    for target, source in enumerate(links):
        attention[target, source] = 1
    sources = [*(f"▁w{number}" for number in range(len(links))), "</s>"]
    scores = np.zeros(len(tokens) + 1, "float32")
    return Translation(words, 0.0, sources, [*tokens, "</s>"], scores, attention)


@pytest.mark.parametrize(
    ("source", "parts", "text", "wanted"),
    [
        ("ab cd ef", ["ab cd", "ef"], "x y z", "0-0 1-1 2-2"),
        # Words are separated by plain spaces, as in a line that is not divided.
        ("ab cd\u3000ef", ["ab cd", "ef"], "x y\u3000z", "0-0 1-1"),
        # The second piece goes on in the word of the first.
        ("ab cd.ef", ["ab cd.", "ef"], "x y z", "0-0 1-1 1-2"),
        # The pieces of one word without spaces, whose translations are joined without one, too.
        ("今天。我们", ["今天。", "我们"], "今日。私", "0-0"),
    ],
)
def test_links_of_pieces_are_those_of_the_line(source, parts, text, wanted):
    words = text.split() if " " in text else ["今日。", "私"]
    halves = len(parts[0].split())
    first = translated(" ".join(words[:halves]), list(range(halves)))
    second = translated(" ".join(words[halves:]), [0])
    found = Paragraph(text, parts, [first, second])
    assert alignment_row(source, found) == wanted
    assert alignment_row(parts[0], first) == " ".join(f"{i}-{i}" for i in range(halves))
