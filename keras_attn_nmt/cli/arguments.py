"""How commands read their arguments."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf


class UsageError(Exception):
    """Arguments that do not go together: exit code 2."""


def search_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `Translator.nbest` that are given; the model knows the others."""
    names = ("beam_size", "length_penalty", "max_length", "batch_size", "copy", "shortlist")
    given = {name: getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def check_both_sides(options: argparse.Namespace) -> None:
    """Raises `UsageError` for `--source` without `--target`, or the other way round."""
    if (options.source is None) != (options.target is None):
        raise UsageError("give both --source and --target, or neither.")


def given_pairs(
    options: argparse.Namespace, target: str | None, links: bool = False
) -> tuple[tf.data.Dataset, int]:
    """Sentence pairs of two files or of a split, and how many tokens one may have."""
    from keras_attn_nmt.training.corpora import read_lines
    from keras_attn_nmt.training.splits import load_split, recorded_data
    from keras_attn_nmt.translation import MAX_SOURCE_LENGTH

    if options.source is not None and target is not None:
        gold = options.gold if links else None
        return read_lines(options.source, target, gold), MAX_SOURCE_LENGTH
    data = recorded_data(options.model)
    # Pairs that are put together lose their links.
    aligned = links and data.aligned and not data.concatenate
    return load_split(data, options.split, aligned=aligned), data.max_length
