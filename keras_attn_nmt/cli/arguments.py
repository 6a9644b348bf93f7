"""Argument handling shared by the commands."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


# The fields of `SearchOptions`.
SEARCH_OPTIONS = (
    "beam_size",
    "length_penalty",
    "max_length",
    "coverage_penalty",
    "diversity_penalty",
)


class UsageError(Exception):
    """Incompatible arguments: exit code 2."""


def search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The given options of `Translator.nbest`; the model has defaults for the others.

    Raises:
        UsageError: Words are copied, and terms of a glossary inserted.
    """
    from keras_attn_nmt.text.glossary import Glossary

    names = (*SEARCH_OPTIONS, "batch_size", "copy", "shortlist")
    given = {name: getattr(options, name, None) for name in names}
    if getattr(options, "glossary", None) is not None:
        if given["copy"]:
            raise UsageError("--copy may replace words of the terms: remove it, or --glossary.")
        given["glossary"] = Glossary.load(options.glossary)
    return {name: value for name, value in given.items() if value is not None}


def sampling_options(options: argparse.Namespace) -> dict[str, Any]:
    """The given options of `Translator.sample`; empty without `--sample`.

    Raises:
        UsageError: Options of search and sampling are mixed.
    """
    if options.sample is None:
        for name in ("top_k", "seed"):
            if getattr(options, name) is not None:
                raise UsageError(f"--{name.replace('_', '-')} needs --sample TEMPERATURE.")
        return {}
    if options.beam_size is not None:
        raise UsageError(
            "--sample has no beam: use either --sample or --beam-size (--n-best N draws N samples)."
        )
    for name in ("coverage_penalty", "diversity_penalty"):
        if getattr(options, name, None) is not None:
            raise UsageError(f"--sample has no beam to rank: remove --{name.replace('_', '-')}.")
    if getattr(options, "glossary", None) is not None:
        raise UsageError("--sample does not search, as a glossary needs: remove --glossary.")
    given = {
        "temperature": options.sample,
        "top_k": options.top_k or None,
        "seed": options.seed or 0,
    }
    return {**given, **search_options(options)}


def check_n_best(n_best: int, beam_size: int) -> None:
    """Raises `UsageError` if a beam has fewer hypotheses than `--n-best`."""
    if n_best > beam_size:
        raise UsageError(
            f"--n-best {n_best} requires --beam-size {n_best} or larger, got {beam_size}."
        )


def check_both_sides(options: argparse.Namespace, otherwise: str = "") -> None:
    """Raises `UsageError` unless both or neither of `--source` and `--target` are given.

    Args:
        options: The options.
        otherwise: What is read if neither is given, for the message.
    """
    if (options.source is None) != (options.target is None):
        raise UsageError(f"give both --source and --target, or neither{otherwise}.")


def given_pairs(
    options: argparse.Namespace, target: str | None, links: bool = False
) -> tuple[tf.data.Dataset, int]:
    """Sentence pairs from two files or a split, and the maximum length in tokens."""
    from keras_attn_nmt.training.corpora import read_lines
    from keras_attn_nmt.training.splits import load_recorded, recorded_data
    from keras_attn_nmt.training.textfiles import readable_again
    from keras_attn_nmt.translation import MAX_SOURCE_LENGTH

    if options.source is not None and target is not None:
        options.source = readable_again(options.source)  # Once for all references.
        gold = options.gold if links else None
        return read_lines(options.source, target, gold), MAX_SOURCE_LENGTH
    data = recorded_data(options.model)
    # Concatenated pairs have no gold alignment, and mixed corpora may have none.
    aligned = links and data.aligned and not data.concatenate
    aligned &= options.split != "train" or not data.mix
    return load_recorded(options.model, options.split, aligned), data.max_length


def predicts_phones(model: str) -> bool:
    """Whether a model was trained on a pronunciation dictionary."""
    from keras_attn_nmt.training.recipe_files import read_run

    recorded = read_run(model)
    return bool(recorded) and recorded["recipe"]["data"]["corpus"] == "dictionary"


def bleu_tokenizer(options: argparse.Namespace) -> str:
    """The tokeniser of `--tokenize`, or that of the model's training."""
    from keras_attn_nmt.training.recipe_files import read_run

    recorded = read_run(options.model)
    trained = recorded["recipe"]["training"]["bleu_tokenize"] if recorded else "13a"
    return str(options.tokenize or trained)


def model_languages(model: str) -> tuple[str, str]:
    """Language codes of a model's training corpus, empty where it does not record them."""
    from keras_attn_nmt.training.splits import recorded_data

    try:
        data = recorded_data(model)
    except ValueError:
        return "", ""
    return data.source_language, data.target_language
