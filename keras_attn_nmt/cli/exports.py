"""Export commands: SavedModel, serving configuration, `.tflite` and web page."""

from __future__ import annotations

import argparse
import json

from keras_attn_nmt.writing import check_file_output, check_folder_output


def export_saved_model(options: argparse.Namespace) -> None:
    check_folder_output(options.output)
    from keras_attn_nmt import export

    path = export.export_saved_model(
        options.model,
        options.output,
        version=options.version,
        beam_size=options.beam_size,
        length_penalty=options.length_penalty,
        max_length=options.max_length,
        shortlist=options.shortlist,
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
        text=options.text,
        signatures=None if options.signatures == "all" else [options.signatures],
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
