"""Training that begins with a model, and runs that are continued with other settings."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from keras_attn_nmt import ModelConfig, Translator, build_model, model_directory
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.callbacks import History, Progress
from keras_attn_nmt.training.corpora import decoded
from keras_attn_nmt.training.run_callbacks import InFirstProcess
from keras_attn_nmt.training.splits import load_recorded

WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "und": "and"}
SMALL = """
[data]
corpus = "tsv"
train = "old.tsv"
validation = "validation.tsv"
[vocabulary]
source_size = 280
target_size = 280
[model]
embedding_units = 8
encoder_units = 8
decoder_units = 12
attention_units = 8
embedding_dropout = 0.2
[training]
epochs = 2
tokens_per_batch = 512
schedule = "constant"
learning_rate = 0.01
monitor = "val_loss"
patience = 0
bleu_sentences = 0
"""
MORE = """
[data]
corpus = "tsv"
train = "new.tsv"
validation = "validation.tsv"
[[data.mix]]
corpus = "parent"
ratio = 1.5
[training]
epochs = 2
tokens_per_batch = 512
schedule = "cosine"
warmup_steps = 3
learning_rate = 0.01
monitor = "val_loss"
patience = 0
bleu_sentences = 0
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapting")
    generator = np.random.default_rng(1)
    for name, count in (("old", 120), ("new", 40), ("validation", 20)):
        lines = [generator.choice(list(WORDS), generator.integers(1, 5)) for _ in range(count)]
        rows = [f"{' '.join(line)}\t{' '.join(WORDS[word] for word in line)}\n" for line in lines]
        (folder / f"{name}.tsv").write_text("".join(rows))
    (folder / "small.toml").write_text(SMALL)
    (folder / "more.toml").write_text(MORE)
    return folder


def recipe_of(folder, name, *overrides, parent=None):
    here = f"data.folder={folder}"
    return load_recipe(folder / f"{name}.toml", [here, *overrides], parent=parent)


def quick_fit(model, *_, epochs, initial_epoch, callbacks, **__):
    """In place of the steps of training, which take long to trace: weights and moments move."""
    for epoch in range(initial_epoch, epochs):
        for variable in (*model.trainable_variables, *model.optimizer._momentums):
            variable.assign_add(keras.ops.ones_like(variable) * 0.01)
        model.optimizer.iterations.assign_add(10)
        logs = {"loss": 1.0, "val_loss": 1 / (epoch + 1)}
        for callback in callbacks:
            if isinstance(callback, Progress | History | InFirstProcess):
                callback.set_model(model)
                callback.on_epoch_begin(epoch)
                callback.on_epoch_end(epoch, logs)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", quick_fit)


@pytest.fixture(scope="module")
def parent(folder):
    """A model of two epochs, and its `training.json`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", quick_fit)
        report = train(recipe_of(folder, "small"), folder / "parent", quiet=True)
    return folder / "parent", report


def weights_of(directory):
    return model_directory.load_model(directory).model.get_weights()


def assert_equal_weights(first, second):
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_child_begins_with_its_parent_and_names_it(folder, parent, tmp_path, monkeypatch):
    directory, of_parent = parent
    recipe = recipe_of(folder, "more", "model.embedding_dropout=0.0", parent=directory)
    assert recipe.model["decoder_units"] == 12
    assert recipe.model["embedding_dropout"] == 0.0
    assert recipe.vocabulary.source_size == 280
    begun = []

    def fit(model, *arguments, **options):
        begun.append(model.get_weights())
        quick_fit(model, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", fit)
    report = train(recipe, tmp_path / "child", parent=directory, quiet=True)
    for one, other in zip(begun[0], weights_of(directory), strict=True):
        np.testing.assert_array_equal(one, other)
    record = report["parent"]
    digest = hashlib.sha256((directory / "model.keras").read_bytes()).hexdigest()
    assert (record["path"], record["sha256"]) == (str(directory), digest)
    assert (record["recipe"], record["seed"]) == (of_parent["recipe"], 1)
    assert record["parent"] is None and of_parent["parent"] is None
    assert report["pairs"] == 40 + report["mixed_pairs"][0]["pairs_per_epoch"]
    assert 60 <= report["mixed_pairs"][0]["pairs_per_epoch"] <= 64
    assert report["mixed_pairs"][0]["pairs"] == 120
    for name in ("source.spm", "target.spm"):
        assert (tmp_path / "child" / name).read_bytes() == (directory / name).read_bytes()
    # Commands that read the training data see all of it.
    assert len(decoded(load_recorded(tmp_path / "child", "train"))) == 160


@pytest.mark.slow
def test_parents_of_parents_are_recorded(folder, parent, quick, tmp_path):
    directory, of_parent = parent
    recipe = recipe_of(folder, "more", parent=directory)
    child = train(recipe, tmp_path / "child", parent=directory, quiet=True)
    recipe = recipe_of(folder, "more", "training.epochs=1", parent=tmp_path / "child")
    report = train(recipe, tmp_path / "grandchild", parent=tmp_path / "child", quiet=True)
    assert report["parent"]["parent"] == child["parent"]
    assert report["parent"]["parent"]["recipe"] == of_parent["recipe"]
    # Their data are old data, too.
    assert [each["pairs"] for each in report["mixed_pairs"]] == [40, 120]


@pytest.mark.slow
def test_same_weights_after_a_kill(folder, parent, tmp_path):
    """`--resume` of a run with a parent, mixed data and a kept optimizer, in real processes."""
    directory, _ = parent
    command = [sys.executable, "-m", "keras_attn_nmt.cli", "train", str(folder / "more.toml")]
    command += ["--set", f"data.folder={folder}", "--set", "training.epochs=3", "--quiet"]
    command += ["--keep-optimizer"]
    old = tmp_path / "old"
    shutil.copytree(directory, old)
    start = [*command, "--from", str(old), "--output"]
    running = subprocess.Popen([*start, str(tmp_path / "killed")], stderr=subprocess.DEVNULL)
    state = tmp_path / "killed" / "checkpoints" / "state.json"
    while running.poll() is None and not state.is_file():
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    recipe = recipe_of(folder, "more", "training.epochs=3", parent=old)
    whole = train(recipe, tmp_path / "whole", parent=old, keep_optimizer=True, quiet=True)
    assert whole["parent"]["optimizer_steps"] > 0
    # The parent need not exist any more.
    shutil.rmtree(old)
    done = subprocess.run(
        [*start, str(tmp_path / "killed"), "--resume"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    resumed = json.loads((tmp_path / "killed" / "training.json").read_text())
    assert resumed["parent"] == whole["parent"]
    assert 1 <= resumed["resumed_after_epoch"] <= 3
    assert_equal_weights(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.slow
def test_kept_optimizer_continues_with_a_new_schedule(folder, parent, tmp_path, monkeypatch):
    directory, _ = parent
    seen = []

    def fit(model, *_, steps_per_epoch, **__):
        optimizer = model.optimizer
        steps = int(optimizer.iterations)
        moments = [np.abs(each.numpy()).sum() for each in optimizer._momentums]
        rates = [float(optimizer.learning_rate)]
        optimizer.iterations.assign(steps + 2 * steps_per_epoch)
        seen.append((steps, sum(moments), [*rates, float(optimizer.learning_rate)]))
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", fit)
    for schedule, keep in (("cosine", True), ("constant", True), ("cosine", False)):
        values = [f"training.schedule={schedule}", "training.warmup_steps=0", "data.mix=[]"]
        recipe = recipe_of(folder, "more", *values, parent=directory)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "child", parent=directory, keep_optimizer=keep)
    assert [steps for steps, _, _ in seen] == [20, 20, 0]
    assert [moments > 0 for _, moments, _ in seen] == [True, True, False]
    # The schedule begins anew in each case.
    rates = [[0.01, 0], [0.01, 0.01], [0.01, 0]]
    np.testing.assert_allclose([found for _, _, found in seen], rates, atol=1e-8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["training.optimizer=adadelta"], r"training\.optimizer='adadelta' cannot continue"),
        (["training.ema_momentum=0.9"], r"training\.ema_momentum=0\.9, but the optimizer of"),
        ("weights", r"epoch_00\d.* does not belong to model\.keras"),
        ("checkpoint", r"no checkpoint epoch_00\d.*without keeping the optimizer"),
        ("record", "does not record its training.*--keep-optimizer"),
    ],
)
def test_optimizer_that_cannot_be_kept_is_refused(folder, parent, tmp_path, change, message):
    directory = shutil.copytree(parent[0], tmp_path / "parent")
    overrides = ["data.mix=[]"]
    if change == "weights":
        files = model_directory.load_model(directory)
        files.model.set_weights([each + 1 for each in files.model.get_weights()])
        model_directory.save_model(directory, files)
    elif change == "checkpoint":
        shutil.rmtree(directory / "checkpoints")
    elif change == "record":
        (directory / "training.json").unlink()
        (directory / "recipe.json").unlink()
        overrides += ["training.optimizer=adam"]
    else:
        overrides += change
    recipe = recipe_of(folder, "more", *overrides, parent=directory)
    with pytest.raises(ValueError, match=message):
        train(recipe, tmp_path / "child", parent=directory, keep_optimizer=True)
    assert not (tmp_path / "child").exists()


def test_settings_that_the_weights_fix_are_refused_by_name(folder, parent, tmp_path):
    directory, _ = parent
    # Those of a built-in recipe come from the parent.
    recipe = load_recipe("multi30k", parent=directory)
    assert recipe.vocabulary.source_size == 280
    assert recipe.model["encoder_units"] == 8
    refused = {
        "model.decoder_units=16": "12",
        "model.cell='lstm'": "'gru'",
        "vocabulary.source_size=300": "280",
        "vocabulary.model_type='bpe'": "'unigram'",
    }
    with pytest.raises(ValueError, match="The override asks for what the weights") as raised:
        recipe_of(folder, "more", *refused, parent=directory)
    # All of them at once.
    for override, fixed in refused.items():
        assert f"{override} (fixed: {fixed})" in str(raised.value)
    assert "Delete these settings, or the whole sections" in str(raised.value)
    with pytest.raises(ValueError, match=r"small.toml asks for .*: model\.embedding_units=9"):
        (folder / "other").mkdir()
        (folder / "other" / "small.toml").write_text(SMALL.replace("units = 8", "units = 9", 1))
        load_recipe(folder / "other" / "small.toml", parent=directory)
    # The same values may be repeated, and what the weights leave open may be changed.
    same = ["model.decoder_units=12", "model.word_dropout=0.1"]
    same += ["vocabulary.segmentation_samples=2"]
    assert recipe_of(folder, "small", *same, parent=directory).model["word_dropout"] == 0.1
    # In Python, a recipe of other sizes is refused as well.
    with pytest.raises(ValueError, match=r"The recipe asks for .*model\..*load_recipe\(\.\.\."):
        train(load_recipe("phrases"), tmp_path / "child", parent=directory)
    with pytest.raises(ValueError, match="keep_optimizer needs a parent"):
        train(load_recipe("phrases"), tmp_path / "child", keep_optimizer=True)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_recipe("phrases", parent=tmp_path / "missing")


def test_models_without_a_recipe_can_be_parents(folder, quick, tmp_path):
    """`Translator.save` writes no training.json; a hand-built model has no settings."""
    tokenizer = Tokenizer.learn(["eins und zwei", "one and two"] * 3, 290)
    size = tokenizer.vocabulary_size
    model = build_model(
        ModelConfig(
            size, size, embedding_units=6, encoder_units=5, decoder_units=7, attention_units=4
        )
    )
    Translator(model, tokenizer, tokenizer).save(tmp_path / "saved")
    recipe = recipe_of(folder, "more", "data.mix=[]", parent=tmp_path / "saved")
    assert recipe.vocabulary.source_size == size
    report = train(recipe, tmp_path / "child", parent=tmp_path / "saved", quiet=True)
    assert report["parent"]["recipe"] is None
    with pytest.raises(ValueError, match=r"data\.mix\[0\]: .*saved does not record its training"):
        train(
            recipe_of(folder, "more", parent=tmp_path / "saved"),
            tmp_path / "other",
            parent=tmp_path / "saved",
        )

    config = tmp_path / "saved" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(
        json.dumps({"hand_built": True, "vocabularies": values["vocabularies"], "search": {}})
    )
    with pytest.raises(ValueError, match=r"hand-built model.*model\.fit"):
        recipe_of(folder, "more", parent=tmp_path / "saved")


@pytest.mark.slow
def test_resumption_with_another_parent_is_refused(folder, parent, quick, tmp_path):
    directory, _ = parent
    recipe = recipe_of(folder, "more", "training.epochs=1", parent=directory)
    train(recipe, tmp_path / "child", parent=directory, quiet=True)
    other = shutil.copytree(tmp_path / "child", tmp_path / "other")
    for given in (other, tmp_path / "missing"):
        with pytest.raises(ValueError, match=r"was begun with the weights of .*parent"):
            train(recipe, tmp_path / "child", parent=given, resume=True)
    with pytest.raises(ValueError, match="was begun with a new optimizer"):
        train(recipe, tmp_path / "child", keep_optimizer=True, resume=True)
    with pytest.raises(ValueError, match="was begun without a parent"):
        train(recipe_of(folder, "small"), directory, parent=other, resume=True)
    # A moved or copied parent is the same one.
    moved = shutil.copytree(directory, tmp_path / "moved")
    assert train(recipe, tmp_path / "child", parent=moved, resume=True)["finished"]


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_extended_run_equals_an_uninterrupted_one(folder, parent, tmp_path, schedule):
    values = [f"training.schedule={schedule}", "training.ema_momentum=0.9", "training.patience=3"]
    if schedule == "plateau":
        values += ["training.plateau_patience=1", "training.learning_rate=0.0001"]
    four = recipe_of(folder, "small", *values, "training.epochs=4")
    whole = train(four, tmp_path / "whole", quiet=True)
    train(recipe_of(folder, "small", *values, "training.epochs=2"), tmp_path / "run", quiet=True)
    extended = train(four, tmp_path / "run", resume=True, quiet=True)
    assert (extended["resumed_after_epoch"], len(extended["history"])) == (2, 4)
    assert extended["finished"] and extended["recipe"] == four.to_dict()
    assert extended["changes"] == [
        {"after_epoch": 2, "setting": "training.epochs", "from": 2, "to": 4}
    ]
    assert_equal_weights(tmp_path / "whole", tmp_path / "run")
    for name in ("loss", "val_loss", "learning_rate"):
        values = [[epoch.get(name) for epoch in each["history"]] for each in (whole, extended)]
        assert values[0] == values[1]


@pytest.mark.slow
def test_resumption_with_other_settings(folder, parent, quick, tmp_path, caplog):
    directory, _ = parent
    run = shutil.copytree(directory, tmp_path / "run")
    with pytest.raises(ValueError, match=r"has finished 2 epochs.* at least 2, got 1"):
        train(recipe_of(folder, "small", "training.epochs=1"), run, resume=True)
    with pytest.raises(
        ValueError, match=r"values of training\.monitor, .*\(training\.epochs.*may differ"
    ):
        changed = recipe_of(
            folder, "small", "training.monitor=val_bleu", "training.bleu_sentences=5"
        )
        train(changed, run, resume=True)
    # A run may end earlier than it was to: here after the epochs that it has.
    report = train(recipe_of(folder, "small", "data.cache=false"), run, resume=True, quiet=True)
    assert report["resumed_after_epoch"] == 2 and len(report["history"]) == 2
    assert_equal_weights(run, directory)
    # A cosine run begins the rates of the longer schedule, which is said.
    values = ["training.schedule=cosine"]
    train(recipe_of(folder, "small", *values), tmp_path / "cosine", quiet=True)
    longer = recipe_of(folder, "small", *values, "training.epochs=3")
    assert len(train(longer, tmp_path / "cosine", resume=True, quiet=True)["history"]) == 3
    assert "schedule='cosine' now spans 3 epochs, before 2" in caplog.text


@pytest.mark.slow
def test_patience_of_a_stopped_run_can_be_raised(folder, tmp_path):
    stuck = ["training.learning_rate=1e-12", "training.monitor=val_bleu"]
    stuck += ["training.bleu_sentences=20", "training.epochs=3"]
    recipe = recipe_of(folder, "small", *stuck, "training.patience=1")
    assert len(train(recipe, tmp_path / "run", quiet=True)["history"]) == 2
    # It would have stopped as well with more epochs.
    recipe = recipe_of(folder, "small", *stuck, "training.patience=1", "training.epochs=5")
    assert len(train(recipe, tmp_path / "run", resume=True, quiet=True)["history"]) == 2
    recipe = recipe_of(folder, "small", *stuck, "training.patience=0")
    assert len(train(recipe, tmp_path / "run", resume=True, quiet=True)["history"]) == 3
