"""The command `evaluate`."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.cli.arguments import (
    UsageError,
    bleu_tokenizer,
    given_pairs,
    model_languages,
    predicts_phones,
    search_options,
)
from keras_attn_nmt.cli.options import (
    Commands,
    add_ensemble,
    add_search_options,
    add_test_set,
    positive,
)
from keras_attn_nmt.results import one_line
from keras_attn_nmt.writing import check_file_output, check_folder_output, write_text

if TYPE_CHECKING:
    from keras_attn_nmt.decoding.search_options import SearchOptions
    from keras_attn_nmt.translation import Translation
    from keras_attn_nmt.translator import Translator


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "evaluate",
        evaluate,
        "Measure BLEU, chrF and speed on a test set; word and phone error rates of a model that "
        "predicts phones.",
        "model --source test.de --reference test.en",
    )
    command.add_argument("model", help="model directory")
    add_ensemble(command)
    add_test_set(command, "test")
    command.add_argument("--output", metavar="FILE", help="write the translations to this file")
    command.add_argument(
        "--against",
        metavar="TRANSLATIONS",
        help="compare with the translations of a second system, one per line: paired bootstrap "
        "resampling, with confidence intervals",
    )
    command.add_argument(
        "--seed",
        type=positive,
        metavar="S",
        help="seed of the resampling for --against, at least 1 (default: 12345)",
    )
    command.add_argument(
        "--html",
        metavar="FILE",
        help="write a page with every sentence, its scores and attention, worst first",
    )
    command.add_argument(
        "--save-search",
        action="store_true",
        help="store beam size, penalties and maximum length as the model's defaults "
        "(the command tune chooses them on validation data)",
    )
    add_search_options(command, glossary=True)


def evaluate(options: argparse.Namespace) -> None:
    _check_evaluate(options)
    if predicts_phones(options.model):
        _evaluate_phones(options)
    else:
        _evaluate_translations(options)


def _check_evaluate(options: argparse.Namespace) -> None:
    if (options.source is None) != (options.reference is None):
        raise UsageError("give both --source and --reference, or neither.")
    _check_outputs(options)
    if options.seed is not None and options.against is None:
        raise UsageError("--seed is of the resampling for --against: give both.")
    for path in (options.output, options.html):
        if path:
            check_file_output(path)
    if options.save_search:
        check_folder_output(options.model)


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises `UsageError` if a file would be replaced that the command reads or writes, too."""
    files = [("--source", options.source), ("--against", options.against)]
    files += [("--glossary", options.glossary)]
    files += [("--reference", path) for path in options.reference or ()]
    for name, path in (("--output", options.output), ("--html", options.html)):
        if not path or Path(path).is_char_device():
            continue
        for other, taken in files:
            if taken and os.path.realpath(path) == os.path.realpath(taken):
                raise UsageError(f"{other} and {name} are both {path}: name two files.")
        files.append((name, path))
        if options.source is None and Path(path).is_file():
            _check_is_no_data(options.model, name, path)


def _check_is_no_data(model: str, name: str, path: str) -> None:
    """Raises `UsageError` if an output would replace a file of the model's corpus."""
    from keras_attn_nmt.training.splits import named_files, recorded_data

    if os.path.realpath(path) in map(os.path.realpath, named_files(recorded_data(model))):
        raise UsageError(f"{name} would replace {path}, data of the model's corpus: name another.")


def _evaluate_phones(options: argparse.Namespace) -> None:
    from keras_attn_nmt.memory import keep_freed_memory
    from keras_attn_nmt.training.phone_errors import pronounce_and_score
    from keras_attn_nmt.translator import Translator

    for name in ("tokenize", "html", "against"):
        if getattr(options, name):
            raise UsageError(
                f"--{name} is about BLEU, but {options.model} predicts phones, which are measured "
                "in word and phone errors: leave it out."
            )
    if options.glossary:
        raise UsageError(
            f"--glossary is for translations, but {options.model} predicts phones: leave it out."
        )
    dictionary = given_dictionary(options)
    keep_freed_memory()
    translator = Translator.load(options.model, options.ensemble)
    result, found = pronounce_and_score(translator, dictionary, **search_options(options))
    if options.output:
        lines = [
            f"{word}  {one_line(each.text)}\n" for word, each in zip(dictionary, found, strict=True)
        ]
        write_text(options.output, "".join(lines))
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{'word error rate':17} {result['word_error_rate']:7.2%}")
        print(f"{'phone error rate':17} {result['phone_error_rate']:7.2%}")
        print(
            f"{result['words']} words with {result['pronunciations']} pronunciations in "
            f"{result['seconds']:.1f} s, {result['words_per_second']:.0f} words/s"
        )
    _save_search(options, translator)


def given_texts(options: argparse.Namespace) -> tuple[list[str], list[list[str]]]:
    """Source sentences, and lists of first references, second references, and so on."""
    from keras_attn_nmt.training.corpora import decoded

    files = [decoded(given_pairs(options, path)[0]) for path in options.reference or [None]]
    return [source for source, _ in files[0]], [[each for _, each in rows] for rows in files]


def given_dictionary(options: argparse.Namespace) -> dict[str, list[str]]:
    """All pronunciations of each word."""
    from keras_attn_nmt.training.corpora import decoded
    from keras_attn_nmt.training.dictionaries import pronunciations

    paths = options.reference or [None]
    return pronunciations(row for path in paths for row in decoded(given_pairs(options, path)[0]))


def _save_search(options: argparse.Namespace, translator: Translator) -> None:
    """Stores the search options, after scores are printed: a failure loses no results."""
    from keras_attn_nmt.model_directory import save_search

    if options.save_search:
        save_search(options.model, translator.search.replaced_by(vars(options)))


def _evaluate_translations(options: argparse.Namespace) -> None:
    from keras_attn_nmt.memory import keep_freed_memory
    from keras_attn_nmt.training import evaluation
    from keras_attn_nmt.translator import Translator

    options.tokenize = bleu_tokenizer(options)
    search = search_options(options)
    sources, references = given_texts(options)
    against = None if options.against is None else _second_system(options.against, len(sources))
    keep_freed_memory()
    translator = Translator.load(options.model, options.ensemble)
    result, found = evaluation.translate_and_score(
        translator, sources, references, tokenize=options.tokenize, **search
    )
    if glossary := search.get("glossary"):
        counts = [
            glossary.terms_met(source, each.text)
            for source, each in zip(sources, found, strict=True)
        ]
        result["glossary"] = {
            "met": sum(met for met, _ in counts),
            "terms": sum(terms for _, terms in counts),
        }
    texts = [one_line(each.text) for each in found]
    if options.output:
        write_text(options.output, "".join(f"{text}\n" for text in texts))
    if against is not None:
        result["against"] = _compared(options, texts, against, references)
    if options.json:
        print(json.dumps(result))
    else:
        _print_scores(result, translator.search.replaced_by(search))
    _save_search(options, translator)
    if options.html:
        _write_report(options, result["search"], sources, found, references, result)


def _second_system(path: str, sentences: int) -> list[str]:
    """The translations of `--against`, checked before this model translates."""
    from keras_attn_nmt.training.textfiles import iterate_lines

    lines = [line.decode("utf-8") for line in iterate_lines(path)]
    if len(lines) != sentences:
        raise ValueError(
            f"{path} has {len(lines):,} lines, but the test set has {sentences:,} sentences: "
            "--against needs one translation per sentence."
        )
    return lines


def _compared(
    options: argparse.Namespace,
    texts: Sequence[str],
    against: Sequence[str],
    references: Sequence[Sequence[str]],
) -> dict[str, Any]:
    from keras_attn_nmt.training import significance

    seed = options.seed or significance.SEED
    scores = significance.paired_bootstrap(
        texts, against, references, tokenize=options.tokenize, seed=seed
    )
    return {
        "translations": options.against,
        "seed": seed,
        "samples": significance.SAMPLES,
        **scores,
    }


def _write_report(
    options: argparse.Namespace,
    search: Mapping[str, Any],
    sources: Sequence[str],
    found: Sequence[Translation],
    references: Sequence[Sequence[str]],
    scores: Mapping[str, Any],
) -> None:
    from keras_attn_nmt.pages.report_page import report_page
    from keras_attn_nmt.training import evaluation

    texts = [each.text for each in found]
    source_language, target_language = model_languages(options.model)
    settings = {
        "model": ", ".join([options.model, *options.ensemble]),
        "test set": str(options.source or "") or f"{options.split} split of the training corpus",
        "references": ", ".join(options.reference or ()) or "of the split",
        **{name.replace("_", " "): value for name, value in search.items()},
        **{name: "yes" for name in ("copy", "shortlist") if getattr(options, name)},
        **({"glossary": options.glossary} if options.glossary else {}),
        **{name: scores[name]["signature"] for name in ("bleu", "bleu_lowercase", "chrf")},
    }
    page = report_page(
        sources,
        found,
        list(zip(*references, strict=True)),
        evaluation.sentence_scores(texts, references, options.tokenize),
        scores=scores,
        by_length=evaluation.bleu_by_length(sources, texts, references, options.tokenize),
        settings=settings,
        title=f"Evaluation of {Path(options.model).resolve().name}",
        source_language=source_language,
        target_language=target_language,
    )
    write_text(options.html, page)


def _print_scores(result: Mapping[str, Any], search: SearchOptions) -> None:
    print(search)
    for name in ("bleu", "bleu_lowercase", "chrf"):
        print(f"{name:15} {result[name]['score']:6.2f}   {result[name]['signature']}")
    print(f"{'exact match':15} {result['exact_match']:6.1%}")
    if "glossary" in result:
        print("{:15} {met} of {terms} terms".format("glossary", **result["glossary"]))
    print(
        f"{result['sentences']} sentences in {result['seconds']:.1f} s, "
        f"{result['sentences_per_second']:.0f} sentences/s, "
        f"{result['target_tokens_per_second']:.0f} tokens/s"
    )
    if "against" in result:
        _print_comparison(result["against"])


def _print_comparison(result: Mapping[str, Any]) -> None:
    print(
        "against {translations}: paired bootstrap, {samples} samples, seed {seed}; 95 % confidence "
        "intervals".format(**result)
    )
    for name in ("bleu", "bleu_lowercase", "chrf"):
        print(
            "{name:15} {score:6.2f} ± {interval:.2f} against {against:6.2f} ± "
            "{against_interval:.2f}: {difference:+.2f}, p = {p_value:.4f}".format(
                name=name, **result[name]
            )
        )
