"""The parser class, argument types, and options that several commands have."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable
from typing import Any

from keras_attn_nmt.cli.too_long import TOO_LONG

PROGRAM = "keras-attn-nmt"


class Parser(argparse.ArgumentParser):
    """Rejects repeated single-value options; subparsers inherit this.

    Attributes:
        rest: Attribute of the parsed options that gets the arguments after `--`, which are for
            another program. (argparse gives them to the first positional argument.)
    """

    rest: str | None = None

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.register("action", None, _StoreOnce)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Rejects unknown options and suggests the closest known one."""
        rest = []
        if self.rest and "--" in args:
            place = args.index("--")
            args, rest = args[:place], args[place + 1 :]
        namespace, unknown = super().parse_known_args(args, namespace)
        if self.rest:
            setattr(namespace, self.rest, rest)
        for option in unknown:
            close = difflib.get_close_matches(option.split("=")[0], self._option_string_actions, 1)
            if option.startswith("--") and close:
                self.error(f"unrecognized argument {option}: did you mean {close[0]}?")
            if option.startswith("--") and self.rest:
                self.error(
                    f"unrecognized argument {option}: options of {self.rest.title()} go after --"
                )
        return namespace, unknown


class _StoreOnce(argparse.Action):
    given = False

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if self.given:
            raise argparse.ArgumentError(self, "given twice: it takes a single value")
        self.given = True
        setattr(namespace, self.dest, values)


class Commands:
    """Adds subcommands to a parser.

    Args:
        parser: The parser.
        dest: Attribute of the parsed options that gets the name of the subcommand.
        metavar: Placeholder of the subcommand in help texts.
        prefix: The words before the name of a subcommand, for its example.
    """

    def __init__(
        self, parser: argparse.ArgumentParser, dest: str, metavar: str, prefix: str = PROGRAM
    ):
        self._subparsers = parser.add_subparsers(dest=dest, required=True, metavar=metavar)
        self._prefix = prefix

    def add(
        self, name: str, run: Callable[[argparse.Namespace], None], about: str, example: str
    ) -> Parser:
        """Adds a command with `--json`, whose help ends with an example."""
        command = self._subparsers.add_parser(
            name, help=about, description=about, epilog=f"Example: {self._prefix} {name} {example}"
        )
        assert isinstance(command, Parser)  # Subparsers have the class of their parser.
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    def group(self, name: str, about: str) -> Commands:
        """Adds a command that has subcommands of its own."""
        parser = self._subparsers.add_parser(name, help=about, description=about)
        return Commands(parser, "what", "WHAT", f"{self._prefix} {name}")


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 0")
    return int(text)


def at_least_one(text: str) -> float:
    value = not_negative(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 1")
    return value


def above_zero(text: str) -> float:
    value = not_negative(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def utf8_text(text: str) -> str:
    """Decodes an argument as UTF-8, independent of the locale."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise argparse.ArgumentTypeError(f"not UTF-8 ({error.reason})") from error


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def add_search_options(
    parser: argparse.ArgumentParser,
    batch: bool = True,
    copy: bool = True,
    glossary: bool = False,
    diversity: bool = True,
) -> None:
    group = parser.add_argument_group("search")
    group.add_argument(
        "--beam-size",
        type=positive,
        metavar="K",
        help="beam size; 1 is greedy search (default: the model's setting, usually 5)",
    )
    group.add_argument(
        "--length-penalty",
        type=not_negative,
        metavar="A",
        help="exponent of the length penalty; 0 disables it (default: the model's setting, usually "
        "1.0)",
    )
    group.add_argument(
        "--max-length",
        type=positive,
        metavar="N",
        help="maximum target length in tokens (default: the model's setting, usually 200); in any "
        "case at most 3 x source tokens + 20",
    )
    add_coverage_penalty(group)
    if diversity:
        add_diversity_penalty(group)
    group.add_argument(
        "--shortlist",
        action="store_true",
        help=f"restrict the softmax to the shortlist that {PROGRAM} shortlist learned (faster)",
    )
    if copy:
        group.add_argument(
            "--copy",
            action="store_true",
            help="copy unknown words and digits from the aligned source words (words are separated "
            "by spaces)",
        )
    if batch:
        add_batch_size(group)
    if glossary:
        group.add_argument(
            "--glossary",
            metavar="FILE",
            help="terms that translations must contain: lines of source term, tab, target term; "
            "for example Hund<tab>hound",
        )


def add_ensemble(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ensemble",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="further model directories with the same vocabularies, which translate together with "
        "the first one",
    )


def add_coverage_penalty(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--coverage-penalty",
        type=not_negative,
        metavar="B",
        help="weight of the coverage penalty, which ranks the beam by how much of the source was "
        "attended to; 0 disables it (default: the model's setting, usually 0)",
    )


def add_diversity_penalty(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--diversity-penalty",
        type=not_negative,
        metavar="G",
        help="diverse beam search: penalty, in nats, of a token that an earlier hypothesis of the "
        "beam has at the same position; 0 disables it (default: the model's setting, usually 0)",
    )


def add_sampling_options(
    parser: argparse.ArgumentParser, temperature: float | None = None, top_k: int | None = None
) -> None:
    """Adds the options of sampling; the values are defaults of commands that always sample."""
    about = "temperature of sampling" if temperature else "sample instead of searching"
    group = parser.add_argument_group("sampling")
    group.add_argument(
        "--sample",
        type=above_zero,
        metavar="TEMPERATURE",
        help=f"{about}; 1.0 is the model's own distribution, lower values prefer likely tokens"
        + (f" (default: {temperature})" if temperature else ""),
    )
    group.add_argument(
        "--top-k",
        type=whole,
        metavar="K",
        help="sample from the K most likely tokens at each step, 0 for all (default: "
        f"{top_k or 'all'})",
    )
    group.add_argument(
        "--seed",
        type=whole,
        metavar="S",
        help="seed of the samples; a line's samples depend on it and the line number (default: 0)",
    )


def add_device_options(parser: argparse.ArgumentParser, quantize: str) -> None:
    """Adds the options of a `.tflite` file; `quantize` is the default."""
    parser.add_argument(
        "--quantize",
        default=quantize,
        choices=("none", "float16", "int8"),
        help=f"weight quantization: full, half or quarter size (default: {quantize})",
    )
    for side in ("source", "target"):
        parser.add_argument(
            f"--max-{side}-length",
            type=positive,
            default=64,
            metavar="N",
            help=f"maximum {side} length in tokens (default: 64)",
        )


def add_too_long(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--too-long",
        default="stop",
        choices=TOO_LONG,
        help="how to handle lines longer than the model's maximum source length: stop with an "
        "error, skip them (empty output) or crop them (default: stop)",
    )


def add_source_or_split(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--source", metavar="FILE", help="source sentences, one per line")
    group.add_argument(
        "--split",
        default=default,
        choices=("train", "validation", "test"),
        help=f"split of the training corpus, instead of --source (default: {default})",
    )


def add_given_pairs(parser: argparse.ArgumentParser, split: str) -> None:
    add_source_or_split(parser, split)
    parser.add_argument("--target", metavar="FILE", help="target sentences, one per line")
    add_batch_size(parser)


def add_test_set(command: argparse.ArgumentParser, split: str) -> None:
    """Sentences with references, and how they are compared."""
    add_source_or_split(command, split)
    command.add_argument(
        "--reference",
        action="append",
        metavar="FILE",
        help="reference translations, one per line (repeatable for multiple references)",
    )
    command.add_argument(
        "--tokenize", metavar="NAME", help="sacreBLEU tokeniser (default: that of the training)"
    )


def add_output_options(command: argparse.ArgumentParser) -> None:
    """`--n-best` and `--format` of commands that write translations."""
    command.add_argument(
        "--n-best",
        type=positive,
        default=1,
        metavar="N",
        help="translations per line (default: 1)",
    )
    command.add_argument(
        "--format",
        default="text",
        choices=("text", "moses"),
        help="text: N lines per input line, empty ones if the search found fewer; moses: "
        "'0 ||| text ||| features ||| score' with 0-based line numbers (default: text)",
    )


def add_batch_size(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--batch-size",
        type=positive,
        default=64,
        metavar="N",
        help="sentences per batch (default: 64)",
    )


def add_recipe(parser: argparse.ArgumentParser, output: str) -> None:
    parser.add_argument(
        "recipe",
        help=f"name of a built-in recipe, or a TOML file ({PROGRAM} recipe lists them and prints "
        "every setting)",
    )
    parser.add_argument("--output", required=True, metavar="DIR", help=output)
    add_recipe_values(parser)
    parser.add_argument("--quiet", action="store_true", help="hide progress bars")


def add_recipe_values(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a recipe value (repeatable)",
    )
