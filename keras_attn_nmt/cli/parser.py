"""Argument parsers of all commands."""

from __future__ import annotations

import argparse
from typing import Any

from keras_attn_nmt import __version__
from keras_attn_nmt.cli import alignments, evaluations, exports, trainings, translations
from keras_attn_nmt.cli.options import (
    PROGRAM,
    Parser,
    add_device_options,
    add_given_pairs,
    add_recipe,
    add_recipe_values,
    add_search_options,
    add_split,
    add_too_long,
    not_negative,
    positive,
    utf8_text,
)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="Neural machine translation with Bahdanau attention.",
        epilog=f"Quick start: {PROGRAM} demo --output demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(
        name: str, run: Any, about: str, example: str, parent: Any = subparsers
    ) -> argparse.ArgumentParser:
        whole_name = name if parent is subparsers else f"export {name}"
        command = parent.add_parser(
            name, help=about, description=about, epilog=f"Example: {PROGRAM} {whole_name} {example}"
        )
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    command = add(
        "train",
        trainings.train,
        "Train a model from a recipe.",
        "multi30k --output model --set training.epochs=8",
    )
    add_recipe(command, output="model directory to write")
    command.add_argument("--resume", action="store_true", help="resume an interrupted run")

    command = add(
        "translate",
        translations.translate,
        "Translate standard input to standard output, line by line.",
        "model < source.txt > translation.txt",
    )
    command.add_argument("model", help="model directory, or a .tflite file")
    command.add_argument(
        "--n-best",
        type=positive,
        default=1,
        metavar="N",
        help="translations per line (default: 1)",
    )
    add_too_long(command)
    add_search_options(command)
    command.set_defaults(shortlist=None)  # A .tflite file has none.

    command = add(
        "evaluate",
        evaluations.evaluate,
        "Measure BLEU, chrF and speed on a test set.",
        "model --source test.de --reference test.en",
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--source", metavar="FILE", help="source sentences, one per line (alternative: --split)"
    )
    command.add_argument(
        "--reference",
        action="append",
        metavar="FILE",
        help="reference translations, one per line (repeatable for multiple references)",
    )
    add_split(command)
    command.add_argument(
        "--tokenize", default="13a", metavar="NAME", help="sacreBLEU tokeniser (default: 13a)"
    )
    command.add_argument("--output", metavar="FILE", help="write the translations to this file")
    command.add_argument(
        "--html",
        metavar="FILE",
        help="write a page with every sentence, its scores and attention, worst first",
    )
    command.add_argument(
        "--save-search",
        action="store_true",
        help="store beam size, length penalty and maximum length as the model's defaults (tune "
        "them on validation data)",
    )
    add_search_options(command)

    about = "Export a model for a server or a device."
    export = subparsers.add_parser("export", help=about, description=about).add_subparsers(
        dest="what", required=True, metavar="WHAT"
    )
    command = add(
        "saved-model",
        exports.export_saved_model,
        "Export a SavedModel for TensorFlow Serving: text in, text and attention out.",
        "model --output served",
        parent=export,
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="base directory; versions become DIR/1, DIR/2, ...",
    )
    command.add_argument(
        "--version", type=positive, metavar="N", help="version number (default: next)"
    )
    add_search_options(command, batch=False)

    command = add(
        "serving",
        exports.export_serving,
        "Write the serving configuration of a SavedModel: config files, compose.yaml and a README.",
        'served --name captions --text "Zwei Hunde spielen im Schnee."',
        parent=export,
    )
    command.add_argument("directory", metavar="DIR", help="output directory of export saved-model")
    command.add_argument("--name", help="model name on the server (default: the directory name)")
    command.add_argument(
        "--cores",
        type=positive,
        metavar="N",
        help="CPU cores of the server (default: those of this machine)",
    )
    command.add_argument(
        "--text",
        type=utf8_text,
        help="example sentence for the README (default: words from the vocabulary)",
    )
    command.add_argument("--overwrite", action="store_true", help="replace existing files")

    command = add(
        "tflite",
        exports.export_tflite,
        "Export a .tflite file for devices, with attention, from TensorFlow Lite builtin ops only.",
        "model --output model.tflite --quantize int8",
        parent=export,
    )
    command.add_argument("model", help="model directory")
    command.add_argument("--output", required=True, metavar="FILE", help="NAME.tflite")
    add_device_options(command, quantize="none")
    command.add_argument(
        "--beam-size",
        type=positive,
        metavar="K",
        help="maximum beam size (default: the model's setting, usually 5; 1 for greedy-only files)",
    )
    command.add_argument(
        "--length-penalty",
        type=not_negative,
        metavar="A",
        help="exponent of the length penalty (default: the model's setting, usually 1.0)",
    )

    command.add_argument(
        "--text",
        action="store_true",
        help="text in, text out: requires TF Text's SentencePiece ops on the device",
    )
    command.add_argument(
        "--signatures",
        default="all",
        choices=("all", "translate"),
        help="translate: greedy search only, for runtimes limited to one signature (default: all)",
    )

    command = add(
        "web",
        exports.export_web,
        "Export a web page that translates offline in the browser, with the attention live.",
        "model --output web --single-file",
        parent=export,
    )
    command.add_argument(
        "models", nargs="+", metavar="MODEL", help="model directory; several are shown side by side"
    )
    command.add_argument(
        "--output", required=True, metavar="DIR", help="folder of the page, replaced as a whole"
    )
    command.add_argument(
        "--single-file",
        action="store_true",
        help="one index.html that runs by double click, instead of a folder for a web server",
    )
    add_device_options(command, quantize="int8")
    command.add_argument(
        "--steps",
        action="store_true",
        help="add a step-through of the decoder: energies, softmax, context, candidates",
    )
    command.add_argument(
        "--example",
        action="append",
        default=[],
        type=utf8_text,
        metavar="TEXT",
        help="sentence to offer as a button (repeatable)",
    )
    command.add_argument(
        "--runtime",
        metavar="DIR",
        help="folder with the npm archives of LiteRT.js (default: fetched and cached)",
    )

    command = add(
        "attention",
        evaluations.attention,
        "Translate one sentence and show its attention, as a picture or as an interactive page.",
        'model "einundvierzig" --output attention.html',
    )
    command.add_argument("model", help="model directory")
    command.add_argument("sentence", type=utf8_text, help="source sentence")
    command.add_argument(
        "--output", required=True, metavar="FILE", help=".png, .svg, .pdf or .html"
    )
    command.add_argument(
        "--n-best",
        type=positive,
        metavar="N",
        help="translations to choose from in an .html page (default: the beam size)",
    )
    command.add_argument("--words", action="store_true", help="plot words instead of subwords")
    command.add_argument(
        "--reference",
        type=utf8_text,
        metavar="TEXT",
        help="plot the attention for this translation (no search)",
    )
    add_search_options(command)

    command = add(
        "align",
        alignments.align,
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

    command = add(
        "shortlist",
        alignments.shortlist,
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

    command = add(
        "embeddings",
        translations.embeddings,
        "Print the sentence vector of each input line, tab-separated.",
        "model < source.txt > vectors.tsv",
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--html",
        metavar="FILE",
        help="write a page with a map of the sentences, instead of printing their vectors",
    )
    command.add_argument(
        "--method",
        choices=("pca", "tsne"),
        help="projection of the map (default: pca; tsne needs the extra study)",
    )
    add_too_long(command)

    command = add(
        "study",
        trainings.study,
        "Compare attention with baselines without attention, and plot BLEU by sentence length.",
        "multi30k --output study --set data.concatenate=80 --set data.max_length=160",
    )
    add_recipe(command, output="output directory")
    command.add_argument(
        "--systems",
        nargs="+",
        metavar="NAME",
        help="subset of systems to train: attention, fixed-vector, ... (default: all)",
    )

    command = add(
        "demo",
        trainings.demo,
        "Train on generated phrases, translate and plot attention (a few minutes).",
        '--output demo --sentence "zweiundvierzig"',
    )
    command.add_argument("--output", default="demo", metavar="DIR", help="output directory (demo)")
    command.add_argument(
        "--sentence",
        type=utf8_text,
        metavar="TEXT",
        help="replace the last demo sentence with this German one",
    )
    add_recipe_values(command)

    add("doctor", trainings.doctor, "Report versions, devices and detected problems.", "--json")
    return parser
