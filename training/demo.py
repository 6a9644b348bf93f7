"""The demo: train, evaluate, plot and export on generated phrases in a few minutes on a CPU."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from keras_attn_nmt import writing
from keras_attn_nmt.plots import plot_translation
from keras_attn_nmt.text.alignment import split_words
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training.corpora import decoded
from keras_attn_nmt.training.evaluation import evaluate
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import load_recipe
from keras_attn_nmt.training.splits import load_split
from keras_attn_nmt.training.trainer import train
from keras_attn_nmt.translator import Translator

SENTENCES = (
    "einundvierzig",
    "dreihundertsiebenundsechzigtausendachthundertneunundzwanzig",
    "Mittwoch, 3. Oktober 1990",
    "zweitausenddreihundertfünfundvierzigste",
    "Freitag, 24. Dezember 2027",
)
# For legible pictures: whole English words (forty - one), and attention that is sharp after three
# epochs.
SETTINGS = (
    "vocabulary.target_size=500",
    "model.query_previous_token=true",
    "training.guided_alignment=0.5",
)
REPORT = "report.json"
# Marks a directory whose content the next demo may replace.
MARK = "demo.txt"

logger = logging.getLogger(__name__)


def run_demo(
    output: str | os.PathLike[str],
    sentence: str | None = None,
    overrides: Iterable[str] = (),
    export: Callable[[Path, list[dict[str, Any]]], bool] | None = None,
) -> dict[str, Any]:
    """Trains on phrases de-en, evaluates on held-out values, translates and plots five sentences.

    The recipe is `phrases` with `SETTINGS`.

    Args:
        output: Output directory for `model/`, `attention_1.png` to `attention_5.png` and
            `report.json`. Files of an earlier demo are replaced.
        sentence: Replaces the fifth sentence.
        overrides: See `load_recipe`; they take precedence over `SETTINGS`.
        export: Called with `output` and the translations, to which it may add; returns whether
            the exported models agree with the trained model.

    Returns:
        The content of `report.json`: `exact_match` in [0, 1], `bleu` on sacreBLEU's scale,
        `train_seconds`, `seconds`, the translations and `exports_agree`.

    Raises:
        FileExistsError: `output` holds a model not written by a demo, or is in use by another
            process.
        ValueError: The sentence is blank.
    """
    if sentence is not None and is_blank(sentence):
        raise ValueError("The sentence is blank: give another one, or none for that of the demo.")
    recipe = load_recipe("phrases", [*SETTINGS, *overrides])
    with taken(output) as directory:
        return _run(directory, recipe, sentence, export)


def _run(
    output: Path,
    recipe: Recipe,
    sentence: str | None,
    export: Callable[[Path, list[dict[str, Any]]], bool] | None,
) -> dict[str, Any]:
    start = time.perf_counter()
    model = output / "model"
    if (output / MARK).is_file():
        for old in (model, output / "served"):
            shutil.rmtree(old, ignore_errors=True)
    elif model.exists():
        raise FileExistsError(f"{model} was not written by a demo: use another --output.")
    writing.write_text(output / MARK, "This directory was written by keras-attn-nmt demo.\n")
    logger.info("1/4 training on generated phrases")
    trained = train(recipe, model)
    trained_seconds = time.perf_counter() - start

    logger.info("2/4 translating held-out values")
    translator = Translator.load(model)
    sources, references = zip(*decoded(load_split(recipe.data, "test")), strict=True)
    scores = evaluate(translator, sources, references, tokenize=recipe.training.bleu_tokenize)

    logger.info("3/4 plotting attention")
    sentences = [*SENTENCES[:4], SENTENCES[4] if sentence is None else sentence]
    translations = []
    for number, (source, found) in enumerate(zip(sentences, translator(sentences), strict=True), 1):
        picture = output / f"attention_{number}.png"
        if found.target_tokens:
            # The pieces of a single word, such as a German number, are more informative.
            words = bool(found.text.strip()) and len(split_words(source)) > 1
            figure = plot_translation(found, words=words)
            with writing.atomic_write(picture) as temporary:
                figure.savefig(temporary)
        logger.info("  %s  ->  %s   (%s)", source, found.text, picture)
        lengths = [len(found.source_tokens), len(found.target_tokens)]
        translations.append(
            {
                "source": source,
                "translation": found.text,
                "score": found.score,
                "lengths": lengths,
            }
        )
    agree = None
    if export is not None:
        logger.info("4/4 exporting to TensorFlow Serving, TensorFlow Lite and a web page")
        agree = export(output, translations)
        logger.info(
            "  in separate processes, SavedModel and .tflite file %s with the trained model",
            "agree" if agree else "DISAGREE",
        )
    report = {
        "exact_match": scores["exact_match"],
        "bleu": scores["bleu"]["score"],
        "bleu_signature": scores["bleu"]["signature"],
        "sentences": scores["sentences"],
        "train_seconds": trained_seconds,
        "seconds": time.perf_counter() - start,
        "parameters": trained["parameters"],
        "translations": translations,
        "exports_agree": agree,
    }
    writing.write_text(output / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    logger.info(
        "%.1f %% exact match on %d held-out phrases, BLEU %.1f; %.0f seconds in total",
        100 * report["exact_match"],
        report["sentences"],
        report["bleu"],
        report["seconds"],
    )
    return report
