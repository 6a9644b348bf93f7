"""Rows, data frames and columns in `from_pairs`."""

import collections

import pytest
import tensorflow as tf

from keras_attn_nmt.training.corpora import from_pairs

PAIRS = [("Haus", "house"), ("See", "lake"), ("", "tree")]
COLUMNS = {"id": [1, 2, 3], "de": ["Haus", "See", ""], "en": ["house", "lake", "tree"]}
NESTED = [{"id": i, "translation": {"de": de, "en": en}} for i, (de, en) in enumerate(PAIRS)]


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


LAST = dict(zip(("de", "en"), PAIRS[2], strict=True))


class Frame:
    """A data frame as pandas and polars have it: columns by name, names when iterated."""

    def __init__(self, columns):
        self.columns = list(columns)
        self.shape = (3, len(columns))
        self._columns = columns

    def __iter__(self):
        return iter(self.columns)

    def __getitem__(self, name):
        return self._columns[name]


class Query:
    """A table as Ibis has it: a query, which cannot be iterated."""

    columns = tuple(COLUMNS)

    def __iter__(self):
        raise TypeError("'Table' object is not iterable")


class NAType:
    """As pandas.NA, which is neither equal nor unequal to anything."""

    def __ne__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    "rows",
    [
        [{"de": de, "en": en, "id": 7} for de, en in PAIRS],
        NESTED,
        COLUMNS,
        Frame(COLUMNS),
    ],
    ids=["flat", "nested", "columns", "frame"],
)
def test_rows_and_tables(rows):
    dataset = from_pairs(rows, columns=("de", "en"))
    assert texts(dataset) == texts(dataset) == PAIRS
    assert dataset.cardinality() == 3
    assert texts(from_pairs(rows, columns=("en", "de"))) == [pair[::-1] for pair in PAIRS]
    assert texts(from_pairs(lambda: rows, columns=("de", "en"))) == PAIRS


def test_named_tuples_have_fields():
    row = collections.namedtuple("Row", ["id", "de", "en"])
    rows = [row(7, *pair) for pair in PAIRS]
    assert texts(from_pairs(rows, columns=("en", "de"))) == [pair[::-1] for pair in PAIRS]


def test_columns_of_pairs_without_fields_are_refused():
    with pytest.raises(ValueError, match=r"Pair 0 is .* which has no fields .*: leave columns out"):
        from_pairs(PAIRS, columns=("en", "de"))


def test_generators_and_nested_fields():
    rows = [{"texts": {"de": de}, "en": en} for de, en in PAIRS]
    assert texts(from_pairs((row for row in rows), columns=("texts.de", "en"))) == PAIRS


@pytest.mark.parametrize("nothing", [None, float("nan"), NAType()], ids=["None", "NaN", "NA"])
def test_missing_texts_are_refused_with_their_number_or_dropped(nothing, caplog):
    for rows, columns in (
        (Frame({**COLUMNS, "en": ["house", nothing, "tree"]}), ("de", "en")),
        ([{"de": "Haus", "en": "house"}, {"de": nothing, "en": "x"}, LAST], ("de", "en")),
        ([PAIRS[0], ("See", nothing), PAIRS[2]], None),
    ):
        with pytest.raises(ValueError, match=r"Pair 1 is .* lacks a text: .*missing='drop'"):
            from_pairs(rows, columns=columns)
        caplog.clear()
        dataset = from_pairs(rows, columns=columns, missing="drop")
        assert dataset.cardinality() == 2
        assert texts(dataset) == [PAIRS[0], PAIRS[2]]
        assert "left out 1 pairs that lack a text" in caplog.text


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (Frame(COLUMNS), {}, r"Name the columns of source and target.*Known: id, de, en\.$"),
        (COLUMNS, {}, r"Known: id, de, en\. \(Of a dictionary of splits, pass one"),
        (Frame(COLUMNS), {"columns": ("de", "fr")}, "No column is called 'fr'. Known: id, de, en"),
        ({"de": ["a"], "en": []}, {"columns": ("de", "en")}, "'de' has 1 texts and 'en' has 0"),
        ({"de": "Haus", "en": "home"}, {"columns": ("de", "en")}, "this is one row"),
        (NESTED, {}, r"Pair 0 is .*: name the fields of source and target"),
        (
            NESTED,
            {"columns": ("de", "fr")},
            r"no field 'fr'; it has .*translation\.de",
        ),
        (NESTED, {"columns": ("de", "id")}, "expected two texts: int is not text"),
        (NESTED, {"columns": ("de", "de")}, "columns must be two names"),
        (NESTED, {"columns": "de"}, "columns must be two names"),
        (NESTED, {"missing": "skip"}, "missing must be one of"),
        (7, {}, "Expected sentence pairs, got int: pass a list, or a data frame"),
        (Query(), {"columns": ("de", "en")}, "Expected sentence pairs, got Query: pass a list"),
    ],
)
def test_mistakes(rows, options, message):
    with pytest.raises(ValueError, match=message):
        from_pairs(rows, **options)


def test_pandas_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS, index=[7, 7, 8])
    assert texts(from_pairs(frame, columns=("de", "en"))) == PAIRS
    frame = pandas.concat([frame, pandas.DataFrame({"de": [None], "en": ["x"]})])
    with pytest.raises(ValueError, match=r"Pair 3 is .* lacks a text"):
        from_pairs(frame, columns=("de", "en"))
    assert texts(from_pairs(frame.convert_dtypes(), columns=("de", "en"), missing="drop")) == PAIRS
    frame.columns = ["de", "de", "en"]
    with pytest.raises(ValueError, match="Several columns are called 'de'"):
        from_pairs(frame, columns=("de", "en"))


def test_polars_frames():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(COLUMNS)
    assert texts(from_pairs(frame, columns=("de", "en"))) == PAIRS
    with pytest.raises(ValueError, match="lazy frame"):
        from_pairs(frame.lazy(), columns=("de", "en"))
    frame = polars.concat(
        [frame, polars.DataFrame({"id": [4], "de": [None], "en": ["x"]}, frame.schema)]
    )
    assert texts(from_pairs(frame, columns=("de", "en"), missing="drop")) == PAIRS


def test_relation_of_duckdb_is_refused_with_advice():
    class Relation(Frame):
        """As DuckDB has it: a column is a relation, too, which cannot be iterated."""

        def __getitem__(self, name):
            return Relation({name: self._columns[name]})

        def __len__(self):
            return 3

        def __iter__(self):
            raise TypeError("a relation is indexed by one column name, not by int")

        def to_arrow_table(self):
            return COLUMNS

    relation = Relation(COLUMNS)
    advice = r"relation of DuckDB.*relation\.to_arrow_table"
    with pytest.raises(ValueError, match=advice):
        from_pairs(relation, columns=("de", "en"))
    with pytest.raises(tf.errors.OpError, match=advice):
        texts(from_pairs(lambda: relation, columns=("de", "en")))
    assert texts(from_pairs(relation.to_arrow_table(), columns=("de", "en"))) == PAIRS


def test_duckdb():
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow", exc_type=ImportError)
    relation = duckdb.sql("SELECT 1 AS id, 'Haus' AS de, 'house' AS en")
    with pytest.raises(ValueError, match="relation of DuckDB"):
        from_pairs(relation, columns=("de", "en"))
    assert texts(from_pairs(relation.to_arrow_table(), columns=("de", "en"))) == PAIRS[:1]


def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets")
    table = pytest.importorskip("pyarrow", exc_type=ImportError).Table.from_pylist(NESTED)
    # With a fingerprint, as computing one fails with some versions of dill and pyarrow.
    dataset = datasets.Dataset(table, fingerprint="pairs")
    assert texts(from_pairs(dataset, columns=("de", "en"))) == PAIRS
    assert texts(from_pairs(dataset.to_iterable_dataset(), columns=("de", "en"))) == PAIRS
    with pytest.raises(ValueError, match="Of a dictionary of splits, pass one"):
        from_pairs(datasets.DatasetDict({"train": dataset}), columns=("de", "en"))


def test_arrow_tables():
    # With NumPy 1, the newest versions cannot be imported.
    pyarrow = pytest.importorskip("pyarrow", exc_type=ImportError)
    assert texts(from_pairs(pyarrow.table(COLUMNS), columns=("de", "en"))) == PAIRS


def test_line_breaks_are_spaces():
    spaces = " " * 10**6  # Quickly, too.
    rows = [("a\r\n b \n\n c", b"d\ne"), (f"a{spaces}b", "c")]
    assert texts(from_pairs(rows)) == [("a b c", "d e"), rows[1]]
