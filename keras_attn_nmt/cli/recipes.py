"""The command `recipe`. It does not import Keras or TensorFlow."""

from __future__ import annotations

import argparse
import json
import textwrap
from typing import Any

from keras_attn_nmt.cli.arguments import UsageError
from keras_attn_nmt.cli.options import PROGRAM, Commands, add_recipe_values
from keras_attn_nmt.cli.streams import say


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "recipe",
        recipe,
        "Print a recipe with every setting, its default, meaning and range, to edit and train; or "
        "list the built-in recipes.",
        "multi30k > my.toml",
    )
    command.add_argument(
        "name",
        nargs="?",
        metavar="RECIPE",
        help="name of a built-in recipe, a TOML file or a model directory (default: list the "
        "built-in recipes)",
    )
    add_recipe_values(command)
    command.add_argument(
        "--diff",
        nargs=2,
        metavar=("A", "B"),
        help="print the settings that differ between two recipes, files or model directories",
    )


def recipe(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training import recipe_text
    from keras_attn_nmt.training.recipe_files import find_recipe

    if options.diff:
        if options.name or options.set:
            raise UsageError("--diff compares two recipes: it takes no RECIPE and no --set")
        first, second = map(find_recipe, options.diff)
        _print_differences(options, recipe_text.differences(first, second))
    elif options.name:
        found = find_recipe(options.name, options.set)
        title = (
            f"The recipe {options.name} with every setting. Train with it: {PROGRAM} train "
            "FILE.toml --output model"
        )
        if options.json:
            print(json.dumps(recipe_text.describe(found), ensure_ascii=False))
        else:
            print(recipe_text.to_toml(found, title), end="")
    elif options.set:
        raise UsageError("--set changes a recipe: give its name")
    elif options.json:
        print(json.dumps(recipe_text.built_in(), ensure_ascii=False))
    else:
        for name, about in recipe_text.built_in().items():
            print(f"{name:16} {textwrap.shorten(about, 100, placeholder=' ...')}")


def _print_differences(
    options: argparse.Namespace, differences: dict[str, tuple[Any, Any]]
) -> None:
    from keras_attn_nmt.training.recipe_text import to_toml_value

    if options.json:
        print(json.dumps(differences, ensure_ascii=False))
        return
    if not differences:
        say(f"{options.diff[0]} and {options.diff[1]} have the same settings")
        return
    rows = [("", *options.diff)]
    rows += [(setting, *map(to_toml_value, values)) for setting, values in differences.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
