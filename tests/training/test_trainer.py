"""A training from recipe to model directory: what is written, and that a stop costs nothing."""

import itertools
import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from keras_attn_nmt import cli, model_directory, model_file, writing
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import callbacks, load_recipe, run_callbacks, train
from keras_attn_nmt.training.callbacks import Progress
from keras_attn_nmt.training.optimizer import check_schedule, plateau_callback, warn_of_warmup
from keras_attn_nmt.training.run_callbacks import write_weights
from keras_attn_nmt.training.run_data import warn_of_few
from keras_attn_nmt.training.splits import load_recorded, load_split, recorded_data
from keras_attn_nmt.training.training_recipe import TrainingRecipe
from keras_attn_nmt.translator import Translator

WORDS = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four", "und": "and"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(1)
    for split, count in (("train", 200), ("validation", 20), ("test", 20)):
        lines = [generator.choice(list(WORDS), generator.integers(1, 5)) for _ in range(count)]
        source = "\n".join(" ".join(line) for line in lines)
        target = "\n".join(" ".join(WORDS[word] for word in line) for line in lines)
        (folder / f"{split}.de").write_text(source + "\n")
        (folder / f"{split}.en").write_text(target + "\n")
    return folder


def small(folder, *overrides):
    return load_recipe(
        "phrases",
        [
            "data.corpus=lines",
            f"data.folder={folder}",
            "data.size=0",
            "vocabulary.source_size=280",
            "vocabulary.target_size=280",
            "model.embedding_units=8",
            "model.encoder_units=8",
            "model.decoder_units=12",
            "model.attention_units=8",
            "model.embedding_dropout=0.2",
            "model.readout_dropout=0.2",
            "training.epochs=3",
            "training.tokens_per_batch=512",
            "training.bleu_sentences=10",
            *overrides,
        ],
    )


def weights_of(directory):
    return model_directory.load_model(directory).model.get_weights()


@pytest.mark.slow
def test_resumed_run_ends_at_the_same_weights(corpus, tmp_path, monkeypatch):
    # Settings with state across epochs; schedules by step only need Adam's iteration count.
    overrides = [
        "training.ema_momentum=0.9",
        "training.r_drop=0.5",
        "vocabulary.segmentation_samples=2",
        "vocabulary.sampling_alpha=0.5",
        "training.schedule=plateau",
        "training.warmup_steps=0",
        "training.plateau_patience=1",
        "training.patience=3",
        "training.learning_rate=0.003",
    ]
    recipe = small(corpus, *overrides)
    whole = train(recipe, tmp_path / "whole", quiet=True)
    assert whole["pairs"] == 200 * recipe.vocabulary.segmentation_samples
    # BLEU stays at 0, so that the third epoch has half the learning rate.
    rates = [epoch["learning_rate"] for epoch in whole["history"]]
    assert rates == pytest.approx([0.003, 0.003, 0.0015])
    assert "val_perplexity" in whole["metrics"]

    epochs = itertools.count(1)

    def full(*arguments):
        if next(epochs) == 3:
            raise OSError(28, "No space left on device")
        write_weights(*arguments)

    monkeypatch.setattr(run_callbacks, "write_weights", full)
    with pytest.raises(OSError, match=r"Could not save epoch 3 .*No space left.*--resume"):
        train(recipe, tmp_path / "stopped", quiet=True)
    monkeypatch.undo()
    # What was interrupted can be used: the model of its best epoch, here the first.
    so_far = json.loads((tmp_path / "stopped" / "training.json").read_text())
    assert (so_far["finished"], so_far["best_epoch"]) == (False, 1)
    assert recorded_data(tmp_path / "stopped") == recipe.data
    assert Translator.load(tmp_path / "stopped")(["eins und zwei"])[0].target_tokens
    with pytest.raises(FileExistsError, match="resume with --resume"):
        train(recipe, tmp_path / "stopped", quiet=True)
    with pytest.raises(ValueError, match=r"different values of training\.seed"):
        train(small(corpus, *overrides, "training.seed=2"), tmp_path / "stopped", resume=True)

    # With a default spelled out, it is the same recipe.
    same = small(corpus, *overrides, "model.word_dropout=0.0")
    resumed = train(same, tmp_path / "stopped", resume=True, quiet=True)
    assert resumed["resumed_after_epoch"] == 2
    assert resumed["finished"]
    assert len(resumed["history"]) == len(whole["history"]) == 3
    assert resumed["best_epoch"] == whole["best_epoch"]
    for before, after in zip(
        weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped"), strict=True
    ):
        np.testing.assert_allclose(after, before, atol=1e-6)
    for name, value in whole["history"][-1].items():
        if name not in ("seconds", "tokens_per_second"):
            assert resumed["history"][-1][name] == pytest.approx(value, rel=1e-4)


@pytest.fixture
def aligned(corpus, tmp_path):
    """A copy of the corpus in which word n is aligned with word n."""
    folder = shutil.copytree(corpus, tmp_path / "aligned")
    sentences = (folder / "train.de").read_text().splitlines()
    links = [" ".join(f"{i}-{i}" for i in range(len(line.split()))) for line in sentences]
    (folder / "train.align").write_text("\n".join(links) + "\n")
    return folder


def test_model_directory_is_complete_and_documents_the_run(aligned, tmp_path, caplog):
    guided = ("data.alignment=align", "training.guided_alignment=1.0")
    guided += ("training.learning_rate=0.02", "training.warmup_steps=0")
    recipe = small(aligned, "training.epochs=6", "data.validation=''", *guided)
    report = train(recipe, tmp_path / "model", quiet=True)
    assert sum("only 10 validation pairs" in each for each in caplog.messages) == 1
    losses = [epoch["attention_loss"] for epoch in report["history"]]
    assert losses[-1] < 0.85 * losses[0]
    written = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"model.keras", "config.json", "source.spm", "target.spm", "training.json"} <= written
    assert json.loads((tmp_path / "model" / "training.json").read_text()) == report
    assert report["pairs"] == 190  # Of 200: the others are for validation.
    assert report["recipe"] == recipe.to_dict()
    assert {"val_bleu", "val_loss", "loss"} <= set(report["metrics"])
    assert report["bleu_signature"].startswith("nrefs:1|case:mixed")
    # No optimizer state: about the weights.
    size = (tmp_path / "model" / model_directory.MODEL).stat().st_size
    assert size < 4 * report["parameters"] * 1.5 + 200_000
    assert list((tmp_path / "model" / "tensorboard").rglob("events*"))
    assert Translator.load(tmp_path / "model")(["eins und zwei"])[0].target_tokens
    with pytest.raises(FileExistsError, match="already holds a model"):
        train(recipe, tmp_path / "model")


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_resume_with_other_files_raises(corpus, tmp_path):
    own = shutil.copytree(corpus, tmp_path / "corpus")
    train(small(own, "training.epochs=1"), tmp_path / "model", quiet=True)
    (tmp_path / "model" / "training.json").unlink()  # As on a disk that was full after epoch 1.
    vocabulary = tmp_path / "model" / "source.spm"
    content = vocabulary.read_bytes()
    Tokenizer.learn(["drei und vier"] * 9, 280).save(vocabulary)
    with pytest.raises(ValueError, match=r"source\.spm is damaged, or does not belong"):
        train(small(own), tmp_path / "model", resume=True, quiet=True)
    vocabulary.write_bytes(content)
    for side, word in (("de", "eins"), ("en", "one")):
        with open(own / f"train.{side}", "a") as file:
            file.write(f"{word}\n")
    with pytest.raises(ValueError, match="The training data has changed since the run in"):
        train(small(own), tmp_path / "model", resume=True, quiet=True)
    for side in ("de", "en"):
        shutil.copy(corpus / f"train.{side}", own)
        shutil.copy(corpus / f"test.{side}", own / f"validation.{side}")
    with pytest.raises(ValueError, match="The validation data has changed since the run in"):
        train(small(own), tmp_path / "model", resume=True, quiet=True)
    shutil.copy(corpus / "validation.de", own)
    shutil.copy(corpus / "validation.en", own)
    with h5py.File(tmp_path / "model" / "checkpoints" / "epoch_001.weights.h5", "r+") as file:
        del file["optimizer"]
    with pytest.raises(
        ValueError, match=r"epoch_001\.weights\.h5 is damaged .* it lacks \d+ weights"
    ):
        train(small(own), tmp_path / "model", resume=True, quiet=True)


def test_resume_without_checkpoint_raises(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match="Nothing to resume"):
        train(small(corpus), tmp_path / "none", resume=True)
    (tmp_path / "model.keras").touch()
    for resume in (True, False):
        with pytest.raises(FileExistsError, match=r"a model, and no checkpoint .* \(--from\)"):
            train(small(corpus), tmp_path, resume=resume)


@pytest.mark.slow
def test_epoch_is_kept_if_the_model_cannot_be_written(corpus, tmp_path, monkeypatch, capsys):
    recipe = small(corpus, "training.epochs=2")
    atomic_write = writing.atomic_write

    def full(path):
        if Path(path).name == model_directory.MODEL:
            raise OSError(28, "No space left on device")
        return atomic_write(path)

    monkeypatch.setattr(model_directory, "atomic_write", full)
    with pytest.raises(OSError, match=r"Epoch 1 is saved, but .*No space left.*--resume"):
        train(recipe, tmp_path / "model", quiet=True)
    monkeypatch.undo()
    # A search that was saved in between stays.
    search = SearchOptions(2, 0.5, 30)
    model_directory.save_search(tmp_path / "model", search)

    def stopped(*_, callbacks, **__):
        for callback in callbacks:
            if isinstance(callback, Progress):
                callback.on_epoch_begin(1)
        raise KeyboardInterrupt

    # No later epoch may be better: the model is written before the next one.
    monkeypatch.setattr(keras.Model, "fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "model", resume=True)
    # The bar is closed, so it is not redrawn below a message.
    assert re.search(r"epoch 2/2.*\n$", capsys.readouterr().err)
    so_far = json.loads((tmp_path / "model" / "training.json").read_text())
    assert (so_far["finished"], so_far["best_epoch"]) == (False, 1)
    assert so_far["resumed_after_epoch"] == 1
    assert model_directory.load_model(tmp_path / "model").search == search


HOLDER = """
import sys
from keras_attn_nmt.training.output_directory import taken

with taken(sys.argv[1]):
    print("locked", flush=True)
    input()
"""


def test_output_directory_is_locked_by_one_process(corpus, tmp_path, capsys):
    recipe, directory = tmp_path / "mine.toml", tmp_path / "model"
    recipe.write_text(f'[data]\nfolder = "{corpus}"\n')
    other = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(other, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        assert cli.main(["train", str(recipe), "--output", str(directory)]) == 1
        assert list(directory.iterdir()) == []
        process.communicate(b"\n")
    assert "Another process is writing to" in capsys.readouterr().err
    assert not directory.exists()


def test_unwritable_output_is_rejected_before_reading_data(corpus, tmp_path):
    (tmp_path / "file").write_text("")
    recipe = small(corpus, "data.train=missing")
    with pytest.raises(FileExistsError, match="is a file; expected a directory"):
        train(recipe, tmp_path / "file")
    with pytest.raises(OSError, match="file is a file; expected a folder"):
        train(recipe, tmp_path / "file" / "model")


def test_data_errors_leave_no_directory(corpus, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data\.folder=FOLDER, or the file"):
        train(small(corpus, "data.train=missing"), tmp_path / "runs" / "model")
    assert not (tmp_path / "runs").exists()


def test_missing_test_split_suggests_another(corpus, tmp_path):
    with pytest.raises(ValueError, match="--split validation"):
        load_split(small(corpus, "data.test=''").data, "test")
    recipe = small(corpus, "data.test=missing").to_dict()
    (tmp_path / "training.json").write_text(json.dumps({"recipe": recipe}))
    with pytest.raises(FileNotFoundError, match=r"Neither .*missing\.de.*another split \(--s"):
        load_recorded(tmp_path, "test")


def test_missing_or_wrong_alignments_are_rejected(aligned, tmp_path):
    with pytest.raises(
        ValueError, match=r"The corpus lines has no word alignments: set data.align"
    ):
        train(small(aligned, "training.guided_alignment=1.0"), tmp_path / "model")
    recipe = small(aligned, "data.alignment=align", "training.guided_alignment=1.0")
    lines = (aligned / "train.align").read_text().splitlines()
    (aligned / "train.align").write_text("\n".join(["", "7-0", *lines[2:]]) + "\n")
    with pytest.raises(ValueError, match=r"train\.align, line 2: link 7-0 is out of range"):
        train(recipe, tmp_path / "model")
    (aligned / "train.align").write_text("0-0\n")
    with pytest.raises(ValueError, match="must align line n"):
        train(recipe, tmp_path / "model")


def test_best_epoch_is_the_earliest_on_ties():
    history = [{"val_loss": 2.0, "val_bleu": 1.0}, {"val_loss": 1.0, "val_bleu": 3.0}]
    history.append({"val_loss": 1.0, "val_bleu": 3.0})
    assert callbacks.best_epoch(history, "val_loss") == 1
    assert callbacks.best_epoch(history, "val_bleu") == 1


def test_nan_loss_stops_training():
    progress = callbacks.Progress(steps=5, tokens=100, epochs=1, quiet=True)
    progress.on_epoch_begin(0)
    with pytest.raises(ValueError, match=r"loss became nan in batch 3 of this epoch"):
        progress.on_train_batch_end(2, {"loss": float("nan")})


def test_nan_in_the_monitored_loss_is_not_saved(tmp_path):
    history = callbacks.History()
    keeper = callbacks.Checkpoints(tmp_path, "val_loss", history, lambda path: path.touch())
    history.on_epoch_end(0, {"loss": 1.0, "val_loss": float("nan")})
    with pytest.raises(ValueError, match="val_loss became nan in epoch 1, which is not saved"):
        keeper.on_epoch_end(0)
    assert not list(tmp_path.iterdir())


def test_small_improvements_are_no_plateau():
    settings = TrainingRecipe(schedule="plateau", plateau_patience=1, monitor="val_loss")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse")
    callback = plateau_callback(settings)
    callback.set_model(model)
    callback.on_train_begin()
    for epoch in range(4):
        callback.on_epoch_end(epoch, {"val_loss": 1 - epoch * 1e-6})
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)
    callback.on_epoch_end(4, {"val_loss": 1.0})
    assert float(model.optimizer.learning_rate) < 0.1


def test_a_warning_advises_only_what_is_not_so(caplog):
    for patience, advised in ((0, False), (3, True)):
        caplog.clear()
        warn_of_few(10, TrainingRecipe(patience=patience))
        assert "only 10 validation pairs" in caplog.text
        assert ("training.patience=0" in caplog.text) is advised


def test_schedules_that_never_act_are_said(caplog):
    with pytest.raises(ValueError, match=r"patience=2 stops before training.schedule='plateau'"):
        check_schedule(TrainingRecipe(schedule="plateau", patience=2))
    check_schedule(TrainingRecipe(schedule="plateau", patience=3))
    check_schedule(TrainingRecipe(schedule="cosine", patience=1))
    warn_of_warmup(TrainingRecipe(schedule="cosine", epochs=3, warmup_steps=29), 10)
    assert not caplog.messages
    warn_of_warmup(TrainingRecipe(schedule="cosine", epochs=3, warmup_steps=30), 10)
    assert "the run has 30 steps, all of them warm-up" in caplog.text


def test_weights_that_the_disk_does_not_take_are_an_error(tmp_path):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256), keras.layers.Dense(4)])
    model.compile("adam", "mse")
    model.fit(np.ones((2, 64)), np.ones((2, 4)), verbose=0)
    path = tmp_path / "epoch_001.weights.h5"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files cannot grow beyond a limit, which is to a program what a full disk is.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_weights(model, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write_weights(model, path)
    assert list(tmp_path.iterdir()) == [path]
    copy = keras.models.clone_model(model)
    copy.compile("adam", "mse")
    copy.optimizer.build(copy.trainable_variables)
    model_file.load_weights(copy, path)
    for own, other in ((copy, model), (copy.optimizer, model.optimizer)):
        for found, wanted in zip(own.variables, other.variables, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_weights_that_the_disk_does_not_keep_are_an_error(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(256)])
    save = model.save

    def save_on_a_bad_disk(path):
        save(path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    monkeypatch.setattr(model, "save", save_on_a_bad_disk)
    with pytest.raises(OSError, match=r"did not keep epoch_001\.weights\.h5: Bad CRC-32"):
        write_weights(model, tmp_path / "epoch_001.weights.h5")
