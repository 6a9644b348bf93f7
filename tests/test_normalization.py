"""Equivalent spellings of a text have the same ids in every runtime."""

import gzip
import unicodedata
from pathlib import Path

import pytest
from texts import SENTENCES

from keras_attn_nmt.text.blank import BLANK, BLANK_PATTERN, is_blank
from keras_attn_nmt.text.tokenizer import NORMALIZATIONS, Tokenizer

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
VIETNAMESE = "Tiếng Việt có nhiều dấu: ở, ộ, ẵ, Ǘ."
KOREAN = "한국어 문장입니다."
TYPED = [
    ("fünf", "fu\u0308nf"),
    ("fünf", "fü\u00adn\u200bf\ufeff"),
    ("fünf", "\u2068fünf\u2069\u061c"),  # As around a value in right-to-left text.
    ("ệ ệ ệ ế", "e\u0302\u0323 e\u0323\u0302 ê\u0323 ê\u0301"),
    ("Å K Ω", "\u212b \u212a \u2126"),
    (VIETNAMESE, unicodedata.normalize("NFD", VIETNAMESE)),
    (KOREAN, unicodedata.normalize("NFD", KOREAN)),
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn([*SENTENCES, VIETNAMESE, KOREAN], 400)


@pytest.mark.parametrize(("composed", "typed"), TYPED)
def test_equivalent_spellings_normalize_equally(
    tokenizer: Tokenizer, composed: str, typed: str
) -> None:
    (wanted,) = tokenizer.encode([composed])
    assert tokenizer.encode([typed]) == [wanted]
    assert tokenizer.tf_tokenizer().tokenize([typed]).to_list() == [wanted]
    assert tokenizer.decode([wanted]) == [composed]


def test_meaningful_joiners_are_kept(tokenizer: Tokenizer) -> None:
    texts = ["می\u200cخواهم", "👨\u200d👩\u200d👧"]
    assert tokenizer.decode(tokenizer.encode(texts)) == texts


def test_hangul_rules_only_for_korean_vocabularies() -> None:
    small, large = (Tokenizer.learn(texts, 400) for texts in (SENTENCES, [*SENTENCES, KOREAN]))
    assert len(large.model_proto) > len(small.model_proto) + 100_000
    assert b"/" not in small.model_proto[-200:]  # No temporary file is named.
    assert Tokenizer.learn(SENTENCES, 400).digest == small.digest


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizations(normalization: str) -> None:
    tokenizer = Tokenizer.learn(SENTENCES, 340, normalization=normalization)
    texts = ["fu\u0308nf", "ﬁ", "a\u00adb"]
    wanted = {
        "identity": texts,
        "nfc": ["fünf", "ﬁ", "ab"],
        "nmt_nfkc": ["fünf", "fi", "a\u00adb"],
    }
    assert tokenizer.decode(tokenizer.encode(texts)) == wanted[normalization]


@pytest.mark.parametrize("name", ["multi30k/train.de", "multi30k/train.fr", "tanaka_enja/train.ja"])
def test_decomposed_text_equals_composed(name: str) -> None:
    path = DATA / name
    packed = path.with_name(path.name + ".gz")
    if not (path.is_file() or packed.is_file()):
        pytest.skip(f"needs {name} next to the checkout")
    data = path.read_bytes() if path.is_file() else gzip.decompress(packed.read_bytes())
    lines = data.decode().splitlines()[:3000]
    tokenizer = Tokenizer.learn(lines, 4000)
    decomposed = [unicodedata.normalize("NFD", line) for line in lines]
    assert tokenizer.encode(decomposed) == tokenizer.encode(lines)


def test_blank_is_equal_in_python_and_tensorflow() -> None:
    import tensorflow as tf

    characters = list(map(chr, [*range(0x3100), 0xFEFF, 0xFFFD]))
    found = tf.strings.regex_full_match(characters, BLANK_PATTERN).numpy().tolist()
    assert found == [is_blank(each) for each in characters]
    assert set(BLANK) >= set("\x0b\x1c\x85\xa0\u3000\u200b\ufeff")
    assert not set("\0\u200d_") & set(BLANK)
    assert is_blank("")


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_digits_of_all_scripts_are_separate_pieces(model_type: str) -> None:
    numbers = ["34", "٣٤", "३४", "３４"]
    texts = [f"in {number} Jahren {number}a" for number in numbers] * 20
    tokenizer = Tokenizer.learn(texts, 400, model_type=model_type)
    for ids, number in zip(tokenizer.encode(numbers), numbers, strict=True):
        assert [piece for piece in tokenizer.pieces(ids) if piece != "▁"] == list(number)


def test_texts_skipped_by_sentencepiece_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    Tokenizer.learn([*SENTENCES, "a \u2585 b", "c\u2585"], 400)
    assert "2 of 6 texts with the character U+2585" in caplog.text
