"""Deprecated names are accepted in code, recipes, model directories and `.keras` files."""

import json
import warnings
import zipfile

import keras
import pytest
from batch_checks import batches_of, dataset

from keras_attn_nmt import AttentionDecoder, FusedAdam, ModelConfig, build_model
from keras_attn_nmt.training import optimizer
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.recipe import Recipe, VocabularyRecipe
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.resuming import RECIPE, check_same_recipe
from keras_attn_nmt.training.splits import recorded_data
from keras_attn_nmt.training.training_recipe import TrainingRecipe


def test_location_of_the_optimizer():
    assert optimizer.FusedAdam is FusedAdam


@pytest.mark.parametrize(
    ("old", "new"), [("samples", "segmentation_samples"), ("copies", "dropout_passes")]
)
def test_batched_pairs(texts, tokenizer, old, new):
    def make(**options):
        return BatchedPairs(
            dataset(texts[:50]), tokenizer, tokenizer, tokens_per_batch=512, **options
        )

    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated.*: use {new}"):
        by_old_name = make(**{old: 2})
    by_new_name = make(**{new: 2})
    assert by_old_name.plan == by_new_name.plan
    assert batches_of(by_old_name.epochs(1)) == batches_of(by_new_name.epochs(1))
    with (
        pytest.warns(DeprecationWarning),
        pytest.raises(ValueError, match=f"{old} is the deprecated name of {new}"),
    ):
        make(**{old: 2, new: 2})


@pytest.mark.parametrize(
    ("kind", "section", "old", "new", "value"),
    [
        (VocabularyRecipe, "vocabulary", "samples", "segmentation_samples", 2),
        (TrainingRecipe, "training", "average_weights", "ema_momentum", 0.9),
    ],
)
def test_recipe(tmp_path, kind, section, old, new, value):
    expected = kind(**{new: value})
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated.*: use {new}"):
        by_old_name = kind(**{old: value})
    assert by_old_name == expected
    assert getattr(by_old_name, old) == value
    both = {old: value, new: value}
    message = f"{old} is the deprecated name of {new}"
    with pytest.warns(DeprecationWarning), pytest.raises(ValueError, match=message):
        kind(**both)

    # Files are read without a warning.
    file = tmp_path / "mine.toml"
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        file.write_text(f"[{section}]\n{old} = {value}\n")
        assert getattr(load_recipe(file), section) == expected
        assert getattr(Recipe.from_dict({section: {old: value}}), section) == expected
        default = kind.__dataclass_fields__[new].default
        assert getattr(load_recipe(file, [f"{section}.{new}={default}"]), section) == kind()
    with pytest.raises(ValueError, match=message):
        Recipe.from_dict({section: both})
    file.write_text(f"[{section}]\n{old} = {value}\n{new} = {value}\n")
    with pytest.raises(ValueError, match=message):
        load_recipe(file)
    # An override by either name replaces the value of the file.
    file.write_text(f"[{section}]\n{new} = {value}\n")
    with pytest.warns(DeprecationWarning, match=rf"{section}\.{old} is deprecated"):
        recipe = load_recipe(file, [f"{section}.{old}={default}"])
    assert getattr(recipe, section) == kind()


def test_directories_from_older_releases(tmp_path):
    recipe = load_recipe("multi30k")
    old = json.loads(json.dumps(recipe.to_dict()))
    old["vocabulary"]["samples"] = old["vocabulary"].pop("segmentation_samples")
    old["training"]["average_weights"] = old["training"].pop("ema_momentum")
    (tmp_path / RECIPE).write_text(json.dumps(old))
    check_same_recipe(tmp_path, recipe)
    (tmp_path / "training.json").write_text(json.dumps({"recipe": old}))
    assert recorded_data(tmp_path) == recipe.data


def test_decoder():
    with pytest.warns(DeprecationWarning, match="initial_units is deprecated"):
        decoder = AttentionDecoder(4, initial_units=2)
    assert decoder.initial_state_units == decoder.initial_units == 2
    config = decoder.get_config()
    assert "initial_units" not in config
    config["initial_units"] = config.pop("initial_state_units")
    assert AttentionDecoder.from_config(config).initial_state_units == 2
    with pytest.raises(ValueError, match="initial_units is the deprecated name of"):
        AttentionDecoder(4, initial_units=2, initial_state_units=2)


def test_keras_file_from_older_releases(tmp_path):
    model = build_model(ModelConfig(20, 20, 4, 4, decoder_units=8, attention_units=4))
    new, old = tmp_path / "new.keras", tmp_path / "old.keras"
    model.save(new)
    with zipfile.ZipFile(new) as read, zipfile.ZipFile(old, "w") as written:
        for name in read.namelist():
            content = read.read(name)
            if name == "config.json":
                assert b'"initial_state_units"' in content
                content = content.replace(b'"initial_state_units"', b'"initial_units"')
            written.writestr(name, content)
    loaded = keras.saving.load_model(old)
    assert loaded.get_layer("decoder").initial_state_units == 4
