"""Unexpected input has the same result in all runtimes (docs/bad-input.md)."""

import re

import numpy as np
import pytest
from questions import GREEDY, OPTIONS

from keras_attn_nmt.export import TFLiteTranslator, TranslationClient, tflite_check
from keras_attn_nmt.translation import TextTooLong

STRANGE = [
    "",
    " \t\u3000",
    "xyzzy",
    "🙂🙃 👩‍👩‍👧",
    "שלום עולם",
    "مرحبا",
    "日本語",
    "a\tb\nc\x00d",
    "\ufffd",
    "e\u0301 \u200b",
    "",
    "ein Haus",
]
TOO_LONG = "Häuser " * 1428 + "Haus"  # 10,000 characters


@pytest.fixture(scope="module")
def client(double):
    with TranslationClient(double.grpc_address, "small") as client:
        yield client


@pytest.fixture(scope="module")
def on_device(device_file):
    return TFLiteTranslator(device_file)


@pytest.fixture(scope="module")
def with_text(device_file_with_text):
    return tflite_check.TextRunner(device_file_with_text)


def assert_same(found, expected, decoded_by_sentencepiece=True):
    for got, wanted in zip(found, expected, strict=True):
        if decoded_by_sentencepiece:
            assert got.text == wanted.text
        else:  # Python writes one replacement character for several bytes of half a character.
            assert re.sub("\ufffd+", "\ufffd", got.text) == re.sub("\ufffd+", "\ufffd", wanted.text)
        assert got.source_tokens == wanted.source_tokens
        assert got.target_tokens == wanted.target_tokens
        np.testing.assert_allclose(got.score, wanted.score, atol=1e-4, err_msg=repr(wanted))
        np.testing.assert_allclose(got.attention, wanted.attention, atol=1e-4)


def test_unusual_texts_have_equal_results_in_all_runtimes(translator, client, on_device, with_text):
    beams = translator(STRANGE, **OPTIONS)
    assert_same(client(STRANGE), beams)
    assert_same(on_device(STRANGE, **OPTIONS), beams)
    greedy = translator(STRANGE, **GREEDY)
    assert_same(on_device(STRANGE, **GREEDY), greedy)
    # TF Text's tokeniser has no NUL, and no white space but that of the vocabulary.
    known = [text for text in STRANGE if "\u3000" not in text and "\x00" not in text]
    assert_same(
        [with_text(text) for text in known],
        [found for text, found in zip(STRANGE, greedy, strict=True) if text in known],
        decoded_by_sentencepiece=False,
    )


def test_blank_texts_have_empty_translations(translator, client, on_device):
    for translate in (translator, client, on_device):
        # 400 have more bytes, which are tokens, than a text may.
        for found in translate(["", " \t\u3000", "\u3000" * 400]):
            assert (found.text, found.score, found.target_tokens) == ("", 0.0, [])


def test_empty_list_gives_no_translations(translator, client, on_device):
    assert translator([]) == client([]) == on_device([]) == []


def test_saved_model_accepts_an_empty_batch(session_model):
    for name, signature in session_model.signatures.items():
        for answer in session_model.run(name, {each: [] for each in signature.inputs}).values():
            assert answer.shape[0] == 0, name


def test_too_long_text_is_named_in_all_runtimes(translator, client, on_device, with_text):
    for translate in (translator, client, on_device):
        with pytest.raises(TextTooLong, match="Text 2 has"):
            translate(["ein Haus", TOO_LONG])
    assert (with_text(TOO_LONG).text, with_text(TOO_LONG).score) == ("", -1e9)
    assert_same([with_text("ein Haus")], translator(["ein Haus"], **GREEDY))


def test_invalid_utf8_is_read_as_replacement_characters(translator, session_model):
    answers = session_model.run("serving_default", {"text": [b"ein\xff", b"\xe2\x96"]})
    wanted = translator(["ein\ufffd", "\ufffd"], **OPTIONS)
    texts = [text.decode() for text in answers["translation"]]
    assert texts == [each.text for each in wanted]
