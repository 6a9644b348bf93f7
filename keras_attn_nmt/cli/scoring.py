"""The command `score`: log-probabilities of given translations."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.cli.arguments import UsageError, check_both_sides
from keras_attn_nmt.cli.options import (
    Commands,
    add_batch_size,
    add_coverage_penalty,
    add_too_long,
    not_negative,
)
from keras_attn_nmt.cli.streams import INPUT, flush_output, say, standard_input, write_line
from keras_attn_nmt.cli.too_long import fit_lines
from keras_attn_nmt.results import as_json
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.lines import BATCHES_AHEAD, arriving_lines

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

Pair = tuple[str, str]


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "score",
        score,
        "Print the score of each given translation: log-probability divided by the length penalty.",
        "model --source test.de --target test.en > scores.txt",
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--source",
        metavar="FILE",
        help="source sentences, one per line (default: standard input has 'source TAB target' "
        "lines)",
    )
    command.add_argument("--target", metavar="FILE", help="their translations, one per line")
    command.add_argument(
        "--tokens",
        action="store_true",
        help="add two tab-separated columns: target tokens and their log-probabilities",
    )
    command.add_argument(
        "--length-penalty",
        type=not_negative,
        metavar="A",
        help="exponent of the length penalty; 0 gives the log-probability itself (default: the "
        "model's setting, usually 1.0)",
    )
    add_coverage_penalty(command)
    add_too_long(command)
    add_batch_size(command)


def score(options: argparse.Namespace) -> None:
    if options.json and options.tokens:
        raise UsageError("--json has the tokens already: remove --tokens.")
    check_both_sides(options, " and 'source TAB target' lines on standard input")
    if options.model.endswith(".tflite"):
        raise UsageError(
            "score needs a model directory: use the one that the .tflite file was exported from."
        )
    size = options.batch_size * BATCHES_AHEAD
    if options.source is None:
        chunks = _pairs_of_stream(size)
    else:
        chunks = _pairs_of_files(options.source, options.target, size)
    from keras_attn_nmt.translator import Translator

    translator = Translator.load(options.model)
    done = tokens = scored = 0
    total = 0.0
    for pairs, error in chunks:
        kept, too_long = _fitting(pairs, translator, options.too_long, done)
        found = iter(
            translator.score(
                [source for source, target in kept if not _unscored(source, target)],
                [target for source, target in kept if not _unscored(source, target)],
                length_penalty=options.length_penalty,
                coverage_penalty=options.coverage_penalty,
                batch_size=options.batch_size,
            )
        )
        for pair, texts in zip(pairs, kept, strict=False):
            done += 1
            each = None if _unscored(*texts) else next(found)
            write_line(_row(options, done, pair, each))
            if each is not None:
                scored += 1
                total += each.log_probability
                tokens += len(each.target_tokens)
        flush_output()
        if too_long or error:
            raise too_long or error  # type: ignore[misc]
    say(_summary(done, scored, tokens, total))


def _pairs_of_stream(size: int) -> Iterator[tuple[list[Pair], ValueError | None]]:
    """Pairs of tab-separated lines, as they arrive; the last chunk may end with an error."""
    number = 0
    for lines in arriving_lines(standard_input(), size, INPUT):
        pairs: list[Pair] = []
        for line in lines:
            number += 1
            source, *others = line.split("\t")
            if len(others) != 1:
                yield (
                    pairs,
                    ValueError(
                        f"{INPUT}, line {number}: expected 'source TAB target', got "
                        f"{len(others) + 1} columns. Select two columns, for example with: "
                        "cut -f 1,2"
                    ),
                )
                return
            pairs.append((source, others[0]))
        yield pairs, None


def _pairs_of_files(
    source: str, target: str, size: int
) -> Iterator[tuple[list[Pair], ValueError | None]]:
    from keras_attn_nmt.training.textfiles import count_aligned_lines, iterate_lines

    # Pipes can be read only once.
    if Path(source).is_file() and Path(target).is_file():
        count_aligned_lines(source, target)
    pairs = zip_longest(iterate_lines(source), iterate_lines(target))
    more = True
    while more:
        chunk: list[Pair] = []
        error = None
        try:
            for one, other in islice(pairs, size):
                if one is None or other is None:
                    raise ValueError(f"{source} and {target} have different numbers of lines.")
                chunk.append((one.decode("utf-8"), other.decode("utf-8")))
        except ValueError as raised:
            error = raised
        more = len(chunk) == size
        yield chunk, error


def _unscored(source: str, target: str) -> bool:
    return is_blank(source) or is_blank(target)


def _fitting(
    pairs: Sequence[Pair], translator: Any, too_long: str, before: int
) -> tuple[list[Pair], ValueError | None]:
    """Applies `--too-long` to both sides, see `fit_lines`; skipped pairs have an empty side."""
    sources, error = fit_lines([source for source, _ in pairs], translator, too_long, before)
    # Of the lines before a too long source.
    others = [target for _, target in pairs[: len(sources)]]
    targets, target_error = fit_lines(others, translator, too_long, before, side="target")
    if target_error:
        error = target_error
    return list(zip(sources, targets, strict=False)), error


def _row(options: argparse.Namespace, line: int, pair: Pair, found: Translation | None) -> str:
    source, target = pair
    if options.json:
        row: dict[str, Any] = {"line": line, "source": source, "translation": target}
        if found is None:
            row["score"] = None
        else:
            row |= as_json(source, found) | {"translation": target}
            row["log_probability"] = round(found.log_probability, 6)
        return json.dumps(row, ensure_ascii=False)
    columns = ["", "", ""]
    if found is not None:
        # Adding 0.0 removes the sign of a negative zero.
        scores = " ".join(f"{each + 0.0:.6f}" for each in found.token_scores)
        columns = [f"{found.score + 0.0:.6f}", " ".join(found.target_tokens), scores]
    return "\t".join(columns) if options.tokens else columns[0]


def _summary(pairs: int, scored: int, tokens: int, total: float) -> str:
    left_out = pairs - scored
    without = f", {left_out} without a score (blank or too long)" if left_out else ""
    if not scored:
        return f"{pairs} pairs{without}"
    perplexity = math.exp(min(-total / tokens, 700.0))
    return (
        f"{pairs} pairs{without}, {tokens} target tokens, log-probability {total:.2f}, "
        f"perplexity {perplexity:.4g} per token"
    )
