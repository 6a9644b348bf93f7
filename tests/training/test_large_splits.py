"""Recipes of streamed corpora: files by pattern, and settings that do not go together."""

import dataclasses

import pytest

from keras_attn_nmt.training.large_splits import line_files, open_split
from keras_attn_nmt.training.recipe import DataRecipe
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.splits import load_split


@pytest.fixture
def folder(tmp_path):
    for name in ("part-2", "part-1", "more", "with space"):
        for language in ("de", "en"):
            (tmp_path / f"{name}.{language}").write_text(f"{name} {language}\n" * 30)
    return tmp_path


def test_files_by_name_and_pattern(folder):
    def names(train):
        sides = line_files(DataRecipe(folder=str(folder), train=train, sample=9))
        return [[path.name for path in side] for side in sides]

    assert names("part-* more") == [
        ["part-1.de", "part-2.de", "more.de"],
        ["part-1.en", "part-2.en", "more.en"],
    ]
    # A file that matches twice is there once, and test data never.
    for end in ("de", "en"):
        (folder / f"test.{end}").write_text("x\n")
    assert names("more *")[0] == ["more.de", "part-1.de", "part-2.de", "with space.de"]
    elsewhere = DataRecipe(
        folder=str(folder),
        train="*",
        validation=f"{folder}/more",
        test=f"../{folder.name}/test",
        sample=9,
    )
    assert [path.name for path in line_files(elsewhere)[0]] == names("part-* with*")[0]
    assert names("more more part-1")[0] == ["more.de", "more.de", "part-1.de"]
    assert names("with space") == [["with space.de"], ["with space.en"]]
    with pytest.raises(FileNotFoundError, match=r"matches none-\*\.de or none-\*\.en"):
        names("none-*")
    (folder / "part-2.en").unlink()
    with pytest.raises(FileNotFoundError, match=r"Neither .*part-2\.en nor part-2\.en\.gz exists"):
        names("part-*")


def test_a_file_is_read_once_by_all_of_its_paths(folder):
    (folder / "linked").symlink_to(folder)
    data = DataRecipe(folder=str(folder), train="part-* linked/*", validation="", sample=9)
    names = [path.name for path in line_files(data)[0]]
    assert names == ["part-1.de", "part-2.de", "more.de", "with space.de"]
    (folder / "again").symlink_to(folder)
    data = dataclasses.replace(data, train="*/part*")
    assert line_files(data)[0] == [folder / "again" / f"part-{number}.de" for number in (1, 2)]


@pytest.mark.parametrize("sample", [0, 9])
def test_equal_languages_are_refused(folder, sample):
    data = DataRecipe(folder=str(folder), train="more", target_language="de", sample=sample)
    with pytest.raises(ValueError, match=r"both 'de', so that .* set two languages"):
        load_split(data, "train")


def test_columns_of_one_language_are_two_texts(tmp_path):
    (tmp_path / "train.tsv").write_text("a house\tthe house\n")
    data = DataRecipe("tsv", "en", "en", folder=str(tmp_path), train="train.tsv")
    assert [tuple(each) for each in load_split(data, "train").as_numpy_iterator()] == [
        (b"a house", b"the house")
    ]
    (tmp_path / "train.tsv").write_text("id\ten\ten\n1\ta house\tthe house\n")
    assert [tuple(each) for each in load_split(data, "train").as_numpy_iterator()] == [
        (b"a house", b"the house")
    ]
    for language in ("de", "en"):
        (tmp_path / f"words.{language}").write_text("a\n")
    words = DataRecipe("dictionary", "en", "en", folder=str(tmp_path), train="words")
    with pytest.raises(ValueError, match="both 'en'"):
        load_split(words, "train")


def test_validation_is_held_out_from_the_end(folder):
    data = DataRecipe(folder=str(folder), train="part-* more", validation="", sample=9)
    assert open_split(data, "train").pairs == 86
    validation = [tuple(pair) for pair in load_split(data, "validation").as_numpy_iterator()]
    assert validation == [(b"more de", b"more en")] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data.corpus=tsv"], "streams corpora of the kind 'lines' and TFDS"),
        (["data.concatenate=20"], "does not support data.concatenate"),
        (["data.mix=[{train='more', ratio=1.0}]"], "does not support data.mix"),
        (["vocabulary.segmentation_samples=2"], "is not supported with data.sample"),
        (["data.cache=false"], "data.cache has no effect, as it requires data.sample=0"),
    ],
)
def test_settings_without_effect_are_refused(tmp_path, settings, message):
    (tmp_path / "large.toml").write_text("[data]\nsample = 1000\n")
    with pytest.raises(ValueError, match=message):
        load_recipe(tmp_path / "large.toml", settings)
