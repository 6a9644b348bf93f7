"""The systems that attention replaced, side by side, and the long sentences they are tested on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from keras_attn_nmt import cli
from keras_attn_nmt.training import study, study_plots
from keras_attn_nmt.training.corpora import concatenated, decoded, from_pairs
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.study import run_study

PAIRS = [(f"{'a ' * (n % 7)}a{n}", f"b{n}") for n in range(500)]


def test_sentences_are_concatenated_to_all_lengths():
    long = concatenated(from_pairs(PAIRS), 30, seed=1)
    rows = decoded(long)
    assert int(long.cardinality()) == len(rows) < len(PAIRS)
    assert rows == decoded(long)
    for side in (0, 1):
        words = " ".join(row[side] for row in rows).split()
        assert words == " ".join(pair[side] for pair in PAIRS).split()
    lengths = [len(row[0].split()) for row in rows]
    assert max(lengths) <= 30
    # As many short ones as long ones, more or less.
    assert np.histogram(lengths, bins=3, range=(0, 30))[0].min() > len(rows) / 6


def test_sentence_above_the_maximum_length_is_not_split():
    long = concatenated(from_pairs([("a b c", "x"), ("d", "y")]), 1)
    assert list(long.as_numpy_iterator()) == [(b"a b c", b"x"), (b"d", b"y")]


def test_pairs_with_an_empty_side_are_not_concatenated():
    pairs = [("a", "w"), ("b", " "), ("c", "x"), ("", "y"), ("d", "z")]
    rows = decoded(concatenated(from_pairs(pairs), 50))
    assert sorted(rows) == [["", "y"], ["a c d", "w x z"], ["b", " "]]


def test_max_length_below_concatenated_length_is_rejected():
    with pytest.raises(ValueError, match=r"set data\.max_length to about 160"):
        load_recipe("multi30k", ["data.concatenate=80"])


def test_test_set_has_short_and_concatenated_sentences_once(recipe):
    sources, references = study._test_pairs(recipe)
    single = study._test_pairs(replace(recipe, data=replace(recipe.data, concatenate=0)))
    assert sources[:100] == single[0]
    assert len(references) == len(sources) > 110
    together = sources[100:]
    assert max(len(source.split()) for source in together) > 8
    assert not set(together) & set(single[0])


def test_bleu_is_computed_by_sentence_length():
    sources = ["a b"] * 20 + ["a b c d e f"] * 25 + ["a " * 50] * 3
    references = ["one two three four"] * 48
    translations = ["one two three four"] * 20 + ["five six seven eight"] * 28
    curve = study.bleu_by_words(sources, translations, references)
    assert list(curve) == [5, 10]
    assert curve[5] == pytest.approx(100)
    assert curve[10] < 10


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    words = {"eins": "one", "zwei": "two", "drei": "three", "vier": "four"}
    generator = np.random.default_rng(1)
    for split, count in (("train", 120), ("validation", 20), ("test", 100)):
        lines = [generator.choice(list(words), generator.integers(1, 9)) for _ in range(count)]
        (folder / f"{split}.de").write_text("".join(" ".join(line) + "\n" for line in lines))
        (folder / f"{split}.en").write_text(
            "".join(" ".join(words[word] for word in line) + "\n" for line in lines)
        )
    sizes = ["embedding_units=16", "encoder_units=32", "decoder_units=64", "attention_units=48"]
    return load_recipe(
        "phrases",
        [
            *["data.corpus=lines", f"data.folder={folder}", "data.size=0", "data.concatenate=12"],
            *["vocabulary.source_size=280", "vocabulary.target_size=280"],
            *(f"model.{size}" for size in sizes),
            *["training.epochs=1", "training.bleu_sentences=5", "training.tokens_per_batch=512"],
            "training.bleu_tokenize=char",
        ],
    )


OTHER_SYSTEMS = [name for name in study.SYSTEMS if name != "fixed-vector"]


@pytest.mark.parametrize(
    "name",
    ["fixed-vector", *(pytest.param(each, marks=pytest.mark.slow) for each in OTHER_SYSTEMS)],
)
def test_systems_have_equal_parameter_counts(recipe, name):
    first = study._parameters({**recipe.model, **study.SYSTEMS["attention"]}, recipe)
    fitted = study._recipe_of(recipe, name)
    assert study._parameters(fitted.model, recipe) == pytest.approx(first, rel=0.04)
    assert fitted.model["decoder_units"] % 8 == 0
    assert fitted.training == recipe.training


@pytest.mark.slow
def test_study_writes_table_plots_and_report(recipe, tmp_path):
    pytest.importorskip("sklearn")
    names = ["fixed-vector"]
    report = run_study(recipe, tmp_path, names, quiet=True)
    written = json.loads((tmp_path / "study.json").read_text())["systems"]["fixed-vector"]
    assert written["parameters"] > 0
    assert "|tok:char|" in written["bleu"]["signature"]
    assert list(written["bleu_by_words"]) == ["5", "10"]
    assert "| fixed-vector | 0.0" in (tmp_path / "study.md").read_text()
    for picture in ("bleu_by_length.png", "vectors.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    vectors = (tmp_path / "vectors.html").read_text()
    assert '"t-SNE"' in vectors and '"language":"de"' in vectors
    # What is trained is trained once.
    before = (tmp_path / "fixed-vector" / "model.keras").stat().st_mtime_ns
    again = run_study(recipe, tmp_path, names, quiet=True)
    assert (tmp_path / "fixed-vector" / "model.keras").stat().st_mtime_ns == before
    assert again["systems"]["fixed-vector"]["bleu"] == report["systems"]["fixed-vector"]["bleu"]
    with pytest.raises(ValueError, match=r"different values of training\.epochs"):
        run_study(replace(recipe, training=replace(recipe.training, epochs=2)), tmp_path, names)
    # The data of the first was other data; older releases did not record it.
    path = tmp_path / "fixed-vector" / "training.json"
    record = json.loads(path.read_text())
    del record["data_digests"]
    path.write_text(json.dumps(record))
    both = run_study(recipe, tmp_path, ["fixed-vector", "fixed-vector-twice"], quiet=True)
    assert len(both["systems"]) == 2
    path.write_text(json.dumps({**record, "validation_digests": ["other"]}))
    with pytest.raises(ValueError, match=r"fixed-vector and .*twice were trained with different"):
        run_study(recipe, tmp_path, ["fixed-vector", "fixed-vector-twice"], quiet=True)


def test_systems_that_would_ignore_a_setting_are_refused(recipe, tmp_path, capsys):
    pytest.importorskip("sklearn")
    with pytest.raises(ValueError, match="Unknown systems: transformer"):
        run_study(recipe, tmp_path, ["transformer"])
    guided = replace(recipe, training=replace(recipe.training, guided_alignment=0.5))
    with pytest.raises(ValueError, match=r"needs a model with attention, .* fixed-vector"):
        run_study(guided, tmp_path, ["attention", "fixed-vector"])
    covering = replace(recipe, search=replace(recipe.search, coverage_penalty=0.2))
    with pytest.raises(ValueError, match=r"coverage_penalty=0\.2 needs a model with attention"):
        run_study(covering, tmp_path, ["attention", "fixed-vector"])
    for name, value in (("attention", "luong"), ("bidirectional", False)):
        with pytest.raises(ValueError, match=f"model.{name}: each system of the study has its own"):
            run_study(replace(recipe, model={**recipe.model, name: value}), tmp_path)
    setting = "model.query_previous_token = false"
    arguments = ["study", "phrases", "--output", str(tmp_path), "--set", setting]
    assert cli.main(arguments) == 2
    assert "all systems have the query of the paper" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_clusters_group_neighbouring_vectors():
    pytest.importorskip("sklearn")
    centres = 10 * np.eye(study_plots.GROUPS)
    truth = np.arange(5 * study_plots.GROUPS) % study_plots.GROUPS
    vectors = centres[truth] + np.random.default_rng(0).normal(0, 0.1, (len(truth), len(centres)))
    groups, nearest = study_plots.groups_of(vectors)
    assert all(len(set(groups[truth == each])) == 1 for each in range(study_plots.GROUPS))
    assert sorted(truth[rows[0]] for rows in nearest) == list(range(study_plots.GROUPS))
    for group, rows in enumerate(nearest):
        assert list(groups[rows]) == [group] * study_plots.EXAMPLES
