"""JSON lines: fields, and errors with the line."""

import gzip
import json

import pytest

from keras_attn_nmt.training import load_recipe
from keras_attn_nmt.training.json_lines import read_json_lines
from keras_attn_nmt.training.recipe import DataRecipe
from keras_attn_nmt.training.splits import load_split

PAIRS = [("Häuser", "houses"), ("", "lake"), ("a\nb", "c\td")]
# Line breaks become spaces.
READ = [*PAIRS[:2], ("a b", "c\td")]


def texts(dataset):
    return [(source.decode(), target.decode()) for source, target in dataset.as_numpy_iterator()]


def write(tmp_path, rows, name="train.jsonl"):
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / name


@pytest.mark.parametrize(
    ("row", "settings"),
    [
        (lambda de, en: {"de": de, "en": en}, {}),
        (lambda de, en: {"id": 1, "translation": {"de": de, "en": en}}, {}),
        (lambda de, en: {"s": de, "t": en}, {"source_field": "s", "target_field": "t"}),
        (
            lambda de, en: {"texts": {"s": de}, "a.b": en},
            {"source_field": "texts.s", "target_field": "a.b"},
        ),
    ],
    ids=["flat", "nested", "named", "dotted"],
)
def test_fields(tmp_path, row, settings):
    path = write(tmp_path, [row(*pair) for pair in PAIRS] + ["", "  "])
    data = DataRecipe("jsonl", folder=str(tmp_path), train=path.name, **settings)
    dataset = load_split(data, "train")
    assert dataset.cardinality() == 3
    assert texts(dataset) == READ
    path.with_name("train.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert texts(load_split(data, "train")) == READ


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"de": "a"', r"line 2: not a JSON object \(.*one whole object per line"),
        ("[1, 2]", "line 2: expected a JSON object, got list"),
        ('{"de": "a", "fr": "b"}', "line 2: no field 'en'; it has de, fr"),
        ('{"de": "a", "translation": 5}', "line 2: no field 'en'; it has de, translation"),
        ('{"de": "a", "en": null}', "line 2: field 'en' is null, expected a text"),
        ('{"de": 7, "en": "b"}', "line 2: field 'de' is 7, expected a text"),
        (r'{"de": "\ud800", "en": "b"}', "line 2: field 'de' contains a lone surrogate"),
    ],
)
def test_errors_have_the_line(tmp_path, line, message):
    path = write(tmp_path, [{"de": "a", "en": "b"}, line])
    with pytest.raises(ValueError, match=rf"train\.jsonl, {message}"):
        read_json_lines(path, "de", "en")


def test_empty_files_and_equal_fields(tmp_path):
    with pytest.raises(ValueError, match="is empty"):
        read_json_lines(write(tmp_path, [""]), "de", "en")
    with pytest.raises(ValueError, match="both in field 'de'"):
        read_json_lines(tmp_path / "train.jsonl", "de", "de")


def test_recipe_holds_out_validation_pairs_and_refuses_fields_of_other_formats(tmp_path):
    write(tmp_path, [{"de": f"a{i}", "en": f"b{i}"} for i in range(100)])
    data = DataRecipe("jsonl", folder=str(tmp_path), train="train.jsonl", validation="")
    assert [len(texts(load_split(data, split))) for split in ("train", "validation")] == [95, 5]
    with pytest.raises(ValueError, match=r"data\.source_field has no effect"):
        load_recipe("phrases", ["data.corpus=tsv", "data.size=0", "data.source_field=s"])
