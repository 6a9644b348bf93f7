"""The command `bulk-translate`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging

from keras_attn_nmt.cli.arguments import UsageError, check_n_best, search_options
from keras_attn_nmt.cli.options import Commands, add_output_options, add_search_options


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "bulk-translate",
        bulk_translate,
        "Translate many files on Apache Beam: one file in, one file out, with the same lines.",
        "model.tflite --input 'in/*' --output out -- --direct_num_workers=2 "
        "--direct_running_mode=multi_processing",
    )
    command.add_argument(
        "model", help="a .tflite file, the folder of a SavedModel's version, or a model directory"
    )
    command.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="FILE",
        help="files or patterns such as 'in/*', plain or .gz, one sentence per line",
    )
    command.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="folder of the translations, with the same names, and NAME.failed.jsonl for lines "
        "that are not translated; the same command continues after an interruption",
    )
    add_output_options(command)
    command.add_argument(
        "--alignment",
        action="store_true",
        help="also write the word alignments of the best translations, to NAME.align",
    )
    command.add_argument(
        "--too-long",
        default="skip",
        choices=("skip", "crop", "split"),
        help="how to handle lines longer than the model's maximum source length: skip them (empty "
        "output), crop them or translate them in pieces (default: skip)",
    )
    command.rest = "beam"
    command.usage = (
        "%(prog)s model --input FILE [FILE ...] --output DIR [options] [-- BEAM OPTIONS]"
    )
    add_search_options(command)


def bulk_translate(options: argparse.Namespace) -> None:
    if options.json and options.format != "text":
        raise UsageError("--json is a format of its own: remove --format.")
    if options.beam_size:
        check_n_best(options.n_best, options.beam_size)
    # Beam warns of what is not installed and not needed here.
    logging.disable(logging.WARNING)
    try:
        from keras_attn_nmt.bulk.job import bulk_translate as translate
        from keras_attn_nmt.bulk.models import BulkOptions
    finally:
        logging.disable(logging.NOTSET)
    search = search_options(options)
    batch_size = search.pop("batch_size")
    report = translate(
        options.model,
        options.input,
        options.output,
        BulkOptions(
            n_best=options.n_best,
            form="json" if options.json else options.format,
            alignment=options.alignment,
            too_long=options.too_long,
            batch_size=batch_size,
            search={name: value for name, value in search.items() if value is not False},
        ),
        options.beam,
    )
    if options.json:
        print(json.dumps(dataclasses.asdict(report), ensure_ascii=False))
    else:
        print(
            f"{_count(report.files, 'file')}, {_count(report.lines, 'line')}, "
            f"{_count(report.failed_lines, 'line')} not translated"
            + (" (see *.failed.jsonl)" if report.failed_lines else "")
        )
    if cut := report.metrics.get("translations_at_maximum_length"):
        logging.warning(
            "%d translations of this run reached the maximum length (--max-length, or that of the "
            "export; in any case 3 x source tokens + 20)",
            cut,
        )
    if report.unreadable:
        raise ValueError(
            f"{_count(len(report.unreadable), 'file')} could not be read, see *.failed.jsonl: "
            f"{', '.join(report.unreadable[:5])}"
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
