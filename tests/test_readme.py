"""README, CONTRIBUTING and docs: Python blocks run, commands parse, links lead to files."""

import functools
import importlib
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest
from layer_checks import gradients

import keras_attn_nmt
from keras_attn_nmt import ModelConfig, Tokenizer, Translator, build_model
from keras_attn_nmt.cli.options import PROGRAM
from keras_attn_nmt.cli.parser import build_parser

ROOT = Path(__file__).parent.parent
PAGES = [
    str(path.relative_to(ROOT))
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
]
every_page = pytest.mark.parametrize("page", PAGES)
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="tf.data and exports need TensorFlow"
)
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)]*)?\)")


def text(page):
    return (ROOT / page).read_text("utf-8")


def fenced(page):
    """The blocks of a page, as pairs of language and content."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def python(page):
    return [content for language, content in fenced(page) if language == "python"]


def run(page, *marks, replace=()):
    """Runs the blocks of a page that contain the marks, in one namespace; returns that."""
    namespace = {"__name__": "docs"}
    for mark in marks:
        (block,) = [block for block in python(page) if mark in block]
        for old, new in replace:
            block = block.replace(old, new)
        exec(compile(block, page, "exec"), namespace)
    return namespace


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def demo_model(folder):
    """A model with random weights where the demo writes its own."""
    german = Tokenizer.learn(["einundvierzig", "zweiundvierzig"] * 3, 290)
    english = Tokenizer.learn(["forty-one", "forty-two"] * 3, 290)
    sizes = german.vocabulary_size, english.vocabulary_size
    model = build_model(
        ModelConfig(*sizes, embedding_units=6, encoder_units=5, decoder_units=7, attention_units=4)
    )
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=each.shape) * 0.5 for each in model.get_weights()])
    Translator(model, german, english).save(folder / "build" / "demo" / "model")


@every_page
def test_python_blocks_compile(page):
    for block in python(page):
        compile(block, page, "exec")


def test_readme_is_short():
    assert len(text("README.md").splitlines()) <= 150
    assert (ROOT / "docs/images/attention.png").stat().st_size < 80_000


@every_page
def test_links_resolve_to_files(page):
    for target in LINK.findall(text(page)):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).is_file(), target


@every_page
def test_commands_parse(page):
    blocks = "\n".join(content for language, content in fenced(page) if not language)
    for line in blocks.replace("\\\n", " ").splitlines():
        *_, command = line.split(" | ")
        words = shlex.split(command, comments=True)
        if words[:1] == [PROGRAM]:
            redirected = [place for place, word in enumerate(words) if word in ("<", ">")]
            build_parser().parse_args(words[1 : min(redirected, default=len(words))])


def test_api_reference_lists_all_public_names():
    import keras_attn_nmt.export as export
    import keras_attn_nmt.training as training

    for package in (keras_attn_nmt, training, export):
        page = text(f"docs/api/{package.__name__.rpartition('.')[2]}.md")
        shown = re.findall(r"^::: ([\w.]+)\.(\w+)$", page, re.MULTILINE)
        assert set(package.__all__) <= {name for _, name in shown}
        for module, name in shown:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


def test_custom_functional_model_builds():
    assert isinstance(run("docs/python.md", "def by_hand")["model"], keras.Model)


def test_custom_attention_score_example_runs(rng, tmp_path):
    added = run("CONTRIBUTING.md", "class CosineAttention", "def test_cosine_attention")
    added["test_cosine_attention"](rng, tmp_path)


def test_score_with_backward_pass_example_is_right(rng):
    score = run("CONTRIBUTING.md", "def squared_distance_score")["squared_distance_score"]()
    # Two steps, a batch of 3, 4 source positions, 5 units.
    d_energies = rng.normal(size=(2, 3, 4)).astype("float32")
    queries = keras.Variable(rng.normal(size=(2, 3, 5)), dtype="float32")
    keys = keras.Variable(rng.normal(size=(3, 4, 5)), dtype="float32")

    def total():
        energies = [score.forward(queries[step][:, None], keys.value)[:, 0] for step in range(2)]
        return sum(keras.ops.sum(e * d) for e, d in zip(energies, d_energies, strict=True))

    by_queries, by_keys = gradients(total, [queries, keys])[1]
    for step in range(2):
        found = score.backward(d_energies[step], queries[step], keys.value)
        np.testing.assert_allclose(found, by_queries[step], rtol=1e-5, atol=1e-5)
    found, of_weights = score.backward_of_keys(d_energies, queries + 0.0, keys.value)
    np.testing.assert_allclose(found, by_keys, rtol=1e-5, atol=1e-5)
    assert of_weights == []


@needs_tensorflow
def test_rows_and_columns_example_runs():
    found = run("docs/corpus.md", "from_pairs(rows")
    assert [found[name].cardinality() for name in ("pairs", "more")] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_translation_example_runs(page, demo_model, folder):
    run(page, "best, second")
    assert (folder / "heat.png").is_file()


@pytest.mark.slow
def test_toy_language_example_learns():
    run("docs/python.md", "A toy language", 'load_model("toy.keras")')


@pytest.mark.slow
@needs_tensorflow
def test_text_training_example_runs(folder, monkeypatch):
    from keras_attn_nmt.training import corpora

    local = functools.partial(corpora.read_tfds, data_dir=folder / "tfds")
    monkeypatch.setattr(corpora, "read_tfds", local)
    found = run(
        "docs/python.md",
        "BatchedPairs(pairs",
        "ValidationBleu(",
        replace=[("20000-500-500", "400-50-50")],
    )
    assert "val_bleu" in found["model"].history.history
    assert list(folder.glob("logs/events*"))
    Translator.load("mine")


@pytest.mark.slow
@pytest.mark.release  # As in tests/test_hand_built.py, whose exports are compared.
@needs_tensorflow
def test_model_with_custom_score_is_exported(folder):
    found = run("docs/python.md", "def by_hand", "class SquaredDistance", "export_tflite(")
    assert found["found"].text == "two houses"
    assert (folder / "served/1/saved_model.pb").is_file()
    assert (folder / "by_hand.tflite").is_file()
    run("docs/serving.md", "tf.saved_model.load")
