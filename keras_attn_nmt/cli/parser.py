"""The argument parser of all commands."""

from __future__ import annotations

import argparse

from keras_attn_nmt import __version__
from keras_attn_nmt.cli import (
    alignments,
    attentions,
    back_translations,
    bulk,
    evaluations,
    exports,
    recipes,
    scoring,
    trainings,
    translations,
    tuning,
)
from keras_attn_nmt.cli.options import PROGRAM, Commands, Parser

# In the order of --help.
_GROUPS = (
    trainings,
    recipes,
    translations,
    scoring,
    back_translations,
    bulk,
    evaluations,
    tuning,
    attentions,
    alignments,
    exports,
)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog=PROGRAM,
        description="Neural machine translation with Bahdanau attention.",
        epilog=f"Quick start: {PROGRAM} demo --output demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = Commands(parser, "command", "COMMAND")
    for group in _GROUPS:
        group.add_commands(commands)
    return parser
