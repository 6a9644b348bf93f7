"""Recipes: those that come with the package, overrides, and what is refused."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tiny_translator import tiny_files

import keras_attn_nmt
from keras_attn_nmt import model_directory
from keras_attn_nmt.training.parents import load_parent
from keras_attn_nmt.training.recipe import DataRecipe, Recipe
from keras_attn_nmt.training.recipe_files import load_recipe, recipe_names


def test_bundled_recipes_are_valid():
    names = {
        "bahdanau2015",
        "g2p",
        "multi30k",
        "multi30k-best",
        "multi30k-fast",
        "phrases",
        "tanaka_enja",
    }
    assert names <= set(recipe_names())
    for name in recipe_names():
        assert load_recipe(name).data.corpus


def test_recipes_are_read_from_a_zip_file(tmp_path):
    package = Path(keras_attn_nmt.__file__).parent
    with zipfile.ZipFile(tmp_path / "package.zip", "w") as archive:
        for folder in (package, package.parent / "training"):
            for path in [*folder.rglob("*.py"), *folder.rglob("*.toml")]:
                name = path.relative_to(folder)
                at = "keras_attn_nmt" if folder == package else "keras_attn_nmt/training"
                archive.write(path, f"{at}/{name}")
    program = (
        "from keras_attn_nmt.training import recipe_files as f, recipe_text; print(f.__file__, "
        "f.recipe_names(), f.load_recipe('phrases').data.corpus, recipe_text.built_in()['g2p'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "package.zip")},
    )
    assert "package.zip" in done.stdout, done.stderr
    assert f"{recipe_names()} phrases Letters to phones" in done.stdout


def test_bahdanau2015_recipe_matches_the_paper():
    recipe = load_recipe("bahdanau2015")
    assert recipe.model["reset_after"] is False
    assert recipe.model["readout"] == "maxout"
    assert recipe.model["initializer"] == "paper"
    # The corpus is streamed, about five times.
    assert recipe.data.sample
    steps = recipe.training.epochs * recipe.training.steps_per_epoch
    assert steps * 80 / 40.8e6 == pytest.approx(5, rel=0.01)
    assert (recipe.training.optimizer, recipe.training.clip_norm) == ("adadelta", 1.0)


def test_overrides_accept_toml_values_and_bare_words():
    recipe = load_recipe(
        "multi30k",
        ["training.epochs=3", "model.cell=lstm", "data.folder=/data", "training.learning_rate=1"],
    )
    assert recipe.training.epochs == 3
    assert recipe.model["cell"] == "lstm"
    assert recipe.data.folder == "/data"
    assert recipe.training.learning_rate == 1.0


def test_texts_that_look_like_other_values_need_no_quotes():
    """Min Nan has the code `nan`, and files are called by years."""
    given = {"source_language": "nan", "train": "2019", "folder": "1e5", "test": "2020-01-01"}
    recipe = load_recipe("tanaka_enja", [f"data.{name}={text}" for name, text in given.items()])
    assert {name: getattr(recipe.data, name) for name in given} == given
    assert load_recipe("tanaka_enja", ['data.train="2019"']).data.train == "2019"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["training.epoch=3"], "Did you mean 'epochs'"),
        (["trainin.epochs=3"], "Did you mean 'training'"),
        (["epochs=3"], r"is not section.key=value.* Did you mean training\.epochs=3\?"),
        (["learing_rate=1e-3"], r"Did you mean training\.learning_rate=1e-3\?"),
        (["training.learing_rate=1e-3"], "Did you mean 'learning_rate'"),
        (["training.epochs"], r"is not section.key=value, such as training\.epochs=5\.$"),
        (["training.epochs=many"], r"training\.epochs must be of type int, got 'many'"),
        (["training.epochs=0"], r"training\.epochs must be at least 1"),
        (["training.seed=4294967296"], r"training\.seed must be at most 4294967295, got"),
        (["training.optimizer=sgd"], r"training\.optimizer must be one of"),
        (
            ["vocabulary.segmentation_samples=0"],
            r"vocabulary\.segmentation_samples must be at least 1, got 0",
        ),
        (
            ["vocabulary.segmentation_samples=1.5"],
            r"vocabulary\.segmentation_samples must be of type int, got 1\.5",
        ),
        (["vocabulary.sampling_alpha=0"], r"sampling_alpha must be in .* got 0\.0"),
        (["vocabulary.sampling_alpha=1.1"], r"sampling_alpha must be in .* got 1\.1"),
        (["model.cell=rnn"], "cell must be one of"),
        (["model.cel=gru"], "Did you mean 'cell'"),
        (["model.source_vocabulary_size=9"], r"set vocabulary\.source_size"),
        (["training.bleu_sentences=0"], "val_bleu"),
        (["vocabulary.character_coverage=0.9"], r"character_coverage must be from 0\.98 to 1, got"),
        (["vocabulary.character_coverage=nan"], r"character_coverage must be from 0\.98 to 1, got"),
        (["training.r_drop=-1.0"], "r_drop must be a finite number of at least 0, got -1"),
        (["training.r_drop=inf"], "r_drop must be a finite number of at least 0, got inf"),
        (["training.guided_alignment=inf"], "guided_alignment must be a finite number of at least"),
        (
            [
                "training.r_drop=1.0",
                *(f"model.{name}_dropout=0.0" for name in ("embedding", "annotation", "readout")),
            ],
            "has no dropout",
        ),
        (["training.schedule=plateau"], "warmup_steps"),
    ],
)
def test_unknown_settings_are_rejected(overrides, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("multi30k", overrides)


def test_a_byte_order_mark_is_no_setting(tmp_path):
    (tmp_path / "mine.toml").write_text("[training]\nepochs = 3\n", encoding="utf-8-sig")
    assert load_recipe(tmp_path / "mine.toml").training.epochs == 3


def test_unknown_recipes_and_files(tmp_path):
    with pytest.raises(ValueError, match=r"Known: bahdanau2015, g2p, multi30k.*; or give"):
        load_recipe("nope")
    with pytest.raises(ValueError, match=r"Did you mean multi30k or .*\? Known: bahdanau2015"):
        load_recipe("multi30")
    with pytest.raises(FileNotFoundError, match="The recipe file"):
        load_recipe(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text("[data\n")
    with pytest.raises(ValueError, match="not a TOML file"):
        load_recipe(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("overrides", "setting"),
    [
        (["data.test=other"], "data.test"),
        (["data.folder=corpus", "data.train=other"], "data.train"),
        (["data.validation_size=20"], "data.validation_size"),
        (["data.source_column=2"], "data.source_column"),
        (["data.alignment=align"], "data.alignment"),
        (["vocabulary.shared=true", "vocabulary.target_size=4000"], "vocabulary.target_size"),
        (
            ["vocabulary.segmentation_samples=1", "vocabulary.sampling_alpha=0.1"],
            "vocabulary.sampling_alpha",
        ),
        (["training.plateau_factor=0.3"], "training.plateau_factor"),
        (["model.readout_units=300"], "model.readout_units"),
        (["model.attention=luong", "model.attention_units=64"], "model.attention_units"),
        (["model.cell=lstm", "model.reset_after=false"], "model.reset_after"),
        (
            [
                "model.query_previous_token=false",
                "model.attention=none",
                "model.annotation_dropout=0.1",
            ],
            "model.annotation_dropout",
        ),
        (
            [
                "model.query_previous_token=false",
                "model.attention=none",
                "model.annotation_dropout=0.0",
                "search.coverage_penalty=0.2",
            ],
            "search.coverage_penalty",
        ),
        (
            [
                *(f"model.{name}_dropout=0.0" for name in ("embedding", "annotation", "readout")),
                "model.word_dropout=0.1",
                "model.dropout_per_sentence=true",
            ],
            "model.dropout_per_sentence",
        ),
    ],
)
def test_overrides_without_effect_are_rejected(overrides, setting, tmp_path):
    with pytest.raises(ValueError, match=f"The override: {setting} has no effect"):
        load_recipe("multi30k", overrides)
    # A recipe may keep a setting that an override disables; a file without overrides may not.
    assert load_recipe("multi30k", overrides[:-1])
    path = tmp_path / "mine.toml"
    path.write_text('[data]\ncorpus = "phrases"\ntest = "other"\n')
    with pytest.raises(ValueError, match=r"mine\.toml: data\.test has no effect"):
        load_recipe(path)


def test_all_settings_without_effect_are_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[data]\ncorpus = "phrases"\ntest = "other"\nsource_column = 2\n')
    with pytest.raises(ValueError, match=r"data\.test has no.*; data\.source_column has.*them"):
        load_recipe(path)


def test_recipe_is_validated_after_overrides(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[training]\nschedule = "cosine"\nplateau_factor = 0.3\n')
    recipe = load_recipe(path, ["training.schedule=plateau"])
    assert recipe.training.plateau_factor == 0.3
    for overrides in ([], ["training.epochs=3"]):
        with pytest.raises(ValueError, match=r"mine\.toml: training\.plateau_factor has no"):
            load_recipe(path, overrides)


def test_the_tokenizer_of_evaluate_can_be_set_without_validation_bleu():
    loss = ["training.bleu_sentences=0", "training.monitor=val_loss", "training.bleu_tokenize=zh"]
    assert load_recipe("multi30k", loss).training.bleu_tokenize == "zh"
    with pytest.raises(ValueError, match=r"training\.bleu_tokenize has no effect"):
        load_recipe("g2p", loss)


def test_languages_are_those_of_the_parent(tmp_path, caplog):
    parent, path = tmp_path / "parent", tmp_path / "mine.toml"
    model_directory.save_model(parent, tiny_files())
    recorded = Recipe(data=DataRecipe(source_language="fr")).to_dict()
    (parent / "training.json").write_text(json.dumps({"recipe": recorded}))
    path.write_text("[training]\nepochs = 2\n")
    inherited = load_recipe(path, parent=parent)
    assert (inherited.data.source_language, load_recipe(path).data.source_language) == ("fr", "de")
    # A built-in recipe says itself what its corpus has.
    assert load_recipe("multi30k", parent=parent).data.source_language == "de"
    load_parent(parent, inherited)
    assert "source_language" not in caplog.text
    load_parent(parent, load_recipe(path, ["data.source_language=es"], parent=parent))
    assert "data.source_language is 'es', but the model in" in caplog.text


def test_dropout_is_that_of_the_parent_or_of_an_override(tmp_path):
    """R-Drop needs some; the built-in recipe's own model is not that of the parent."""
    plain, dropout, path = tmp_path / "plain", tmp_path / "dropout", tmp_path / "mine.toml"
    model_directory.save_model(plain, tiny_files())
    model_directory.save_model(dropout, tiny_files({"readout_dropout": 0.3}))
    path.write_text("[training]\nr_drop = 0.5\n")
    for recipe in ("multi30k-best", path):
        assert load_recipe(recipe, parent=dropout).model["readout_dropout"] == 0.3
        with pytest.raises(ValueError, match=r"set model\.embedding_dropout or .*r_drop=0"):
            load_recipe(recipe, parent=plain)
        assert load_recipe(recipe, ["training.r_drop=0"], parent=plain).training.r_drop == 0
        with_dropout = load_recipe(recipe, ["model.embedding_dropout=0.1"], parent=plain)
        assert with_dropout.training.r_drop == 0.5
