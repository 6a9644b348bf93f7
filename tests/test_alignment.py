"""Word alignments from attention, and the alignment error rate."""

import numpy as np
import pytest

from keras_attn_nmt.text import alignment
from keras_attn_nmt.text.alignment import GoldAlignment
from keras_attn_nmt.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["▁ein", "und", "vierzig", "▁Jahre", "</s>"], [0, 0, 0, 1, -1]),
        (["▁", "ein", "▁▁", "Haus", "</s>"], [0, 0, 1, 1, -1]),
        (["▁ein", "▁", "</s>"], [0, -1, -1]),
        (["▁", "<0xE6>", "<0x97>", "<0xA5>", "▁x", "</s>"], [0, 0, 0, 0, 1, -1]),
        (["▁x▁", "y"], [0, 1]),
        (["</s>"], [-1]),
        ([], []),
    ],
)
def test_tokens_map_to_words(tokens, words):
    assert alignment.word_of_tokens(tokens) == words


def test_words_are_separated_by_spaces():
    texts = ["ein Haus", "  zwei  Häuser ", "am 日本 See", "x\ty z", "12 345", "a▁b  ▁ c"]
    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser 12"], 300)
    for text, ids in zip(texts, tokenizer.encode(texts), strict=True):
        words = alignment.word_of_tokens(tokenizer.pieces([*ids, 2]))
        assert max(words) + 1 == len(alignment.split_words(text))
    assert alignment.split_words(texts[-1]) == ["a", "b", "c"]


def test_weights_are_summed_over_the_source_and_averaged_over_the_target():
    attention = [[0.1, 0.2, 0.6, 0.1], [0.3, 0.2, 0.4, 0.1], [0.0, 0.1, 0.1, 0.8]]
    folded = alignment.fold_attention(
        attention, ["▁ein", "und", "▁Haus", "</s>"], ["▁a", "nd", "</s>"]
    )
    np.testing.assert_allclose(folded, [[0.4, 0.5]], atol=1e-6)


def test_mismatched_attention_shape_is_rejected():
    with pytest.raises(ValueError, match=r"\(2, 1\) does not fit 1 target and 2 source tokens"):
        alignment.fold_attention(np.zeros((2, 1)), ["▁a", "</s>"], ["</s>"])


def test_target_word_is_aligned_to_its_largest_weight():
    weights = [[0.2, 0.7], [0.5, 0.4], [0.0, 0.0]]
    assert alignment.hard_alignment(weights) == {(1, 0), (0, 1)}
    assert alignment.hard_alignment(np.zeros((2, 0))) == set()


def test_pharaoh_format():
    assert alignment.format_pharaoh({(2, 1), (0, 0), (1, 1)}) == "0-0 1-1 2-1"
    gold = alignment.parse_pharaoh("0-0 2p1 3?1\n")
    assert gold == GoldAlignment({(0, 0)}, {(0, 0), (2, 1), (3, 1)})
    assert alignment.parse_pharaoh("") == GoldAlignment(set(), set())
    with pytest.raises(ValueError, match="'٣-٣' is not a link"):  # TensorFlow reads ASCII digits.
        alignment.parse_pharaoh("0-0 ٣-٣")
    with pytest.raises(ValueError, match="'0:1' is not a link"):
        alignment.parse_pharaoh("0-0 0:1")


def test_error_rate_matches_och_and_ney():
    gold = [alignment.parse_pharaoh("0-0 1p1"), alignment.parse_pharaoh("0-1")]
    # Of three links one is sure and two are possible; there are two sure ones.
    found = [{(0, 0), (1, 1)}, {(1, 1)}]
    assert alignment.alignment_error_rate(found, gold) == pytest.approx(1 - (1 + 2) / (3 + 2))
    assert alignment.alignment_error_rate([{(0, 0)}, {(0, 1)}], gold) == 0
    with pytest.raises(ValueError, match="neither predicted nor sure links"):
        alignment.alignment_error_rate([set()], [alignment.parse_pharaoh("1p1")])
    with pytest.raises(ValueError, match="gold alignment has no links"):
        alignment.alignment_error_rate([{(0, 0)}], [GoldAlignment(set(), set())])


def test_links_to_missing_words_are_rejected():
    alignment.check_links(alignment.parse_pharaoh("1-0 0p1"), "ein  Haus", "a house")
    with pytest.raises(ValueError, match=r"gold: link 2-1 .* 2 source and 2 target words"):
        alignment.check_links(alignment.parse_pharaoh("1-1 2-1"), "ein Haus", "a house", "gold")
