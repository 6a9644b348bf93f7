"""The BLEU of validation sentences that training logs and chooses the best epoch by."""

import pytest

from keras_attn_nmt import Translator
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.evaluation import corpus_scores

PAIRS = [(f"{a} und {b}", f"{a} and {b}") for a in "abcdefgh" for b in "stuvwxyz"]


def test_the_maximum_length_is_that_of_the_recipe(tmp_path):
    """As that of `evaluate --beam-size 1`."""
    sources, references = zip(*PAIRS, strict=True)
    for split in ("train", "validation"):
        for language, texts in (("de", sources), ("en", references)):
            (tmp_path / f"{split}.{language}").write_text("".join(f"{text}\n" for text in texts))
    recipe = load_recipe(
        "phrases",
        [
            *("data.corpus=lines", f"data.folder={tmp_path}", "data.size=0"),
            *("vocabulary.source_size=280", "vocabulary.target_size=280"),
            *("model.embedding_units=8", "model.encoder_units=8", "model.decoder_units=8"),
            # Hardly trained: a translation ends at the maximum length.
            *("training.epochs=1", "training.learning_rate=1e-6", "training.warmup_steps=0"),
            *("training.bleu_tokenize=char", "search.max_length=4"),
        ],
    )
    report = train(recipe, tmp_path / "model", quiet=True)
    translator = Translator.load(tmp_path / "model")

    def bleu(**options):
        found = translator(sources, beam_size=1, **options)
        return corpus_scores([each.text for each in found], references, "char")["bleu"]["score"]

    assert report["metrics"]["val_bleu"] == pytest.approx(bleu())
    assert bleu() != pytest.approx(bleu(max_length=200))
