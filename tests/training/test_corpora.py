import bz2
import gzip
import itertools
import lzma
import os
import re

import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_attn_nmt.training import textfiles
from keras_attn_nmt.training.corpora import from_pairs, read_lines, read_tfds, read_tsv
from keras_attn_nmt.training.recipe import DataRecipe
from keras_attn_nmt.training.splits import load_split


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_lines_are_paired_in_order_and_counted(tmp_path):
    source = write(tmp_path / "a.de", "eins\n\nzwölf\n")
    target = write(tmp_path / "a.en", "one\n\ntwelve")
    dataset = read_lines(source, str(target))
    assert texts(dataset) == [("eins", "one"), ("", ""), ("zwölf", "twelve")]
    assert texts(dataset) == texts(dataset)
    assert dataset.cardinality() == 3
    assert dataset.element_spec == (tf.TensorSpec((), tf.string),) * 2


@pytest.mark.parametrize(("links", "warnings"), [("0-0\n", 0), ("0p0\n", 1)])
def test_an_alignment_without_sure_links_gives_a_warning(tmp_path, caplog, links, warnings):
    sides = [write(tmp_path / "a.de", "eins\n"), write(tmp_path / "a.en", "one\n")]
    read_lines(*sides, write(tmp_path / "a.align", links))
    assert [each.getMessage().count("no sure link") for each in caplog.records] == [1] * warnings


def test_a_short_gzip_file_comes_through_a_pipe():
    reading, writing = os.pipe()
    os.write(writing, gzip.compress(b"eins\nzwei\n"))
    os.close(writing)
    try:
        assert list(textfiles.iterate_lines(f"/dev/fd/{reading}")) == [b"eins", b"zwei"]
    finally:
        os.close(reading)


def test_gzip_is_detected_by_content(tmp_path):
    """A downloaded file may have lost its suffix, or been unpacked under its old name."""
    source = write(tmp_path / "a", gzip.compress(b"eins\n", mtime=0) + gzip.compress(b"zwei\n"))
    target = write(tmp_path / "b.gz", "one\ntwo\n")
    assert texts(read_lines(source, target)) == [("eins", "one"), ("zwei", "two")]


def test_only_line_feed_ends_a_line(tmp_path):
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\rh\x00"
    source = write(tmp_path / "a", f"{odd}\nzwei\n")
    target = write(tmp_path / "b", "one\ntwo\n")
    assert texts(read_lines(source, target)) == [(odd, "one"), ("zwei", "two")]


def test_crlf_and_byte_order_mark_are_stripped(tmp_path):
    source = write(tmp_path / "a", b"\xef\xbb\xbfeins\r\n\xef\xbb\xbfzwei\r\n")
    target = write(tmp_path / "b", b"one\r\ntwo\r\n")
    assert texts(read_lines(source, target)) == [("eins", "one"), ("\ufeffzwei", "two")]


def test_lines_span_several_chunks(tmp_path):
    count = 2_500
    source = write(tmp_path / "a", "".join(f"s{i}\n" for i in range(count)))
    target = write(tmp_path / "b", "".join(f"t{i}\n" for i in range(count)))
    dataset = read_lines(source, target)
    assert dataset.cardinality() == count
    assert texts(dataset) == [(f"s{i}", f"t{i}") for i in range(count)]


def test_files_of_unequal_length_report_both_counts(tmp_path):
    source = write(tmp_path / "a.de", "1\n2\n3\n")
    target = write(tmp_path / "a.en", gzip.compress(b"1\n2\n", mtime=0))
    with pytest.raises(ValueError, match=r"a\.de has 3 lines and .*a\.en has 2"):
        read_lines(source, target)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.* is empty"),
        (gzip.compress(b"", mtime=0), "bad.* is empty"),
        ("gut\nschön\n".encode("latin-1"), r"bad.*, line 2: not UTF-8 \(byte 0xf6 at position 3\)"),
        ("gut".encode("utf-16"), "bad.* is UTF-16"),
        (gzip.compress(b"1\n" * 90_000, mtime=0)[:-40], "bad.* is a damaged gzip file"),
        (gzip.compress(b"1\n", mtime=0)[:3] + b"rubbish", "bad.* is a damaged gzip file"),
        (lzma.compress(b"1\n"), "bad is compressed with xz; .* for example with: xz -d"),
        (bz2.compress(b"1\n"), "bad is compressed with bzip2; .* with: bzip2 -d"),
        (bytes.fromhex("28b52ffd") + b"\x04\x58", "bad is compressed with zstd; .* with: zstd -d"),
        (b"PK\x03\x04\x14\x00", "bad is compressed with zip; .* with: unzip"),
    ],
)
def test_invalid_files_are_rejected_before_training(tmp_path, content, message):
    good, bad = write(tmp_path / "good", "one\ntwo\n"), write(tmp_path / "bad", content)
    with pytest.raises(ValueError, match=message):
        read_lines(good, bad)
    with pytest.raises(ValueError, match=message):
        read_lines(bad, good)
    with pytest.raises(ValueError, match=message):
        read_tsv(bad, 0, 0)


def test_missing_files_and_folders(tmp_path):
    good = write(tmp_path / "good", "one\n")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.en"):
        read_lines(good, tmp_path / "nowhere.en")
    with pytest.raises(ValueError, match="is a folder"):
        read_lines(tmp_path, good)


def test_tsv_columns(tmp_path):
    rows = "1\tone\t\teins\tCC-BY\n2\ttwo\tx\tzwei\n"
    for content in (rows.encode(), gzip.compress(rows.encode())):
        path = write(tmp_path / "a.tsv", content)
        assert texts(read_tsv(path, 3, 1)) == [("eins", "one"), ("zwei", "two")]
        assert texts(read_tsv(path)) == [("1", "one"), ("2", "two")]
        assert texts(read_tsv(path, 2, 1)) == [("", "one"), ("x", "two")]
    assert read_tsv(path).cardinality() == 2


def test_tsv_with_too_few_columns_reports_the_line(tmp_path):
    path = write(tmp_path / "a.tsv", "eins\tone\nzwei two\n")
    with pytest.raises(ValueError, match=r"a\.tsv, line 2: found 1 tab.*expected at least 2"):
        read_tsv(path)
    with pytest.raises(ValueError, match=r"line 1: found 2 tab.*at least 6.*target from column 6"):
        read_tsv(path, target_column=5)
    with pytest.raises(ValueError, match="must not be negative"):
        read_tsv(path, target_column=-1)


def test_from_pairs_reads_python_pairs(tmp_path):
    pairs = [("eins\n", "one\0"), (b"zwei", b"two")]
    dataset = from_pairs(pairs)
    assert texts(dataset) == texts(dataset) == [("eins", "one\0"), ("zwei", "two")]
    assert dataset.cardinality() == 2


def test_pair_function_is_called_per_epoch_and_read_lazily():
    def numbers():
        return ((f"s{i}", f"t{i}") for i in itertools.count())

    dataset = from_pairs(numbers)
    assert texts(dataset.take(2)) == texts(dataset.take(2)) == [("s0", "t0"), ("s1", "t1")]
    assert dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert from_pairs(numbers, count=10**9).cardinality() == 10**9


def test_second_epoch_of_an_iterator_raises():
    dataset = from_pairs(iter([("eins", "one")]))
    assert texts(dataset) == [("eins", "one")]
    with pytest.raises(tf.errors.OpError, match="read only once"):
        texts(dataset)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "empty"),
        ([("a", "b"), ("c",)], r"Pair 1 is \('c',\)"),
        (["ab"], "Pair 0 is 'ab'"),
        ([("a", None)], r"Pair 0 .*lacks a text"),
        ([("a", "\ud800")], "Pair 0 .*surrogates"),
        ([("a", b"\xff")], "Pair 0 .*utf-8"),
    ],
)
def test_invalid_pairs(pairs, message):
    with pytest.raises(ValueError, match=message):
        from_pairs(pairs)


def test_wrong_counts():
    with pytest.raises(ValueError, match=re.escape("count=3, but the collection has 1 pairs")):
        from_pairs([("a", "b")], count=3)
    with pytest.raises(tf.errors.OpError):
        texts(from_pairs(lambda: [("a", "b")], count=3))


class ToyTranslate(tfds.core.GeneratorBasedBuilder):
    """Languages in every way in which TFDS translation data sets have them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        text = tfds.features.Text()
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "src": text,
                    "dst": text,
                    "label": tf.int64,
                    "pair": tfds.features.Translation(languages=("de", "en")),
                    "talk": tfds.features.TranslationVariableLanguages(
                        languages=("fr", "it", "ru")
                    ),
                }
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        talks = [
            {"fr": "un", "it": "uno", "ru": ["один", "раз"]},
            {"fr": "deux"},
            {"it": "tre", "fr": ["trois", "III"]},
        ]
        for number, talk in enumerate(talks):
            yield (
                number,
                {
                    "src": f"s{number}",
                    "dst": f"d{number}",
                    "label": number,
                    "pair": {"de": f"de{number}", "en": f"en{number}"},
                    "talk": talk,
                },
            )


def test_tfds_datasets_by_name(tmp_path, capfd, caplog):
    def read(*languages):
        return read_tfds("toy_translate", "train", *languages, data_dir=tmp_path)

    assert texts(read("de", "en")) == [(f"de{i}", f"en{i}") for i in range(3)]
    assert texts(read("en", "de")) == [(f"en{i}", f"de{i}") for i in range(3)]
    assert texts(read("src", "dst")) == [(f"s{i}", f"d{i}") for i in range(3)]
    assert read("de", "en").cardinality() == 3
    assert read_tfds("toy_translate", "train[:1]", "de", "en", tmp_path).cardinality() == 1
    assert not caplog.records
    assert texts(read("it", "fr")) == [("uno", "un"), ("tre", "III")]
    assert "dropping examples" in caplog.text
    assert capfd.readouterr().out == ""


def test_tfds_errors(tmp_path):
    with pytest.raises(ValueError, match=r"'de' and 'fr'\. It has: de, dst, en, fr, it, ru, src"):
        read_tfds("toy_translate", "train", "de", "fr", tmp_path)
    with pytest.raises(
        ValueError, match=r"Unknown TFDS data set 'toy_translte'.*mean toy_translate"
    ):
        read_tfds("toy_translte", "train", "de", "en", tmp_path)
    with pytest.raises(ValueError, match="Unknown split 'dev'"):
        read_tfds("toy_translate", "dev", "de", "en", tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_tfds("toy_translate", "train", "de", "en", tmp_path, manual_dir=tmp_path / "nowhere")


def test_stock_tfds_datasets(tmp_path):
    with tfds.testing.mock_data(num_examples=3):
        dataset = read_tfds("wmt14_translate/fr-en", "train", "fr", "en", tmp_path)
        assert len(texts(dataset)) == 3


ROWS = "Haus\thouse\nSee\tlake\n"
SWAPPED = [("house", "Haus"), ("lake", "See")]


@pytest.mark.parametrize(
    ("content", "settings", "wanted"),
    [
        (ROWS, {}, [("Haus", "house"), ("See", "lake")]),
        (ROWS, {"source_column": 2, "target_column": 1}, SWAPPED),
        ("EN\tde\n" + ROWS, {}, SWAPPED),
        ("id\ten\tde\n1\thouse\tHaus\n", {}, [("Haus", "house")]),
        ("en-US\tde_DE\n" + ROWS, {}, SWAPPED),
        ("en-US\tde-Latn-AT\tde\nhouse\tHaus\tHütte\n", {}, [("Hütte", "house")]),
        ("en-US\ten-GB\tde\nx\ty\tz\n", {"target_column": 2}, [("z", "y")]),
        ("de-AT\tde-DE\ten\nx\ty\tz\n", {"source_column": 2}, [("y", "z")]),
        ("de_id\ten_id\n" + ROWS, {}, [("de_id", "en_id"), ("Haus", "house"), ("See", "lake")]),
        ("en\tde\n" + ROWS, {"source_column": 2}, SWAPPED),
        (
            "en\tde\n" + ROWS,
            {"source_column": 1},
            "source language in column 2, but",
        ),
        (ROWS, {"source_column": 2}, "Source and target are both in column 2"),
    ],
)
def test_tsv_columns_follow_header_or_recipe(tmp_path, content, settings, wanted):
    write(tmp_path / "train.tsv", content)
    data = DataRecipe("tsv", folder=str(tmp_path), train="train.tsv", **settings)
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            load_split(data, "train")
    else:
        assert texts(load_split(data, "train")) == wanted


def test_tilde_in_folder_expands_to_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / "a.tsv", ROWS)
    assert len(texts(load_split(DataRecipe("tsv", folder="~/corpus", train="a.tsv"), "train"))) == 2


def test_a_line_of_any_length_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(textfiles, "MOST_LINE_BYTES", 10)
    (tmp_path / "long").write_bytes(b"0123456789\n" + b"x" * 1000)
    with pytest.raises(ValueError, match="long, line 1: longer than 10 bytes"):
        read_lines(tmp_path / "long", tmp_path / "long")


def test_a_gzip_file_that_expands_too_far_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(textfiles, "_SMALL_BYTES", 1000)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"x\n" * 10**6))
    with pytest.raises(ValueError, match=r"bomb\.gz expands to more than 200 times its size"):
        read_lines(tmp_path / "bomb.gz", tmp_path / "bomb.gz")
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"".join(b"%d\n" % i for i in range(5000))))
    assert read_lines(tmp_path / "text.gz", tmp_path / "text.gz").cardinality() == 5000
