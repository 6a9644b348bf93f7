"""Several corpora by ratio: what an epoch has of each, and that everything has its turn."""

import collections
import gzip
import json

import numpy as np
import pytest
import tensorflow as tf
from batch_checks import batches_of, dataset, texts_of

from keras_attn_nmt.training.corpora import decoded, from_pairs
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.mixing import mixed
from keras_attn_nmt.training.recipe import DataRecipe, Recipe
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.run_data import run_batches
from keras_attn_nmt.training.splits import load_split, load_training

NEW = [(f"Haus {n}", f"house {n} new") for n in range(30)]


def epochs_of(batched, tokenizer, count, initial_epoch=0, seed=1):
    """The batches of each epoch."""
    batches = batches_of(batched.epochs(count, initial_epoch=initial_epoch, seed=seed))
    steps = batched.plan.steps_per_epoch
    assert len(batches) == steps * (count - initial_epoch)
    return [batches[start : start + steps] for start in range(0, len(batches), steps)]


@pytest.mark.parametrize("cache", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_every_old_pair_has_its_turn(texts, tokenizer, cache):
    old = texts[:400]
    batched = BatchedPairs(
        *(mixed(dataset(NEW), (dataset(old), 2.0)), tokenizer, tokenizer),
        **{"sentences_per_batch": 8, "max_length": 60, "cache": cache},
    )
    (share,) = batched.plan.shares
    # A little more where a rare length would have none.
    assert 60 <= share.pairs_per_epoch <= 60 + len(batched.plan.buckets)
    assert batched.plan.pairs == 30 + share.pairs_per_epoch
    assert share.pairs == 400
    assert batched.plan.pairs_read == 430
    epochs = epochs_of(batched, tokenizer, share.epochs)
    counts = [texts_of(epoch, tokenizer) for epoch in epochs]
    new = collections.Counter(NEW)
    for epoch in counts:
        assert sum(epoch.values()) == batched.plan.pairs
        assert epoch & new == new
    seen = sum((epoch - new for epoch in counts), collections.Counter())
    assert set(seen) == set(old)
    # No pair comes again before its bucket was used up.
    repeated = collections.Counter(old)
    assert max(seen[pair] - 2 * repeated[pair] for pair in seen) <= 0
    # The last epochs again, as after an interruption; and other ones with another seed.
    assert epochs_of(batched, tokenizer, share.epochs, share.epochs - 2) == epochs[-2:]
    assert epochs_of(batched, tokenizer, 1, seed=2) != epochs[:1]


def test_small_corpus_is_repeated_and_all_is_once(tokenizer):
    few = [("ein Garten", "one garden"), ("zwei Gärten", "two gardens"), ("drei", "three")]
    whole = [("im Park", "in the park")]
    batched = BatchedPairs(
        *(mixed(dataset(NEW), (dataset(few), 1.5), (dataset(whole), None)), tokenizer, tokenizer),
        **{"sentences_per_batch": 80, "max_length": 60},
    )
    assert [share.pairs_per_epoch for share in batched.plan.shares] == [45, 1]
    for epoch in epochs_of(batched, tokenizer, 2):
        counts = texts_of(epoch, tokenizer)
        assert [counts[pair] for pair in few] == [15, 15, 15]
        assert counts[whole[0]] == 1
    assert batched.plan.report().splitlines()[:3] == [
        "sentence pairs: 76 per epoch, 30 of the first corpus and 46 mixed in; of all corpora, "
        "dropped 0 of 34 pairs",
        "mixed corpus 1: 3 pairs, repeated to 45 per epoch",
        "mixed corpus 2: all 1 pairs in every epoch",
    ]
    counts = texts_of(batches_of(batched.in_order()), tokenizer)
    assert counts == texts_of(batches_of(batched.shuffled(seed=3)), tokenizer)


def test_dropped_pairs_of_a_mixed_corpus_are_counted(tokenizer):
    old = [("ein Haus", "a house"), ("", "empty"), ("Haus " * 30, "long")]
    batched = BatchedPairs(
        *(mixed(dataset(NEW), (dataset(old), 0.1)), tokenizer, tokenizer),
        **{"sentences_per_batch": 8, "max_length": 20},
    )
    assert batched.plan.dropped == {"empty": 1, "source_too_long": 1, "target_too_long": 0}
    assert batched.plan.shares[0].dropped == 2
    with pytest.raises(ValueError, match="all 2 sentence pairs of mixed corpus 1 were dropped"):
        BatchedPairs(
            *(mixed(dataset(NEW), (dataset(old[1:]), 1.0)), tokenizer, tokenizer),
            **{"sentences_per_batch": 8, "max_length": 20},
        )
    with pytest.raises(ValueError, match=r"^The validation data: all 2 sentence pairs were drop"):
        run_batches(Recipe(), (tokenizer, tokenizer), dataset(NEW), dataset([("", "empty")] * 2))


def test_invalid_mixtures_are_rejected():
    aligned = tf.data.Dataset.from_tensors(("a", "b", "0-0")).take(1)
    with pytest.raises(ValueError, match=r"corpus 1 to mix in .* above 0, got -1"):
        mixed(dataset(NEW), (dataset(NEW), -1))
    with pytest.raises(ValueError, match="give alignments for all corpora or for none"):
        mixed(dataset(NEW), (aligned, 1.0))
    with pytest.raises(ValueError, match=r"must be \(dataset, ratio\)"):
        mixed(dataset(NEW), dataset(NEW))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mix")
    for name, count in (("new", 20), ("old", 60), ("older", 40)):
        (folder / f"{name}.tsv").write_text("".join(f"{name} {i}\t{i}\n" for i in range(count)))
    return folder


def recipe_of(folder, mix, **data):
    return Recipe.from_dict(
        {
            "data": {
                "corpus": "tsv",
                "folder": str(folder),
                "train": "new.tsv",
                "validation": "",
                "mix": mix,
                **data,
            }
        }
    )


def test_tables_of_a_recipe(folder, tmp_path):
    # Without `corpus`, as [data]: the same folder and format. Its size is not inherited.
    data = recipe_of(folder, [{"train": "old.tsv", "ratio": 2}, {"train": "older.tsv"}], size=10)
    pairs = load_training(data.data)
    assert len(decoded(pairs.pairs)) == 10
    assert [(len(decoded(each)), ratio) for each, ratio in pairs.others] == [(60, 2), (40, None)]
    assert len(decoded(pairs.once())) == 110
    # With it, a section of its own.
    other = {"corpus": "tsv", "train": f"{folder}/old.tsv", "size": 7, "validation": ""}
    (_, ((other_pairs, _),)) = (lambda mix: (mix.pairs, mix.others))(
        load_training(recipe_of(folder, [other]).data)
    )
    assert decoded(other_pairs)[-1] == ["old 6", "6"]
    # As an override, and in JSON.
    text = f'[data]\ncorpus = "tsv"\nfolder = "{folder}"\n[[data.mix]]\ntrain = "old.tsv"\n'
    (tmp_path / "mine.toml").write_text(text)
    mix = 'data.mix=[{train="older.tsv", ratio=0.5}]'
    recipe = load_recipe(tmp_path / "mine.toml", [mix])
    assert recipe.data.mix == ({"train": "older.tsv", "ratio": 0.5},)
    assert load_recipe(tmp_path / "mine.toml").data.mix == ({"train": "old.tsv"},)
    # Neither what holds out pairs, nor what chooses the words of a dictionary, is unused.
    mix = 'data.mix=[{train="a", validation=""}, {corpus="dictionary", train="b", validation="c"}]'
    assert len(load_recipe(tmp_path / "mine.toml", [mix]).data.mix) == 2
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ('[{trian="old.tsv"}]', r"setting of data\.mix\[0\] 'trian'. Did you mean 'train'"),
        ("[{ratio=0.0}]", r"data\.mix\[0\]\.ratio .* above 0, got 0\.0"),
        ("[{ratio='x'}]", r"data\.mix\[0\]\.ratio .* above 0, got 'x'"),
        ("[{}, {max_length=9}]", r"data\.mix\[1\]\.max_length: .* set it in \[data\]"),
        ("[{test='a'}]", r"data\.mix\[0\]\.test has no effect"),
        ("[{train='a', validation='b'}]", r"data\.mix\[0\]\.validation has no .* of \[data\]"),
        ("[{size=-1}]", r"data\.mix\[0\]: data\.size must be at least 0"),
        ("[{size='a'}]", r"data\.mix\[0\]\.size must be of type int"),
        ("[{corpus='phrases', train='a'}]", r"data\.mix\[0\]\.train has no effect"),
        ("[{corpus='parent', train='a'}]", r"the training data of the parent, 'train'"),
        ("old.tsv", "data.mix must be a list of tables"),
        ("['old.tsv']", r"data\.mix\[0\] must be a table"),
    ],
)
def test_invalid_tables_are_rejected(mix, message, tmp_path):
    (tmp_path / "mine.toml").write_text('[data]\ncorpus = "tsv"\n')
    with pytest.raises(ValueError, match=message):
        load_recipe(tmp_path / "mine.toml", [f"data.mix={mix}"])


def test_errors_name_the_table(folder):
    with pytest.raises(FileNotFoundError, match=r"data\.mix\[1\]: Neither .*missing"):
        load_training(recipe_of(folder, [{"train": "old.tsv"}, {"train": "missing"}]).data)
    with pytest.raises(ValueError, match=r"data\.mix\[0\]: corpus = \"parent\" needs .*--from"):
        load_training(recipe_of(folder, [{"corpus": "parent"}]).data)
    phrases = DataRecipe("phrases", size=3, validation_size=3, mix=({"corpus": "multi30k"},))
    with pytest.raises(ValueError, match=r"data\.mix\[0\]: The corpus multi30k has no word align"):
        load_training(phrases, aligned=True)


@pytest.mark.parametrize(
    ("also", "place"),
    [
        ({}, ""),
        ({}, "./"),
        ({}, "{folder}/"),
        ({"corpus": "tsv", "folder": "{folder}/../{folder.name}"}, ""),
        ({"corpus": "tsv", "folder": "~"}, ""),
        ({"corpus": "tsv", "folder": ""}, "~/"),
    ],
)
def test_a_table_of_the_same_files_holds_out_the_same_pairs(folder, also, place, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    place, also = place.format(folder=folder), {k: v.format(folder=folder) for k, v in also.items()}
    table = {"train": f"{place}old.tsv", "ratio": 0.5, **also}
    data = recipe_of(folder, [table], train="old.tsv").data
    held_out = set(load_split(data, "validation").as_numpy_iterator())
    trained = set(load_training(data).once().as_numpy_iterator())
    assert (len(held_out), len(trained), held_out & trained) == (3, 57, set())
    # Of other files, all is for training.
    others = recipe_of(folder, [{**table, "train": f"{place}older.tsv"}], train="old.tsv").data
    assert len(set(load_training(others).once().as_numpy_iterator())) == 97


@pytest.mark.parametrize(("train", "also"), [("old.tsv", "old.tsv.gz"), ("old.tsv.gz", "old.tsv")])
def test_a_table_of_the_same_packed_file_holds_out_the_same_pairs(folder, tmp_path, train, also):
    (tmp_path / "old.tsv.gz").write_bytes(gzip.compress((folder / "old.tsv").read_bytes()))
    data = recipe_of(tmp_path, [{"train": also}], train=train).data
    held_out = set(load_split(data, "validation").as_numpy_iterator())
    trained = set(load_training(data).once().as_numpy_iterator())
    assert (len(held_out), len(trained), held_out & trained) == (3, 57, set())


def test_data_of_the_parent_keep_their_shares(folder):
    """The parent mixed 2 old pairs per new one: so does the old data of its child."""
    grandparent = {"recipe": recipe_of(folder, [], train="older.tsv").to_dict(), "parent": None}
    mix = [{"corpus": "parent", "ratio": 2.0}]
    parent = {"recipe": recipe_of(folder, mix, train="old.tsv").to_dict(), "parent": grandparent}
    child = recipe_of(folder, [{"corpus": "parent", "ratio": 3.0}])
    pairs = load_training(child.data, parent=parent)
    ratios = [ratio for _, ratio in pairs.others]
    np.testing.assert_allclose(ratios, [1.0, 2.0])
    # Without the pairs that are held out for validation.
    assert [len(decoded(each)) for each, _ in pairs.others] == [57, 38]
    limited = recipe_of(folder, [{"corpus": "parent", "ratio": 3.0, "size": 5}])
    ((few, ratio),) = load_training(limited.data, parent=grandparent).others
    assert (len(decoded(few)), ratio) == (5, 3.0)
    with pytest.raises(ValueError, match="the parent was trained on several corpora itself"):
        load_training(limited.data, parent=parent)


def test_iterables_are_counted(tokenizer):
    """A corpus whose size is not known can be mixed in, too."""
    unknown = from_pairs(lambda: iter(NEW))
    pairs = mixed(unknown, (dataset(NEW), 1.0))
    assert [ratio for _, ratio in pairs.scaled(4.0)] == [2.0, 2.0]
