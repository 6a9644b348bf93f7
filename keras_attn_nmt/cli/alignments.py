"""Commands that score sentence pairs: `align` and `shortlist`."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_attn_nmt.checks import check_attention
from keras_attn_nmt.cli.arguments import UsageError, check_both_sides, given_pairs
from keras_attn_nmt.cli.options import (
    Commands,
    add_given_pairs,
    positive,
)
from keras_attn_nmt.cli.streams import say, write_line
from keras_attn_nmt.writing import check_folder_output

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation
    from keras_attn_nmt.translator import Translator

# Batches scored at a time: enough to group pairs of similar length.
_BATCHES = 8


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "align",
        align,
        "Word alignment from attention, one line in Pharaoh format (0-0 2-1) per sentence pair.",
        "model --source test.de --target test.en > test.align",
    )
    command.add_argument("model", help="model directory")
    add_given_pairs(command, split="test")
    command.add_argument(
        "--gold",
        metavar="FILE",
        help="gold alignment with sure (0-0) and possible (0p0) links: prints the alignment error "
        "rate to stderr",
    )
    command.add_argument(
        "--tokens",
        action="store_true",
        help="align tokens, such as letters and phones, instead of words",
    )

    command = commands.add(
        "shortlist",
        shortlist,
        "Learn a vocabulary shortlist: the target pieces each source piece may translate to.",
        "model",
    )
    command.add_argument("model", help="model directory; shortlist.npz is written there")
    add_given_pairs(command, split="train")
    for name, default, about in (
        ("candidates", 50, "target pieces per source piece"),
        ("common", 100, "frequent target pieces that are always allowed"),
        ("pairs", 200_000, "maximum number of sentence pairs to read"),
    ):
        command.add_argument(
            f"--{name}",
            type=positive,
            default=default,
            metavar="N",
            help=f"{about} (default: {default})",
        )


def align(options: argparse.Namespace) -> None:
    from keras_attn_nmt.text import alignment
    from keras_attn_nmt.text.blank import is_blank
    from keras_attn_nmt.text.words import links_of_texts
    from keras_attn_nmt.training.corpora import decoded
    from keras_attn_nmt.translator import Translator

    check_both_sides(options)
    if options.gold and options.source is None:
        raise UsageError("--gold needs --source and --target.")
    if options.gold and options.tokens:
        raise UsageError("--gold links words: leave out --tokens.")
    translator = Translator.load(options.model)
    check_attention(translator.has_attention, alignment=True)
    pairs, _ = given_pairs(options, options.target, links=not options.tokens)
    rows = decoded(pairs)
    gold = []
    # The alignment of a split may be missing.
    if options.gold or any(row[2:] not in ([], [""]) for row in rows):
        gold = [alignment.parse_pharaoh(links) for _, _, links in rows]
    found: list[set[alignment.Link]] = []
    scored = _scored(translator, rows, options.batch_size)
    for (source, target, *_), each in zip(rows, scored, strict=True):
        found.append(
            each.token_alignment() if options.tokens else links_of_texts(each, source, target)
        )
        links = alignment.format_pharaoh(found[-1])
        if options.json:
            score = None if is_blank(source) or is_blank(target) else round(each.score, 6)
            links = json.dumps({"alignment": links, "score": score})
        write_line(links)
    if gold:
        rate = alignment.alignment_error_rate(found, gold)
        say(f"alignment error rate {rate:.2%}, {len(gold)} sentence pairs")


def shortlist(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from keras_attn_nmt.decoding.shortlist import learn_shortlist
    from keras_attn_nmt.model_directory import SHORTLIST
    from keras_attn_nmt.training.corpora import decoded
    from keras_attn_nmt.translator import Translator

    check_both_sides(options)
    check_folder_output(options.model)
    translator = Translator.load(options.model)
    if not translator.has_attention:
        raise ValueError(
            "A shortlist is learned from attention, but this model has attention='none'."
        )
    tokenizers = translator.source_tokenizer, translator.target_tokenizer
    pairs, longest = given_pairs(options, options.target)
    rows = decoded(pairs.take(options.pairs))
    kept = [
        row
        for row in rows
        # With the end of the sentence.
        if all(
            len(each.encode([text])[0]) < longest
            for each, text in zip(tokenizers, row, strict=True)
        )
    ]
    if len(kept) < len(rows):
        logging.warning("skipped %d pairs longer than %d tokens", len(rows) - len(kept), longest)
    logging.info("reading %d sentence pairs", len(kept))
    scored = _scored(translator, kept, options.batch_size)
    learned = learn_shortlist(
        tqdm(scored, total=len(kept), unit="pair", leave=False, disable=None),
        *tokenizers,
        candidates=options.candidates,
        common=options.common,
    )
    path = Path(options.model, SHORTLIST)
    learned.save(path, *tokenizers)
    seen = int((learned.candidates[:, 1:] > 0).any(axis=1).sum())
    say(
        f"learned from {len(kept)} sentence pairs; they cover {seen} of {len(learned.candidates)} "
        "source pieces (including byte and special pieces)"
    )
    print(json.dumps({"path": str(path)}) if options.json else path)


def _scored(
    translator: Translator, rows: Sequence[Sequence[str]], batch_size: int, before: int = 0
) -> Iterator[Translation]:
    """Yields scored translations; on a too long text, first those before it, then raises."""
    from keras_attn_nmt.translation import TextTooLong

    size = batch_size * _BATCHES
    for start in range(0, len(rows), size):
        chunk = rows[start : start + size]
        sources, targets, *_ = zip(*chunk, strict=True)
        try:
            yield from translator.score(sources, targets, batch_size=batch_size)
        except TextTooLong as error:
            yield from _scored(translator, chunk[: error.index], batch_size, before + start)
            side = "input" if error.kind == "text" else "target"
            number = before + start + error.index + 1
            raise ValueError(f"Line {number} of the {side} {error.reason}") from error
