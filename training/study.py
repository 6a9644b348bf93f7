"""What attention replaced, as systems that run: the same data, budget and training for each.

    recipe -> for each system: sizes to fit -> train -> translate the test sets -> BLEU by length
           -> table, pictures, study.json

A system that is in the output directory already is not trained again; one that was stopped goes on.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_attn_nmt import model_directory, writing
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.model import build_model
from keras_attn_nmt.training import callbacks, study_plots
from keras_attn_nmt.training.corpora import concatenated, decoded
from keras_attn_nmt.training.evaluation import corpus_scores, evaluate
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.splits import load_split
from keras_attn_nmt.training.trainer import check_same_recipe, train
from keras_attn_nmt.translator import Translator

# All attention is asked with the state alone, as in the paper.
PAPERS_ATTENTION = {"attention": "bahdanau", "query_previous_token": False}
FIXED_VECTOR = {**PAPERS_ATTENTION, "attention": "none", "bidirectional": False}
# What each changes in `[model]` of the recipe; the first has the budget that the others get.
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "attention": PAPERS_ATTENTION,
    "multiplicative": {**PAPERS_ATTENTION, "attention": "luong"},
    "forward-encoder": {**PAPERS_ATTENTION, "bidirectional": False},
    # Read in one direction, as Cho et al. and Sutskever et al. (2014) did: reversed, an encoder of
    # both directions would be the same model.
    "fixed-vector": FIXED_VECTOR,
    "fixed-vector-reversed": {**FIXED_VECTOR, "source_order": "reversed"},
    "fixed-vector-twice": {**FIXED_VECTOR, "source_order": "twice"},
}
# The one whose sentence vector has to hold all of the sentence.
FIXED = "fixed-vector"
# Source words of the classes of length: 1 to 5, 6 to 10, ...
CLASS_WORDS = 5
# How often a test set is put together to long sentences, so that each class has enough of them.
TEST_CONCATENATIONS = 4
# A class with fewer sentences has no BLEU worth drawing.
FEWEST_SENTENCES = 20
REPORT = "study.json"
# Sentences whose vectors are drawn.
MOST_VECTORS = 500

logger = logging.getLogger(__name__)


def run_study(
    recipe: Recipe,
    output: str | os.PathLike[str],
    systems: Iterable[str] = tuple(SYSTEMS),
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains the systems, translates with all of them, and draws what comes out.

    Args:
        recipe: Data, vocabulary, budget and training of all systems. With `data.concatenate` they
            are trained on sentences of all lengths up to it, and tested on such, too;
            `data.max_length` has to let those through.
        output: Gets a model directory for each system, `study.json`, `study.md`,
            `bleu_by_length.png` and, of `fixed-vector` or else the first system, the sentence
            vectors of the test set as `vectors.png` and `vectors.html`.
        systems: Names in `SYSTEMS`.
        quiet: Show no progress bars.

    Returns:
        What `study.json` holds: for each system parameters, BLEU, seconds, tokens/s and BLEU by
        length of the source.

    Raises:
        FileExistsError: Another process is writing into `output`.
        ValueError: A system is not known, or the recipe does not go with it.
        ImportError: scikit-learn is not installed.
    """
    study_plots.require_scikit_learn()
    names = list(systems)
    if unknown := sorted(set(names) - set(SYSTEMS)):
        raise ValueError(f"Unknown systems: {', '.join(unknown)}. Known: {', '.join(SYSTEMS)}.")
    with taken(output) as directory:
        return _run(recipe, directory, names, quiet)


def _run(recipe: Recipe, output: Path, names: Sequence[str], quiet: bool) -> dict[str, Any]:
    sources, references = _test_pairs(recipe)
    report: dict[str, Any] = {"recipe": recipe.to_dict(), "systems": {}}
    for name in names:
        logger.info("study: %s", name)
        directory = output / name
        trained = _train(_recipe_of(recipe, name), directory, quiet)
        translator = Translator.load(directory)
        scores = evaluate(translator, sources, references)
        translations = scores.pop("translations")
        report["systems"][name] = {
            "parameters": trained["parameters"],
            "training_seconds": trained["seconds"],
            "training_tokens_per_second": _tokens_per_second(trained),
            **scores,
            "bleu_by_words": bleu_by_words(sources, translations, references),
        }
        writing.write_text(output / REPORT, json.dumps(report, indent=2) + "\n")
    writing.write_text(output / "study.md", table(report))
    curves = {name: system["bleu_by_words"] for name, system in report["systems"].items()}
    study_plots.save(output / "bleu_by_length.png", study_plots.plot_bleu_by_words(curves))
    _draw_vectors(output, FIXED if FIXED in names else names[0], sources)
    return report


def _test_pairs(recipe: Recipe) -> tuple[list[str], list[str]]:
    pairs = load_split(dataclasses.replace(recipe.data, concatenate=0), "test")
    rows = decoded(pairs)
    if recipe.data.concatenate:
        # As they are, and put together in some ways: short and long ones, each of them once.
        for seed in range(1, TEST_CONCATENATIONS + 1):
            together = decoded(concatenated(pairs, recipe.data.concatenate, seed))
            rows += [row for row in together if row not in rows]
    return [source for source, _ in rows], [reference for _, reference in rows]


def _recipe_of(recipe: Recipe, name: str) -> Recipe:
    """The recipe of a system, with decoder units that give it the parameters of the first."""
    model = {**recipe.model, **SYSTEMS[name]}
    budget = _parameters({**recipe.model, **SYSTEMS["attention"]}, recipe)
    units = model.get("decoder_units", ModelConfig.decoder_units)
    return dataclasses.replace(
        recipe, model={**model, "decoder_units": fit(model, recipe, budget, units)}
    )


def fit(model: Mapping[str, Any], recipe: Recipe, budget: int, units: int) -> int:
    """The number of decoder units, in steps of 8, whose parameters are nearest to a budget."""

    def distance(tried: int) -> int:
        return abs(_parameters({**model, "decoder_units": tried}, recipe) - budget)

    best = units
    for step in (64, 8):
        while True:
            nearest = min((best, best + step, max(step, best - step)), key=distance)
            if nearest == best:
                break
            best = nearest
    return best


def _parameters(model: Mapping[str, Any], recipe: Recipe) -> int:
    vocabulary = recipe.vocabulary
    target = vocabulary.source_size if vocabulary.shared else vocabulary.target_size
    config = ModelConfig.from_dict(
        {
            **model,
            "source_vocabulary_size": vocabulary.source_size,
            "target_vocabulary_size": target,
        }
    )
    with keras.device("cpu"):
        return int(build_model(config).count_params())


def _train(recipe: Recipe, directory: Path, quiet: bool) -> dict[str, Any]:
    done = directory / model_directory.TRAINING
    if done.exists():
        report: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        # Older releases wrote it at the end of a training alone.
        if report.get("finished", True):
            check_same_recipe(directory, recipe)
            return report
    started = callbacks.read_state(directory / model_directory.CHECKPOINTS) is not None
    return train(recipe, directory, resume=started, quiet=quiet)


def _tokens_per_second(trained: Mapping[str, Any]) -> float:
    """Over all epochs, each of as many tokens; validation is not counted."""
    return statistics.harmonic_mean(epoch["tokens_per_second"] for epoch in trained["history"])


def bleu_by_words(
    sources: Sequence[str], translations: Sequence[str], references: Sequence[str]
) -> dict[int, float]:
    """BLEU of the sentences of like length, as in figure 2 of Bahdanau et al. 2015.

    Returns:
        Lower-cased corpus BLEU for each class of length, by its largest number of source words;
        classes of fewer than `FEWEST_SENTENCES` are left out.
    """
    classes: dict[int, list[int]] = {}
    for index, source in enumerate(sources):
        words = max(1, len(source.split()))
        classes.setdefault(-(-words // CLASS_WORDS) * CLASS_WORDS, []).append(index)
    return {
        words: corpus_scores([translations[i] for i in rows], [references[i] for i in rows])[
            "bleu_lowercase"
        ]["score"]
        for words, rows in sorted(classes.items())
        if len(rows) >= FEWEST_SENTENCES
    }


def table(report: Mapping[str, Any]) -> str:
    """The table of all systems, in Markdown."""
    rows = [
        "| system | parameters | BLEU lc | chrF | training s | target tokens/s |",
        "|---|---|---|---|---|---|",
    ]
    for name, system in report["systems"].items():
        bleu = system["bleu_lowercase"]["score"]
        rows.append(
            f"| {name} | {system['parameters'] / 1e6:.2f} M | {bleu:.1f} "
            f"| {system['chrf']['score']:.1f} | {system['training_seconds']:.0f} "
            f"| {system['training_tokens_per_second']:,.0f} |"
        )
    return "\n".join(rows) + "\n"


def _draw_vectors(output: Path, name: str, sources: Sequence[str]) -> None:
    texts = list(sources)[:MOST_VECTORS]
    vectors = np.asarray(Translator.load(output / name).embed(texts))
    points = study_plots.in_two_dimensions(vectors)
    groups, nearest = study_plots.groups_of(vectors)
    examples = [[texts[row] for row in rows] for rows in nearest]
    study_plots.save(output / "vectors.png", study_plots.plot_vectors(points, groups, examples))
    page = study_plots.hoverable_vectors(points, groups, texts)
    writing.write_text(output / "vectors.html", page)
