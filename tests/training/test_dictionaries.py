"""Pronunciation dictionaries: their forms, splits and error rates."""

import gzip

import pytest

from keras_attn_nmt.training import load_recipe
from keras_attn_nmt.training.corpora import decoded
from keras_attn_nmt.training.dictionaries import held_out_split, pronunciations, read_dictionary
from keras_attn_nmt.training.mix_recipe import mixed_corpora
from keras_attn_nmt.training.phone_errors import error_rates, phone_errors
from keras_attn_nmt.training.splits import load_split

CMUDICT = """;;; # CMUdict  --  Major Version: 0.07
!EXCLAMATION-POINT  EH2 K S
#HASH-MARK  HH AE1 SH
'EM  AH0 M
READ  R EH1 D
READ(1)  R IY1 D

d'artagnan D AH0 R # foreign french
(PAREN  P ER0
"""


def test_cmudict_is_read_as_it_is(tmp_path):
    path = tmp_path / "cmudict.gz"
    path.write_bytes(gzip.compress(CMUDICT.replace("\n", "\r\n").encode()))
    assert read_dictionary(path) == [
        ("!EXCLAMATION-POINT", "EH2 K S"),
        ("#HASH-MARK", "HH AE1 SH"),
        ("'EM", "AH0 M"),
        ("READ", "R EH1 D"),
        ("READ", "R IY1 D"),
        ("d'artagnan", "D AH0 R"),
        ("(PAREN", "P ER0"),
    ]


def test_latin_1_is_read_with_a_warning(tmp_path, caplog):
    path = tmp_path / "cmudict-0.7b"
    # The comment has what would be a letter in UTF-8.
    path.write_bytes(";;; «né\xa0»\nA  AH\nDÉJÀ  D EY\n".encode("latin-1"))
    assert read_dictionary(path)[1] == ("DÉJÀ", "D EY")
    assert "not UTF-8 (line 1)" in caplog.text


@pytest.mark.parametrize(
    "content",
    ["A  AH\nDÉJÀ  D EY\n".encode("utf-16"), "DÉJÀ  D EY\n".encode() + b"B\xff  B\n"],
    ids=["utf-16", "one bad byte"],
)
def test_damaged_utf_8_is_not_read_as_latin_1(tmp_path, content):
    path = tmp_path / "words.dict"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"line \d: not UTF-8; it looks like"):
        read_dictionary(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A  AH\nB\n", r"line 2: 'B' has no phones; expected WORD  P H O N E S"),
        ("A # AH\n", "line 1: 'A' has no phones"),
        (";;; nothing\n\n", "has no words"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "words.dict"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_dictionary(path)


def recipe(*overrides):
    return load_recipe("g2p", overrides)


def entries(data, split):
    return [tuple(row) for row in decoded(load_split(data, split))]


def test_held_out_words_have_all_of_their_pronunciations(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text("".join(f"W{i}  A B\nW{i}(1)  A C\n" for i in range(400)))
    data = recipe(f"data.train={path}").data
    splits = {split: entries(data, split) for split in ("train", "validation", "test")}
    words = {split: {word for word, _ in rows} for split, rows in splits.items()}
    assert sum(map(len, words.values())) == len(set().union(*words.values())) == 400
    assert all(len(splits[split]) == 2 * len(words[split]) for split in splits)
    assert 5 < len(words["validation"]) < 40
    assert 5 < len(words["test"]) < 40
    # Words of a longer dictionary keep their splits.
    path.write_text("".join(f"W{i}  A B\n" for i in range(500)))
    assert words["test"] <= {word for word, _ in entries(data, "test")}


def test_spellings_of_a_word_are_in_one_split():
    splits = [str(place) for place in range(20)]
    words = "READ", "déjà", "de\u0301ja\u0300"
    # The first two as in earlier versions.
    assert [held_out_split(word, splits) for word in words] == ["9", "1", "1"]


def test_held_out_words_are_in_no_mixed_dictionary(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).write_text("".join(f"W{i}  A B\n" for i in range(400)))
    data = recipe(
        f"data.train={tmp_path / 'old'}", f"data.mix=[{{train='{tmp_path / 'new'}'}}]"
    ).data
    held_out = {word for split in ("validation", "test") for word, _ in entries(data, split)}
    (corpus,) = mixed_corpora(data)
    assert corpus.data is not None
    mixed = {word for word, _ in entries(corpus.data, "train")}
    assert len(mixed) == 400 - len(held_out)
    assert not mixed & held_out


def test_two_line_aligned_files_and_given_splits(tmp_path):
    for name, words in (("train", "AB"), ("dev", "C"), ("test", "D")):
        (tmp_path / f"{name}.word.gz").write_bytes(gzip.compress("\n".join(words).encode()))
        (tmp_path / f"{name}.phones").write_text("\n".join(f"{word} X" for word in words))
    settings = [f"data.folder={tmp_path}", "data.train=train", "data.validation=dev"]
    data = recipe(*settings, "data.test=test").data
    assert entries(data, "train") == [("A", "A X"), ("B", "B X")]
    assert entries(data, "validation") == [("C", "C X")]
    assert entries(data, "test") == [("D", "D X")]


def test_missing_dictionaries_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"--set data\.train=cmudict\.dict"):
        load_split(recipe().data, "train")
    with pytest.raises(FileNotFoundError, match=r"Neither .*no\.dict nor no\.dict\.gz exists"):
        load_split(recipe(f"data.train={tmp_path / 'no.dict'}").data, "train")


def test_any_pronunciation_is_right():
    assert error_rates(["R EH D", "A B C X"], [["R IY D", "R EH D"], ["A C", "A B C D"]]) == {
        "word_error_rate": 0.5,
        "phone_error_rate": 1 / 7,
    }
    assert phone_errors(["A", "B", "C"], ["B", "C", "D"]) == 2
    assert phone_errors([], ["A", "B"]) == 2
    with pytest.raises(ValueError, match="at least one pronunciation"):
        error_rates(["A"], [[]])


def test_pronunciations_keep_their_order():
    found = pronunciations([("B", "1"), ("A", "2"), ("B", "3"), ("B", "1")])
    assert list(found.items()) == [("B", ["1", "3"]), ("A", ["2"])]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("vocabulary.byte_fallback=true", r"target.*above 260|model_type='word' requires"),
        ("vocabulary.segmentation_samples=2", "one segmentation into characters"),
        ("vocabulary.target_model_type=phones", "model_type must be one of"),
    ],
)
def test_settings_that_words_and_characters_do_not_have(override, message):
    with pytest.raises(ValueError, match=message):
        recipe(override)
