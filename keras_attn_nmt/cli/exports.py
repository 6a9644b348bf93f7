"""Export commands: SavedModel, serving configuration, `.tflite` and web page."""

from __future__ import annotations

import argparse
import json

from keras_attn_nmt.cli.arguments import UsageError
from keras_attn_nmt.cli.options import (
    PROGRAM,
    Commands,
    add_coverage_penalty,
    add_device_options,
    add_diversity_penalty,
    add_ensemble,
    add_search_options,
    not_negative,
    positive,
    utf8_text,
)
from keras_attn_nmt.writing import check_file_output, check_folder_output


def add_commands(commands: Commands) -> None:
    whats = commands.group("export", "Export a model for a server or a device.")

    command = whats.add(
        "saved-model",
        export_saved_model,
        "Export a SavedModel for TensorFlow Serving: text in, text and attention out.",
        "model --output served",
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
    add_ensemble(command)
    add_search_options(command, batch=False, copy=False)
    command.add_argument(
        "--constraints",
        action="store_true",
        help="add the signature translate_constrained, for glossaries",
    )
    command.add_argument(
        "--attention",
        choices=("float32", "float16", "none"),
        default="float32",
        help="attention in the answers: float16 halves it (over gRPC only), none leaves it out "
        "(default: float32)",
    )

    command = whats.add(
        "serving",
        export_serving,
        "Write the serving configuration of a SavedModel: config files, compose.yaml and a README.",
        'served --name captions --text "Zwei Hunde spielen im Schnee."',
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

    command = whats.add(
        "tflite",
        export_tflite,
        "Export a .tflite file for devices, with attention, from TensorFlow Lite builtin ops only.",
        "model --output model.tflite --quantize int8",
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
    add_coverage_penalty(command)
    add_diversity_penalty(command)
    command.add_argument(
        "--bulk",
        action="store_true",
        help="add signatures that translate 16 sentences at once: fast on computers",
    )
    command.add_argument(
        "--shortlist",
        action="store_true",
        help=f"restrict the softmax to the shortlist that {PROGRAM} shortlist learned (faster for "
        "one short sentence in greedy search)",
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

    command = whats.add(
        "web",
        export_web,
        "Export a web page that translates offline in the browser, with the attention live.",
        "model --output web --single-file",
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


def export_saved_model(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    from keras_attn_nmt import export

    path = export.export_saved_model(
        options.model,
        options.output,
        ensemble=options.ensemble,
        version=options.version,
        beam_size=options.beam_size,
        length_penalty=options.length_penalty,
        max_length=options.max_length,
        coverage_penalty=options.coverage_penalty,
        diversity_penalty=options.diversity_penalty,
        shortlist=options.shortlist,
        constraints=options.constraints,
        attention=options.attention,
    )
    print(json.dumps({"path": str(path)}) if options.json else path)


def export_serving(options: argparse.Namespace) -> None:
    check_folder_output(options.directory)
    from keras_attn_nmt import export

    written = export.export_serving(
        options.directory,
        name=options.name,
        cores=options.cores,
        text=options.text,
        overwrite=options.overwrite,
    )
    paths = [str(path) for path in written]
    print(json.dumps({"paths": paths}) if options.json else "\n".join(paths))


def export_tflite(options: argparse.Namespace) -> None:
    if options.bulk and (options.text or options.signatures != "all"):
        raise UsageError(
            "--bulk adds signatures that read ids: remove --text or --signatures translate."
        )
    check_file_output(options.output)
    from keras_attn_nmt import export

    path = export.export_tflite(
        options.model,
        options.output,
        quantize=options.quantize,
        max_source_length=options.max_source_length,
        max_target_length=options.max_target_length,
        beam_size=options.beam_size,
        length_penalty=options.length_penalty,
        coverage_penalty=options.coverage_penalty,
        diversity_penalty=options.diversity_penalty,
        text=options.text,
        signatures=None if options.signatures == "all" else [options.signatures],
        bulk=options.bulk,
        shortlist=options.shortlist,
    )
    print(json.dumps({"path": str(path)}) if options.json else path)


def export_web(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    from keras_attn_nmt import export

    path = export.export_web(
        options.models,
        options.output,
        single_file=options.single_file,
        quantize=options.quantize,
        max_source_length=options.max_source_length,
        max_target_length=options.max_target_length,
        steps=options.steps,
        examples=options.example,
        runtime=options.runtime,
    )
    print(json.dumps({"path": str(path)}) if options.json else path)
