"""The argument parser of all commands."""

from __future__ import annotations

import argparse

from keras_attn_nmt import __version__
from keras_attn_nmt.cli import alignments, evaluations, exports, recipes, trainings, translations
from keras_attn_nmt.cli.options import PROGRAM, Commands, Parser


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="Neural machine translation with Bahdanau attention.",
        epilog=f"Quick start: {PROGRAM} demo --output demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = Commands(parser, "command", "COMMAND")
    for group in (trainings, recipes, translations, evaluations, alignments, exports):
        group.add_commands(commands)
    return parser
