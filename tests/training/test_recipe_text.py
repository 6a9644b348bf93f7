"""Recipes as text: every setting with its meaning and range, which agree with the validation."""

import dataclasses
import json
import math
import re

import pytest

from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import (
    all_settings,
    find_recipe,
    load_recipe,
    recipe_names,
)
from keras_attn_nmt.training.recipe_text import (
    SECTIONS,
    built_in,
    describe,
    differences,
    meanings,
    to_toml,
)

NUMBERS = [
    (section, field.name, field.type)
    for section, kind in SECTIONS.items()
    for field in dataclasses.fields(kind)
    if field.type in ("int", "float")
]
RANGE = re.compile(
    r"\b(?:At least (?P<least>[\d.]+)\b|Above (?P<above>\d+)\.|"
    r"In (?P<open>[\[(])(?P<low>[\d.]+), (?P<high>[\d.]+)(?P<close>[\])])\.)"
)


def test_every_setting_has_a_meaning():
    assert [setting for setting, meaning in meanings().items() if not meaning] == []
    assert meanings()["training.epochs"].startswith("Number of epochs")


@pytest.mark.parametrize(("section", "name", "kind"), NUMBERS)
def test_documented_range_is_the_accepted_one(section, name, kind):
    required = {"source_vocabulary_size": 300, "target_vocabulary_size": 300}
    # Other settings that would refuse the bounds.
    others = {
        "data": {} if name == "max_length" else {"max_length": 10**6},
        "vocabulary": {"byte_fallback": True},
        "model": required,
        "training": {"schedule": "constant", "monitor": "val_loss"},
    }.get(section, {})
    text = describe(Recipe())[section].get(name, {"meaning": ""})["meaning"]
    if name in required:
        text = "At least 5."
    if name == "target_size":
        text = "At least 261."
    found = RANGE.search(text)
    assert found, f"{section}.{name} has no range: {text}"

    def accepts(value):
        try:
            SECTIONS[section](**{**others, name: value})
        except ValueError:
            return False
        return True

    step = 1 if kind == "int" else 1e-6
    low = float(found["least"] or found["above"] or found["low"])
    at = low if kind == "float" else int(low)
    assert accepts(at) is (found["above"] is None and found["open"] != "(")
    assert accepts(at + step)
    assert not accepts(at - step)
    if found["high"]:
        high = float(found["high"]) if kind == "float" else int(found["high"])
        assert accepts(high) is (found["close"] == "]")
        assert accepts(high - step)
        assert not accepts(high + step)
    elif kind == "float":
        assert not accepts(math.inf)


@pytest.mark.parametrize("name", recipe_names())
def test_text_loads_as_the_same_recipe(name, tmp_path):
    recipe = load_recipe(name)
    text = to_toml(recipe, f"A title of {name}")
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    loaded = load_recipe(tmp_path / "my.toml")
    assert differences(recipe, loaded) == {}
    assert dataclasses.replace(loaded, model=recipe.model) == recipe
    assert max(map(len, text.splitlines())) <= 100
    for setting in all_settings(recipe):
        assert re.search(rf"^(?:# )?{setting.partition('.')[2]} = ", text, re.MULTILINE)


def test_strings_and_settings_without_effect_survive(tmp_path):
    recipe = load_recipe(
        "multi30k",
        [r'data.folder="C:\\a \"b\"\u007f ü"', "model.attention=luong"],
    )
    (tmp_path / "my.toml").write_text(to_toml(recipe, "title"), encoding="utf-8")
    loaded = load_recipe(tmp_path / "my.toml")
    assert loaded.data.folder == 'C:\\a "b"\x7f ü'
    # The recipe has another value, but it has no effect with this score.
    assert set(differences(recipe, loaded)) == {"model.attention_units"}


def test_recipes_of_model_directories(tmp_path):
    recipe = load_recipe("phrases", ["training.epochs=7"])
    (tmp_path / "recipe.json").write_text(json.dumps({**recipe.to_dict(), "vocabulary_files": {}}))
    assert find_recipe(tmp_path) == recipe
    other = load_recipe("phrases", ["training.epochs=8"])
    (tmp_path / "training.json").write_text(json.dumps({"recipe": other.to_dict()}))
    assert differences(recipe, find_recipe(tmp_path)) == {"training.epochs": (7, 8)}
    with pytest.raises(ValueError, match="overrides only apply to a recipe"):
        find_recipe(tmp_path, ["training.epochs=9"])
    (tmp_path / "training.json").write_text("[]")
    with pytest.raises(ValueError, match=r"training\.json is damaged"):
        find_recipe(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"neither training\.json nor recipe\.json"):
        find_recipe(tmp_path / "none")


def test_built_in_recipes_say_what_they_are():
    assert set(built_in()) == set(recipe_names())
    assert all(built_in().values())
