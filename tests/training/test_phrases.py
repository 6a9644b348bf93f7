import datetime
import itertools
import logging
import random
import socket
from decimal import Decimal

import pytest
from babel.dates import format_date
from num2words import num2words

from keras_attn_nmt.text.alignment import format_gold, parse_pharaoh
from keras_attn_nmt.training.corpora import read_tfds
from keras_attn_nmt.training.datasets import Phrases, PhrasesConfig, phrases
from keras_attn_nmt.training.datasets.phrasebook import Phrase, Phrasebook
from keras_attn_nmt.training.datasets.values import KINDS, SPLITS, Money, split_of
from keras_attn_nmt.training.datasets.wording import Language, supported_languages


@pytest.fixture(scope="module")
def book():
    return Phrasebook("de", "en")


@pytest.mark.parametrize(
    ("kind", "value", "source", "target"),
    [
        ("cardinal", 41, "einundvierzig", "forty-one"),
        ("ordinal", 41, "einundvierzigste", "forty-first"),
        ("year", 1990, "neunzehnhundertneunzig", "nineteen ninety"),
        (
            "date_full",
            datetime.date(1990, 10, 3),
            "Mittwoch, 3. Oktober 1990",
            "Wednesday, October 3, 1990",
        ),
        ("date_medium", datetime.date(1990, 10, 3), "03.10.1990", "Oct 3, 1990"),
        ("time_short", datetime.time(14, 5), "14:05", "2:05 PM"),
        ("money_symbol", Money(Decimal("1234.50"), "EUR"), "1.234,50 €", "€1,234.50"),
        ("money_name", Money(Decimal("7.25"), "USD"), "7,25 US-Dollar", "7.25 US dollars"),
        (
            "money_words",
            Money(Decimal("41.05"), "EUR"),
            "einundvierzig Euro und fünf Cent",
            "forty-one euro, five cents",
        ),
    ],
)
def test_values_are_verbalised_in_both_languages(book, kind, value, source, target):
    assert book.pair(kind, value) == (source, target)


@pytest.mark.parametrize(
    ("languages", "kind", "value", "links"),
    [
        # Mittwoch, 3. Oktober 1990 -> Wednesday, October 3, 1990
        ("de en", "date_full", datetime.date(1990, 10, 3), "0-0 2-1 1-2 3-3"),
        # einundvierzig -> forty-one
        ("de en", "cardinal", 41, "0-0"),
        # quatre mille six -> four thousand and six: "and" is there for both.
        ("fr en", "cardinal", 4006, "0-0 1p0 0p1 1p1 0p2 1p2 2p2 2-3"),
        # einhundertelf -> one hundred and eleven
        ("de en", "cardinal", 111, "0-0 0p1 0p2 0-3"),
        # vierzehn Dollar und sechs Cent -> fourteen dollars, six cents
        ("de en", "money_words", Money(Decimal("14.06"), "USD"), "0-0 1-1 4p1 3-2 1p3 4p3"),
        # 14:05 -> 2:05 PM
        ("de en", "time_short", datetime.time(14, 5), "0-0 0-1"),
        # 7,25 euros -> 7,25 евро: "0,25 euro" has another form.
        ("fr ru", "money_name", Money(Decimal("7.25"), "EUR"), "0-0 1p0 1-1"),
        # dos mil -> две тысячи: its form is that of two, three and four.
        ("es ru", "cardinal", 2000, "0-0 1p0 0p1 1p1"),
    ],
)
def test_words_with_the_same_meaning_are_aligned(languages, kind, value, links):
    book = Phrasebook(*languages.split())
    phrase = Phrase(kind, value, *book.pair(kind, value))
    assert format_gold(book.alignment(phrase)) == links


def test_aligned_dataset_adds_alignments_to_the_same_phrases(tmp_path):
    name = "phrases/fr-en.50-20-20.seed3"
    plain = read_tfds(name, "test", "fr", "en", data_dir=tmp_path)
    aligned = read_tfds(
        f"{name}.aligned", "test", "fr", "en", data_dir=tmp_path, alignment="alignment"
    )
    rows = list(aligned.as_numpy_iterator())
    assert [row[:2] for row in rows] == list(plain.as_numpy_iterator())
    for source, target, links in rows:
        words = [len(text.decode().split()) for text in (source, target)]
        possible = parse_pharaoh(links.decode()).possible
        assert possible
        assert all(i < words[0] and j < words[1] for i, j in possible)


def test_texts_contain_only_typable_characters(book):
    """CLDR is full of no-break spaces and direction marks, which no user's input has."""
    texts = itertools.chain.from_iterable(
        Phrasebook(*pair).pairs("train", 2_000) for pair in (("fr", "ar"), ("he", "en"))
    )
    odd = {c for text in itertools.chain.from_iterable(texts) for c in text} & set(
        "\u00a0\u202f\u200e\u200f\u061c\t\n"
    )
    assert not odd


@pytest.mark.parametrize("code", ["de", "ja", "lt", "pt_BR", "fa", "hu"])
def test_cached_texts_equal_library_output(code):
    language, rng = Language(code), random.Random(5)
    for _ in range(400):
        day = KINDS["date_full"].draw(rng)
        for name, form in [("date_full", "full"), ("date_long", "long"), ("date_medium", "medium")]:
            expected = " ".join(format_date(day, form, locale=code).split())
            assert language.word(KINDS[name], day) == expected
    for _ in range(200):
        number = KINDS["cardinal"].draw(rng)
        expected = " ".join(num2words(number, lang=code).split())
        assert language.word(KINDS["cardinal"], number) == expected


def canonical(value):
    """What must not be in two splits, written independently of `split_of`."""
    if isinstance(value, Money):
        return float(value.amount)
    return float(value) if isinstance(value, int) else value


@pytest.mark.parametrize(
    "languages",
    [
        ("de", "en"),
        pytest.param(("en", "de"), marks=pytest.mark.slow),
        pytest.param(("fr", "en"), marks=pytest.mark.slow),
    ],
)
def test_sources_are_unambiguous_and_splits_are_disjoint(languages):
    sizes = {"train": 50_000, "validation": 1_000, "test": 1_000}
    targets: dict[str, str] = {}
    values: dict[object, str] = {}
    splits: dict[str, str] = {}
    for split, size in sizes.items():
        for phrase in itertools.islice(Phrasebook(*languages).draw(split), size):
            assert targets.setdefault(phrase.source, phrase.target) == phrase.target
            assert splits.setdefault(phrase.source, split) == split, phrase
            assert values.setdefault(canonical(phrase.value), split) == split, phrase


@pytest.mark.parametrize(
    "code",
    [
        *["ar", "cy", "ja"],
        *(
            pytest.param(code, marks=pytest.mark.slow)
            for code in ("be", "kk", "pt_BR", "sr", "th", "tr", "vi")
        ),
    ],
)
def test_difficult_languages_are_unambiguous(code):
    for languages in ((code, "en"), ("en", code)):
        targets: dict[str, str] = {}
        for source, target in Phrasebook(*languages).pairs("train", 1_500):
            assert targets.setdefault(source, target) == target


def test_split_of_a_value_is_independent_of_kind():
    assert split_of(1990) == split_of(Money(Decimal("1990.00"), "EUR"))
    assert split_of(Money(Decimal("12.50"), "EUR")) == split_of(Money(Decimal("12.5"), "USD"))
    assert {split_of(n) for n in range(100)} == {"train"}
    # Never to change: who trained on an earlier release must not find old training data in "test".
    assert [split_of(n) for n in (102, 103, 106, 1066, 1990)] == [
        "train",
        "validation",
        "test",
        "validation",
        "train",
    ]


def test_one_tenth_of_values_is_held_out():
    counts = {split: 0 for split in SPLITS}
    for number in range(100, 10_100):
        counts[split_of(number)] += 1
    assert 400 < counts["validation"] < 600
    assert 400 < counts["test"] < 600


def test_small_numbers_are_well_represented(book):
    phrases = itertools.islice(book.draw("train"), 10_000)
    numbers = [phrase.value for phrase in phrases if phrase.kind == "cardinal"]
    assert 0.4 < sum(number < 1_000 for number in numbers) / len(numbers) < 0.6
    assert max(numbers) > 900_000
    assert set(range(30)) <= set(numbers)


def test_held_out_pairs_are_distinct(book):
    pairs = list(book.pairs("test", 3_000))
    assert len(set(pairs)) == 3_000


def test_exhausted_split_reports_its_size():
    clock = Phrasebook("de", "en", ["time_short"])
    with pytest.raises(ValueError, match=r"only (\d+) distinct test pairs.*time_short") as error:
        list(clock.pairs("test", 1_440))
    count = int(str(error.value).split("only ")[1].split()[0])
    assert len(list(clock.pairs("test", count))) == count


def test_pairs_are_a_function_of_the_seed(book):
    first = list(book.pairs("train", 300, seed=3))
    assert first == list(Phrasebook("de", "en").pairs("train", 300, seed=3))
    assert first != list(book.pairs("train", 300, seed=4))
    # Whatever the process and the machine; only the wording may change with the libraries.
    drawn = itertools.islice(Phrasebook("de", "en", ["cardinal"]).draw("train", seed=0), 6)
    assert [phrase.value for phrase in drawn] == [143_894, 9_952, 8, 266_673, 728_163, 82]


def test_unsupported_kinds_are_skipped_and_logged(caplog):
    with caplog.at_level(logging.INFO, logger="keras_attn_nmt"):
        book = Phrasebook("fr", "en")
    # French years read like numbers; English ones do not.
    assert book.left_out == ("year",)
    assert "fr-en" in caplog.text and "year" in caplog.text
    assert {phrase.kind for phrase in itertools.islice(book.draw("train"), 500)} == set(book.kinds)


def test_regional_variants_and_spellings():
    assert Language("pt-br").code == "pt_BR"
    assert Phrasebook("de", "en_GB").pair("date_long", datetime.date(1990, 10, 3)) == (
        "3. Oktober 1990",
        "3 October 1990",
    )
    assert {"de", "en", "fr", "ja", "kk", "pt_BR"} <= set(supported_languages())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("german", "en"), "'german'.*mean 'de'.*Supported.*fr"),
        (("de", "zh"), "'zh'.*Supported.*vi"),
        (("de", "de"), "both 'de'"),
        (("de", "en", ["cardinals"]), "cardinals.*cardinal, ordinal"),
        (("th", "en", ["ordinal"]), "none of these kinds: ordinal"),
    ],
)
def test_invalid_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Phrasebook(*arguments)


def test_unknown_split(book):
    with pytest.raises(ValueError, match=r"'dev'.*train, validation, test"):
        book.pairs("dev")


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"tried to reach the network: {arguments[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


def test_tfds_dataset_equals_phrasebook(book, tmp_path, monkeypatch, no_network, capfd):
    monkeypatch.setattr(phrases, "_SHARD", 40)
    name = "phrases/de-en.100-20-30.seed7"
    for split, size in {"train": 100, "validation": 20, "test": 30}.items():
        dataset = read_tfds(name, split, "de", "en", data_dir=tmp_path)
        assert dataset.cardinality() == size
        assert sorted(texts(dataset)) == sorted(book.pairs(split, size, seed=7))
        assert texts(dataset) == texts(dataset)
    assert capfd.readouterr().out == ""
    reverse = read_tfds(name, "test", "en", "de", data_dir=tmp_path)
    assert sorted(texts(reverse)) == sorted((t, s) for s, t in book.pairs("test", 30, seed=7))


def test_configuration_name_determines_content():
    base = PhrasesConfig(train_size=100)
    others = [
        PhrasesConfig(train_size=101),
        PhrasesConfig(train_size=100, validation_size=999),
        PhrasesConfig(train_size=100, test_size=999),
        PhrasesConfig(train_size=100, seed=1),
        PhrasesConfig(train_size=100, source_language="fr"),
        PhrasesConfig(train_size=100, target_language="en_GB"),
        PhrasesConfig(train_size=100, kinds=("cardinal", "date_full")),
    ]
    names = {config.name for config in [base, *others]}
    assert len(names) == len(others) + 1
    for config in others:
        parsed = PhrasesConfig.parse(config.name)
        assert parsed.name == config.name
        assert (parsed.sizes, parsed.seed, parsed.kinds) == (
            config.sizes,
            config.seed,
            config.kinds,
        )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("deen", "Expected SOURCE-TARGET"),
        ("de-en.100", "Expected SOURCE-TARGET"),
        ("de-xx", "'xx'"),
        ("de-en.100-10-0.seed0", "test_size is 0"),
        ("de-en.9-9-9.seed0.babel0.1.num2words0.1", "another version of babel"),
    ],
)
def test_invalid_configuration_names(name, message):
    with pytest.raises(ValueError, match=message):
        PhrasesConfig.parse(name)


def test_builder_accepts_a_configuration(tmp_path):
    config = PhrasesConfig(train_size=5, validation_size=5, test_size=5, kinds=("cardinal",))
    for _ in range(2):
        builder = Phrases(config=config, data_dir=tmp_path)
        builder.download_and_prepare()
    assert builder.info.splits["train"].num_examples == 5
    again = Phrases(config=config.name, data_dir=tmp_path)
    assert again.info.splits["test"].num_examples == 5


@pytest.mark.parametrize("folder", ["~/tensorflow_datasets", "{}/file/tensorflow_datasets"])
def test_a_folder_of_tfds_that_cannot_be_written_names_the_variable(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", folder.format(tmp_path))
    with pytest.raises(OSError, match=r"(no home folder|is a file).*TFDS_DATA_DIR"):
        read_tfds("phrases/de-en.5-5-5.seed0", "train", "de", "en")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_user_without_a_name_is_told_to_have_one(tmp_path, monkeypatch):
    def getpwuid(user):
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr("pwd.getpwuid", getpwuid)
    with pytest.raises(OSError, match=r"Could not prepare phrases.*/etc/passwd and /etc/group"):
        read_tfds("phrases/de-en.5-5-5.seed0", "train", "de", "en", tmp_path)
