"""Words and pieces as parts of a text."""

import numpy as np
import pytest

from keras_attn_nmt.text.alignment import word_of_tokens
from keras_attn_nmt.text.words import links_of_texts, piece_spans, word_spans
from keras_attn_nmt.translation import Translation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी भाषा।", ["हिन्दी", "भाषा", "।"]),
        ("l'été, 1 000.5 %...", ["l'été", ",", "1", "000.5", "%", "..."]),
        ("👩‍🚀 fliegt", ["👩‍🚀", "fliegt"]),
        ("", []),
        ("տեսնո՞ւմ ես, այո՛։", ["տեսնո՞ւմ", "ես", ",", "այո", "՛", "։"]),
        ("צה״ל וג׳ירפה בית־ספר", ["צה״ל", "וג׳ירפה", "בית", "־", "ספר"]),
        ("col·legi 3·4 卡·马", ["col·legi", "3", "·", "4", "卡", "·", "马"]),
    ],
)
def test_words_and_punctuation_marks(text, words):
    assert [text[start:end] for start, end in word_spans(text)] == words


def test_scripts_without_spaces_are_divided_at_pieces():
    text = "彼は本を読む。"
    spans = piece_spans(["▁", "彼は", "本", "を読む", "。", "</s>"], text)
    words = word_spans(text, (end for _, end in spans))
    assert [text[start:end] for start, end in words] == ["彼は", "本", "を読む", "。"]


@pytest.mark.parametrize("number", ["๓๓", "៣៣", "၃၃", "໓໓"])
def test_numbers_of_scripts_without_spaces_are_not_divided_at_pieces(number):
    text = f"บ้าน{number}หลัง"
    words = word_spans(text, [4, 5, 6])
    assert [text[start:end] for start, end in words] == ["บ้าน", number, "หลัง"]


@pytest.mark.parametrize(
    ("pieces", "text", "wanted"),
    [
        (["▁ein", "<0xC3>", "<0xA4>", "</s>"], "einä", ["ein", "", "ä", ""]),
        (["▁ü", "ber", "</s>"], "u\u0308ber", ["u\u0308", "ber", ""]),
        (["▁▁zwei", "▁", "</s>"], " zwei ", [" zwei", " ", ""]),
        (["▁a", "▁b"], "a  b", ["a", "  b"]),
    ],
)
def test_pieces_are_found_in_the_text(pieces, text, wanted):
    assert [text[start:end] for start, end in piece_spans(pieces, text)] == wanted


@pytest.mark.parametrize(
    ("source", "tokens", "wanted"),
    [
        # A no-break space, which the vocabulary reads as a space.
        (
            "10\u00a0000 euros ici",
            ["▁10", "▁000", "▁eu", "ros", "▁ici", "</s>"],
            {0: 0, 1: 0, 2: 1, 3: 2},
        ),
        ("10\u00a0000  ici", ["▁10", "▁000", "▁", "▁ici", "</s>"], {0: 0, 1: 0, 2: 1}),
        # A word that is several, of which one is in no place of the text.
        ("a ﷺ c", ["▁a", "▁sa", "▁Al", "▁c", "</s>"], {0: 0, 1: 1, 2: 1, 3: 2}),
        # Spaces that it leaves out.
        ("日 本 語", ["日本", "▁語", "</s>"], {0: 0, 1: 2}),
        ("a b", ["▁a", "▁b", "</s>"], {0: 0, 1: 1}),
        (" a  b ", ["▁a", "▁", "▁b", "</s>"], {0: 0, 1: 1}),
    ],
)
def test_links_are_those_of_the_words_of_the_texts(source, tokens, wanted):
    target = [f"▁w{place}" for place in wanted] + ["</s>"]
    words = word_of_tokens(tokens)
    attention = np.zeros((len(target), len(tokens)))
    for place in wanted:
        attention[place, words.index(place)] = 1
    found = Translation("", 0.0, tokens, target, np.zeros(len(target)), attention)
    links = links_of_texts(found, source, " ".join(f"w{place}" for place in wanted))
    assert links == {(word, place) for place, word in wanted.items()}
