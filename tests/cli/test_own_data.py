"""A model from a translation memory, own SentencePiece models and vectors, through all exports."""

import io
import json

import pytest
import sentencepiece
from command_line import run_in_shell

PAIRS = [
    ("Ein Haus steht am See.", "A house stands at the lake."),
    ("Zwei Häuser stehen im Garten.", "Two houses stand in the garden."),
    ("Der Garten liegt am See.", "The garden lies at the lake."),
]
# As T5 and Llama have them.
SPECIAL = {
    "de": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "en": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "user_defined_symbols": ["{name}"]},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    units = "".join(
        f'<tu><tuv xml:lang="DE-de"><seg>{de}</seg></tuv>'
        f'<tuv xml:lang="en-US"><seg>{en}</seg></tuv></tu>'
        for de, en in PAIRS * 20
    )
    (tmp_path / "memory.tmx").write_text(f'<tmx version="1.4"><body>{units}</body></tmx>')
    for place, (name, special) in enumerate(SPECIAL.items()):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=(pair[place] for pair in PAIRS * 5),
            model_writer=model,
            vocab_size=80,
            hard_vocab_limit=False,
            minloglevel=2,
            **special,
        )
        (tmp_path / f"{name}.model").write_bytes(model.getvalue())
    (tmp_path / "wiki.de.vec").write_text(". 1 2 3 4 5 6 7 8\nam 8 7 6 5 4 3 2 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def succeed(command, redirections="", settings=()):
    overrides = [word for setting in settings for word in ("--set", setting)]
    code, out, err = run_in_shell([*command.split(), *overrides], redirections)
    assert code == 0, err
    return out, err


@pytest.mark.slow
def test_memory_vocabularies_and_vectors_reach_the_exports(folder):
    succeed("recipe multi30k-fast", "> my.toml", ["data.corpus=tmx", "data.train=memory.tmx"])
    _, log = succeed(
        "train my.toml --output model --quiet",
        settings=[
            "data.validation=",
            "vocabulary.source_model=de.model",
            "vocabulary.target_model=en.model",
            "vocabulary.source_vectors=wiki.de.vec",
            *(f"model.{part}_units=8" for part in ("embedding", "encoder", "decoder", "attention")),
            *("training.epochs=1", "training.bleu_sentences=2", "training.warmup_steps=0"),
        ],
    )
    report = json.loads((folder / "model" / "training.json").read_text())
    assert set(report["vocabulary_files"]) == {"source", "target", "source_vectors"}
    assert "source vectors: " in log
    succeed("translate model", "< /dev/null")
    # Each export is run and compared with the model before it gets its name.
    succeed("export saved-model model --output served")
    succeed("export tflite model --output text.tflite --text")
    succeed("export tflite model --output model.tflite --quantize int8")
    assert (folder / "served" / "1" / "saved_model.pb").is_file()
