"""Copied words of translations, and errors in worker processes."""

import dataclasses
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

from keras_attn_nmt.translation import MAX_SOURCE_LENGTH, TextTooLong, Translation, check_lengths

SEEN = Translation(
    text="in  \u2047  xö 1234,5 a 7.x",
    score=-1.0,
    source_tokens=["▁in", "▁", "<unk>", "▁L", "<0xC3>", "<0xB6>", "▁98.765", "▁5", "</s>"],
    target_tokens=["▁", "<unk>", "▁in", "▁x", "<0xC3>", "<0xB6>", "▁1234,5", "▁7", ".x", "</s>"],
    token_scores=np.zeros(10, "float32"),
    attention=np.eye(9, dtype="float32")[[2, 2, 0, 4, 4, 4, 6, 6, 6, 8]],
)


def test_rare_words_are_copied_by_attention():
    copied = SEEN.copying("in   Łódź Lö 98.765 5")
    assert copied.text == "Łódź in Lö 9876,5 7.x"
    assert copied.target_tokens == SEEN.target_tokens
    # SentencePiece takes its own sign in a text for a space.
    assert SEEN.copying("in▁Łódź Lö▁▁98.765 5").text == copied.text


def test_characters_resembling_a_byte_piece_are_text():
    literal = dataclasses.replace(
        SEEN,
        source_tokens=["▁5", "</s>"],
        target_tokens=["▁<0x41>", "▁<", "0x4", "1>", "▁7", "</s>"],
        token_scores=np.zeros(6, "float32"),
        attention=np.eye(2, dtype="float32")[[1, 1, 1, 1, 0, 1]],
    )
    assert literal.copying("5").text == "<0x41> <0x41> 5"


def test_known_words_are_not_copied():
    known = dataclasses.replace(SEEN, target_tokens=["▁a"] * 9 + ["</s>"])
    assert known.copying("in Łódź Lö 98.765 5") is known
    blind = dataclasses.replace(SEEN, attention=np.zeros((10, 9), "float32"))
    assert blind.copying("in Łódź Lö 98.765 5") is blind


def test_an_error_of_a_worker_process_reaches_the_parent_and_leaves_the_pool_running():
    short, long = [1] * 3, [1] * (MAX_SOURCE_LENGTH + 1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        refused = pool.submit(check_lengths, [short, long], "reference")
        accepted = pool.submit(check_lengths, [short], "text")
        with pytest.raises(
            TextTooLong, match=r"^Reference 2 has 1001 tokens, the limit is 1000: "
        ) as error:
            refused.result()
        assert accepted.result() == [short]
    raised = error.value
    assert (raised.index, raised.length, raised.limit, raised.kind) == (1, 1001, 1000, "reference")
