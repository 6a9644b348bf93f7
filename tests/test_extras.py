"""The base install works; errors for missing dependencies name the extra to install."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import pytest

from keras_attn_nmt import cli

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="training and exports run on TensorFlow"
)

OPTIONAL = {
    "ai_edge_litert": "device",
    "apache_beam": "beam",
    "babel": "train",
    "grpc": "serve",
    "matplotlib": "train",
    "num2words": "train",
    "requests": "serve",
    "sacrebleu": "train",
    "sentencex": "text",
    "sklearn": "study",
    "tensorboard": "train",
    "tensorflow_serving": "serve",
}
# Modules that import one of them when they are imported.
IMPORTING = (
    "bulk.job",
    "bulk.merging",
    "bulk.models",
    "bulk.parts",
    "bulk.pipeline",
    "bulk.runners",
    "bulk.storage",
    "bulk.transform",
    "export.demo",
    "export.serving_config",
    "export.interpreters",
    "export.runner",
    "export.saved_model",
    "export.saved_model_check",
    "export.tflite",
    "export.tflite_check",
    "export.warmup",
    "export.web",
    "export.web_energies",
    "plots",
    "training.datasets.phrasebook",
    "training.datasets.wording",
    "training.demo",
    "training.study",
    "training.study_plots",
)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package one that is not installed."""

    def hide(package: str) -> None:
        for name in [*sys.modules, package]:
            if name.split(".")[0] == package:
                monkeypatch.setitem(sys.modules, name, None)
        for name in IMPORTING:
            parent, _, module = f"keras_attn_nmt.{name}".rpartition(".")
            monkeypatch.delitem(sys.modules, f"{parent}.{module}", raising=False)
            if parent in sys.modules and module in vars(sys.modules[parent]):
                monkeypatch.delattr(sys.modules[parent], module)

    return hide


def draw() -> None:
    from keras_attn_nmt import plot_attention  # noqa: F401


def score() -> None:
    from keras_attn_nmt.training import corpus_scores

    corpus_scores(["a house"], ["a house"])


def log_bleu() -> None:
    from keras_attn_nmt.training.callbacks import ValidationBleu

    ValidationBleu(None, [], [])


def log_pictures() -> None:
    from keras_attn_nmt.training.callbacks import AttentionPicture

    AttentionPicture(None, "ein Haus", Path("nowhere"))


def train() -> None:
    from keras_attn_nmt import training

    training.train(training.load_recipe("phrases"), "nowhere/model")


def read_phrases() -> None:
    from keras_attn_nmt.training.corpora import read_tfds

    read_tfds("phrases/de-en.9-9-9.seed0", "train", "de", "en")


def study() -> None:
    from keras_attn_nmt.training.recipe_files import load_recipe
    from keras_attn_nmt.training.study import run_study

    run_study(load_recipe("phrases"), "nowhere/study")


def ask_over_rest() -> None:
    from keras_attn_nmt.export import TranslationClient

    TranslationClient("http://localhost:8501", "demo")


def ask_over_grpc() -> None:
    from keras_attn_nmt.export import TranslationClient

    TranslationClient("localhost:8500", "demo")


def export_saved_model() -> None:
    from keras_attn_nmt.export import export_saved_model

    export_saved_model("nowhere", "nowhere/served")


def export_serving() -> None:
    from keras_attn_nmt.export import export_serving

    export_serving("nowhere")


def export_tflite() -> None:
    from keras_attn_nmt.export import export_tflite

    export_tflite("nowhere", "nowhere.tflite")


def run_tflite() -> None:
    from keras_attn_nmt.export import TFLiteTranslator

    TFLiteTranslator("nowhere.tflite")


def split_paragraphs() -> None:
    from keras_attn_nmt.text.paragraphs import split_sentences

    split_sentences("Ein Haus.", "de")


def translate_in_bulk() -> None:
    from keras_attn_nmt.bulk import bulk_translate

    bulk_translate("nowhere.tflite", ["nowhere"], "out")


def export_demo() -> None:
    from keras_attn_nmt.export.demo import export_demo  # noqa: F401


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("matplotlib", draw),
        ("sacrebleu", score),
        ("sacrebleu", log_bleu),
        ("matplotlib", log_pictures),
        ("tensorboard", log_pictures),
        ("matplotlib", train),
        ("sacrebleu", train),
        ("tensorboard", train),
        ("babel", read_phrases),
        ("num2words", read_phrases),
        ("sklearn", study),
        ("matplotlib", study),
        ("sentencex", split_paragraphs),
        ("apache_beam", translate_in_bulk),
        ("requests", ask_over_rest),
        ("grpc", ask_over_grpc),
        ("tensorflow_serving", ask_over_grpc),
        ("tensorflow_serving", export_saved_model),
        ("tensorflow_serving", export_serving),
        ("ai_edge_litert", export_tflite),
        ("ai_edge_litert", run_tflite),
        # Before the demo trains.
        ("tensorflow_serving", export_demo),
        ("ai_edge_litert", export_demo),
    ],
)
def test_missing_dependency_names_its_extra(
    hide: Callable[[str], None],
    package: str,
    use: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    hide(package)
    with pytest.raises(ImportError) as caught:
        use()
    assert package in str(caught.value)
    command = f"pip install 'keras_attn_nmt[{OPTIONAL[package]}]'"
    assert str(caught.value).endswith(f"; install it with: {command}")
    assert not list(tmp_path.iterdir())


def test_commands_report_missing_extras(
    hide: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hide("tensorflow_serving")
    output = str(tmp_path / "served")
    assert cli.main(["export", "saved-model", "nowhere", "--output", output]) == 1
    assert "pip install 'keras_attn_nmt[serve]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# All optional packages are hidden from it.
BASE_ALONE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in set(sys.argv[2].split()):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
from pathlib import Path
from keras_attn_nmt import (
    MaskedCrossentropy, ModelConfig, Tokenizer, Translator, build_model, cli, model_directory,
)
from keras_attn_nmt.training.corpora import decoded, read_lines
from keras_attn_nmt.training.data import BatchedPairs
import keras_attn_nmt.training.datasets

folder = Path(sys.argv[1])
(folder / "de").write_text("ein Haus\\nzwei Seen\\n" * 8)
(folder / "en").write_text("a house\\ntwo lakes\\n" * 8)
pairs = read_lines(folder / "de", folder / "en")
tokenizers = [Tokenizer.learn(texts, 280) for texts in zip(*decoded(pairs))]
sizes = [each.vocabulary_size for each in tokenizers]
config = ModelConfig(*sizes, embedding_units=4, encoder_units=4, decoder_units=4, attention_units=4)
model = build_model(config)
model.compile("adam", loss={"logits": MaskedCrossentropy()})
data = BatchedPairs(pairs, *tokenizers, tokens_per_batch=64, max_length=20)
model.fit(data.in_order(), verbose=0)
files = model_directory.ModelFiles(model, config, *tokenizers)
model_directory.save_model(folder / "model", files)
assert Translator.load(folder / "model")(["ein Haus"])[0].attention.size
assert cli.main(["align", str(folder / "model"), "--source", str(folder / "de"),
                 "--target", str(folder / "en")]) == 0
assert cli.main(["doctor", "--json"]) == 0
"""


@pytest.mark.slow
def test_base_install_trains_and_translates(tmp_path: Path) -> None:
    # TensorFlow and TFDS import these themselves, or may.
    hidden = set(OPTIONAL) - {"grpc", "requests"}
    done = subprocess.run(
        [sys.executable, "-c", BASE_ALONE, str(tmp_path), " ".join(hidden)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *links, report = done.stdout.splitlines()
    assert len(links) == 16
    assert json.loads(report)["keras backend"] == "tensorflow"
