"""The command `tune`: search options chosen on validation data."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.checks import check_attention
from keras_attn_nmt.cli.arguments import UsageError, bleu_tokenizer, predicts_phones
from keras_attn_nmt.cli.evaluations import given_dictionary, given_texts
from keras_attn_nmt.cli.options import (
    Commands,
    add_batch_size,
    add_test_set,
    not_negative,
    positive,
)
from keras_attn_nmt.cli.streams import say
from keras_attn_nmt.writing import check_folder_output

if TYPE_CHECKING:
    from keras_attn_nmt.training.tuning import Trial


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "tune",
        tune,
        "Choose beam size, length penalty and coverage penalty on validation data and store them "
        "with the model, as defaults of all commands and exports.",
        "model --beam-sizes 3 5 8",
    )
    command.add_argument("model", help="model directory")
    add_test_set(command, "validation")
    command.add_argument(
        "--metric",
        choices=("bleu", "bleu_lowercase", "chrf"),
        help="what to maximise (default: bleu; a model that predicts phones: correct words)",
    )
    for name, kind, metavar, default in (
        ("beam-sizes", positive, "K", "3 5 8 12"),
        ("length-penalties", not_negative, "A", "0 0.5 1 1.5 2"),
        ("coverage-penalties", not_negative, "B", "0 0.1 0.2 0.4; if the best beam is above 1"),
    ):
        command.add_argument(
            f"--{name}",
            type=kind,
            nargs="+",
            metavar=metavar,
            help=f"{name.replace('-', ' ')} to try (default: {default})",
        )
    command.add_argument(
        "--dry-run", action="store_true", help="print the scores without storing the choice"
    )
    add_batch_size(command)


def tune(options: argparse.Namespace) -> None:
    if (options.source is None) != (options.reference is None):
        raise UsageError("give both --source and --reference, or neither.")
    phones = predicts_phones(options.model)
    for name in ("metric", "tokenize"):
        if phones and getattr(options, name):
            raise UsageError(
                f"--{name} is about translations, but {options.model} predicts phones, of which "
                "correct words are counted: leave it out."
            )
    if options.tokenize and options.metric == "chrf":
        raise UsageError("--tokenize applies to BLEU only; chrF counts characters: leave it out.")
    weighted = any(options.coverage_penalties or ())
    if options.beam_sizes and max(options.beam_sizes) == 1:
        for name, given in (("length", options.length_penalties), ("coverage", weighted)):
            if given:
                raise UsageError(
                    f"--{name}-penalties rank the hypotheses of a beam: give --beam-sizes above 1, "
                    "too."
                )
    if not options.dry_run:
        check_folder_output(options.model)
    from keras_attn_nmt.memory import keep_freed_memory
    from keras_attn_nmt.model_directory import save_search
    from keras_attn_nmt.training import tuning
    from keras_attn_nmt.translator import Translator

    metric = "correct words, %" if phones else options.metric or "bleu"
    if phones:
        dictionary = given_dictionary(options)
    else:
        texts = given_texts(options)
    keep_freed_memory()
    translator = Translator.load(options.model)
    check_attention(translator.has_attention, coverage_penalties=weighted)
    size = options.batch_size
    if phones:
        measure = tuning.measure_phones(translator, dictionary, batch_size=size)
    else:
        measure = tuning.measure_translations(
            translator, *texts, metric=metric, tokenize=bleu_tokenizer(options), batch_size=size
        )
    weights = options.coverage_penalties or tuning.COVERAGE_PENALTIES
    trials = []
    for trial in tuning.tune_search(
        measure,
        translator.search,
        beam_sizes=options.beam_sizes or tuning.BEAM_SIZES,
        length_penalties=options.length_penalties or tuning.LENGTH_PENALTIES,
        coverage_penalties=weights if translator.has_attention else (),
    ):
        trials.append(trial)
        if not options.json:
            print(f"{metric} {trial.score:6.2f}   {trial.options}", flush=True)
    best = tuning.best_trial(trials)
    if not options.dry_run:
        save_search(options.model, best.options)
    if options.json:
        result = {
            "metric": metric,
            "trials": [_as_json(trial) for trial in trials],
            "current": _as_json(trials[0]),
            "chosen": _as_json(best),
            "stored": not options.dry_run,
        }
        print(json.dumps(result))
        return
    gain = best.score - trials[0].score
    print(f"chosen: {best.options} ({metric} {gain:+.2f} against the former options)")
    if not options.dry_run:
        say(f"stored in {options.model}: translate, evaluate and exports use it by default")


def _as_json(trial: Trial) -> dict[str, Any]:
    return {**dataclasses.asdict(trial.options), "score": trial.score}
