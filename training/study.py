"""Ablation study: attention against baselines without attention, with equal data and budget.

    recipe -> per system: match parameters -> train -> translate the test sets -> BLEU by length
           -> table, plots, study.json

Finished systems in the output directory are reused, interrupted ones are resumed.
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
from keras_attn_nmt.pages.map_page import map_page, nearest_neighbours
from keras_attn_nmt.run_record import DATA_DIGESTS, TRAINING, VALIDATION_DIGESTS, read_training
from keras_attn_nmt.training import callbacks, study_plots
from keras_attn_nmt.training.corpora import concatenated, decoded
from keras_attn_nmt.training.evaluation import bleu_by_length, evaluate
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import MODEL_DEFAULTS
from keras_attn_nmt.training.resuming import check_same_recipe
from keras_attn_nmt.training.splits import load_split
from keras_attn_nmt.training.trainer import train
from keras_attn_nmt.translator import Translator

# The query is the decoder state only, as in the paper.
PAPERS_ATTENTION = {"attention": "bahdanau", "query_previous_token": False}
FIXED_VECTOR = {**PAPERS_ATTENTION, "attention": "none", "bidirectional": False}
# Overrides of `[model]`; the first system sets the parameter budget.
SYSTEMS: Mapping[str, Mapping[str, Any]] = {
    "attention": PAPERS_ATTENTION,
    "multiplicative": {**PAPERS_ATTENTION, "attention": "luong"},
    "forward-encoder": {**PAPERS_ATTENTION, "bidirectional": False},
    # Unidirectional, as in Cho et al. and Sutskever et al. (2014): a bidirectional encoder is
    # invariant to reversal.
    "fixed-vector": FIXED_VECTOR,
    "fixed-vector-reversed": {**FIXED_VECTOR, "source_order": "reversed"},
    "fixed-vector-twice": {**FIXED_VECTOR, "source_order": "twice"},
}
# What tells the systems apart, beside the query.
OWN_SETTINGS = ("attention", "bidirectional", "source_order")
# The system whose sentence vectors are plotted: they encode the whole sentence.
FIXED = "fixed-vector"
# Number of random concatenations of the test set, so that each length bin is populated.
TEST_CONCATENATIONS = 4
# Bins with fewer sentences are not plotted.
FEWEST_SENTENCES = 20
REPORT = "study.json"
# Maximum number of plotted sentence vectors.
MOST_VECTORS = 500

logger = logging.getLogger(__name__)


def run_study(
    recipe: Recipe,
    output: str | os.PathLike[str],
    systems: Iterable[str] = tuple(SYSTEMS),
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Trains and evaluates the systems, and plots the results.

    Args:
        recipe: Data, vocabulary, budget and training settings of all systems. `data.concatenate`
            applies to training and test sentences; `data.max_length` must be large enough.
        output: Output directory for a model directory per system, `study.json`, `study.md`,
            `bleu_by_length.png`, and `vectors.png` and `vectors.html` with the test sentence
            vectors of `fixed-vector` or else the first system.
        systems: Names in `SYSTEMS`.
        quiet: Hide progress bars.

    Returns:
        The content of `study.json`: for each system parameters, BLEU, seconds, tokens/s and BLEU
        by source length.

    Raises:
        FileExistsError: Another process is writing into `output`.
        ValueError: A system is unknown, or incompatible with the recipe, or the training data has
            changed since another system was trained.
        ImportError: scikit-learn is not installed.
    """
    study_plots.require_scikit_learn()
    names = list(systems)
    if unknown := sorted(set(names) - set(SYSTEMS)):
        raise ValueError(f"Unknown systems: {', '.join(unknown)}. Known: {', '.join(SYSTEMS)}.")
    model = {**MODEL_DEFAULTS, **recipe.model}
    if own := [name for name in OWN_SETTINGS if model[name] != MODEL_DEFAULTS[name]]:
        raise ValueError(
            f"{', '.join(f'model.{name}' for name in own)}: each system of the study has its own. "
            "Remove it from the recipe."
        )
    without = [name for name in names if SYSTEMS[name]["attention"] == "none"]
    if recipe.training.guided_alignment and without:
        raise ValueError(
            "training.guided_alignment needs a model with attention, which these systems do not "
            f"have: {', '.join(without)}. Set it to 0, or choose other systems."
        )
    if recipe.search.coverage_penalty and without:
        raise ValueError(
            f"search.coverage_penalty={recipe.search.coverage_penalty} needs a model with "
            f"attention, which these systems do not have: {', '.join(without)}. Set it to 0, or "
            "choose other systems."
        )
    with taken(output) as directory:
        return _run(recipe, directory, names, quiet)


def _run(recipe: Recipe, output: Path, names: Sequence[str], quiet: bool) -> dict[str, Any]:
    sources, references = _test_pairs(recipe)
    report: dict[str, Any] = {"recipe": recipe.to_dict(), "systems": {}}
    known: dict[str, tuple[Path, Any]] = {}
    # Before any training.
    for name in names:
        if finished := _finished(output / name):
            _check_same_data(output / name, finished, known)
    for name in names:
        logger.info("study: %s", name)
        directory = output / name
        trained = _train(_recipe_of(recipe, name), directory, quiet)
        _check_same_data(directory, trained, known)
        translator = Translator.load(directory)
        tokenize = recipe.training.bleu_tokenize
        scores = evaluate(translator, sources, references, tokenize=tokenize)
        translations = scores.pop("translations")
        report["systems"][name] = {
            "parameters": trained["parameters"],
            "training_seconds": trained["seconds"],
            "training_tokens_per_second": _tokens_per_second(trained),
            **scores,
            "bleu_by_words": bleu_by_words(sources, translations, references, tokenize),
        }
        writing.write_text(output / REPORT, json.dumps(report, indent=2) + "\n")
    writing.write_text(output / "study.md", table(report))
    curves = {name: system["bleu_by_words"] for name, system in report["systems"].items()}
    study_plots.save(output / "bleu_by_length.png", study_plots.plot_bleu_by_words(curves))
    language = recipe.data.source_language
    _draw_vectors(output, FIXED if FIXED in names else names[0], sources, language)
    return report


def _test_pairs(recipe: Recipe) -> tuple[list[str], list[str]]:
    pairs = load_split(dataclasses.replace(recipe.data, concatenate=0), "test")
    rows = decoded(pairs)
    if recipe.data.concatenate:
        # Original and concatenated sentences, without duplicates.
        for seed in range(1, TEST_CONCATENATIONS + 1):
            together = decoded(concatenated(pairs, recipe.data.concatenate, seed))
            rows += [row for row in together if row not in rows]
    return [source for source, _ in rows], [reference for _, reference in rows]


def _recipe_of(recipe: Recipe, name: str) -> Recipe:
    """The recipe of a system, with decoder units that match the parameter budget."""
    model = {**recipe.model, **SYSTEMS[name]}
    budget = _parameters({**recipe.model, **SYSTEMS["attention"]}, recipe)
    units = model.get("decoder_units", ModelConfig.decoder_units)
    return dataclasses.replace(
        recipe, model={**model, "decoder_units": fit(model, recipe, budget, units)}
    )


def fit(model: Mapping[str, Any], recipe: Recipe, budget: int, units: int) -> int:
    """The number of decoder units, a multiple of 8, closest to a parameter budget."""

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


def _finished(directory: Path) -> dict[str, Any] | None:
    """The record of a system whose training has ended."""
    if not (directory / TRAINING).exists():
        return None
    record = read_training(directory)
    # Older releases wrote it only at the end of training.
    return record if record.get("finished", True) else None


def _check_same_data(
    directory: Path, record: Mapping[str, Any], known: dict[str, tuple[Path, Any]]
) -> None:
    """Raises `ValueError` if a system was trained with other data than one before.

    Args:
        directory: Of the system.
        record: Of its training.
        known: By digest, the first system that has it; completed here.
    """
    # Older releases recorded none.
    for name in filter(record.get, (DATA_DIGESTS, VALIDATION_DIGESTS)):
        first, digests = known.setdefault(name, (directory, record[name]))
        if record[name] != digests:
            raise ValueError(
                f"{first} and {directory} were trained with different data, so they cannot be "
                "compared: remove the one that was trained with other data than now."
            )


def _train(recipe: Recipe, directory: Path, quiet: bool) -> dict[str, Any]:
    if report := _finished(directory):
        check_same_recipe(directory, recipe)
        return report
    started = callbacks.read_state(directory / model_directory.CHECKPOINTS) is not None
    if started:
        # Stricter than --resume: all systems have the same budget.
        check_same_recipe(directory, recipe)
    return train(recipe, directory, resume=started, quiet=quiet)


def _tokens_per_second(trained: Mapping[str, Any]) -> float:
    """Harmonic mean over epochs of equal size, without validation."""
    return statistics.harmonic_mean(epoch["tokens_per_second"] for epoch in trained["history"])


def bleu_by_words(
    sources: Sequence[str],
    translations: Sequence[str],
    references: Sequence[str],
    tokenize: str = "13a",
) -> dict[int, float]:
    """BLEU by source length, as in figure 2 of Bahdanau et al. 2015.

    Returns:
        Lower-cased corpus BLEU by the upper bound of each length bin in source words; bins with
        fewer than `FEWEST_SENTENCES` sentences are omitted.
    """
    return {
        int(each["words"]): each["bleu_lowercase"]
        for each in bleu_by_length(sources, translations, references, tokenize)
        if each["sentences"] >= FEWEST_SENTENCES
    }


def table(report: Mapping[str, Any]) -> str:
    """The results as a Markdown table."""
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


def _draw_vectors(output: Path, name: str, sources: Sequence[str], language: str) -> None:
    texts = list(sources)[:MOST_VECTORS]
    vectors = np.asarray(Translator.load(output / name).embed(texts))
    points = study_plots.in_two_dimensions(vectors)
    groups, nearest = study_plots.groups_of(vectors)
    examples = [[texts[row] for row in rows] for rows in nearest]
    study_plots.save(output / "vectors.png", study_plots.plot_vectors(points, groups, examples))
    page = map_page(
        points,
        texts,
        nearest_neighbours(vectors),
        groups=groups,
        title=f"Sentence vectors: {name}",
        language=language,
    )
    writing.write_text(output / "vectors.html", page)
