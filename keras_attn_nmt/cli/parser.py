"""The arguments of each command."""

from __future__ import annotations

import argparse
import difflib
import os
from typing import Any

from keras_attn_nmt.cli import alignments, evaluations, exports, trainings, translations
from keras_attn_nmt.cli.too_long import TOO_LONG

PROGRAM = "keras-attn-nmt"


class _Parser(argparse.ArgumentParser):
    """A parser, as its subparsers are, in which an option with a value is given once."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.register("action", None, _StoreOnce)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuses an unknown option here, where those that are known can be named."""
        namespace, unknown = super().parse_known_args(args, namespace)
        for option in unknown:
            close = difflib.get_close_matches(option.split("=")[0], self._option_string_actions, 1)
            if option.startswith("--") and close:
                self.error(f"unrecognized argument {option}: did you mean {close[0]}?")
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
            raise argparse.ArgumentError(self, "given twice, and it takes one value: give it once")
        self.given = True
        setattr(namespace, self.dest, values)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _text(text: str) -> str:
    """The bytes that were typed as UTF-8, as texts in files are, whatever the locale."""
    try:
        return os.fsencode(text).decode("utf-8")
    except UnicodeDecodeError as error:
        raise argparse.ArgumentTypeError(f"not UTF-8 ({error.reason})") from error


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def _add_search_options(parser: argparse.ArgumentParser, batch: bool = True) -> None:
    group = parser.add_argument_group("search")
    group.add_argument(
        "--beam-size",
        type=_positive,
        metavar="K",
        help="hypotheses, 1 is greedy search (the model's own, mostly 5)",
    )
    group.add_argument(
        "--length-penalty",
        type=_not_negative,
        metavar="A",
        help="exponent, 0 for none (the model's own, mostly 1.0)",
    )
    group.add_argument(
        "--max-length",
        type=_positive,
        metavar="N",
        help="maximum target length in tokens (the model's own, mostly 200)",
    )
    group.add_argument(
        "--shortlist",
        action="store_true",
        help=f"choose only from what {PROGRAM} shortlist learned: faster",
    )
    if batch:
        group.add_argument(
            "--copy",
            action="store_true",
            help="copy unknown words and digits from where the model looked in the source; words "
            "are what stands between spaces",
        )
        group.add_argument(
            "--batch-size", type=_positive, default=64, metavar="N", help="sentences (64)"
        )


def _add_too_long(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--too-long",
        default="stop",
        choices=TOO_LONG,
        help="a line with more tokens than the model takes: stop with an error, skip it as if it "
        "were empty, or crop it (stop)",
    )


def _add_split(parser: argparse.ArgumentParser, default: str = "test") -> None:
    parser.add_argument(
        "--split",
        default=default,
        choices=("train", "validation", "test"),
        help=f"without --source: a split of the corpus the model was trained on ({default})",
    )


def _add_given_pairs(parser: argparse.ArgumentParser, split: str) -> None:
    parser.add_argument("--source", metavar="FILE", help="sentences, one a line; or see --split")
    parser.add_argument("--target", metavar="FILE", help="their translations, one a line")
    _add_split(parser, split)
    parser.add_argument(
        "--batch-size", type=_positive, default=64, metavar="N", help="sentences (64)"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Neural machine translation with Bahdanau attention.",
        epilog=f"Begin with: {PROGRAM} demo --output demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
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
        "Train a model by a recipe.",
        "multi30k --output model --set training.epochs=8",
    )
    command.add_argument("recipe", help="name of a recipe, or a TOML file")
    command.add_argument("--output", required=True, metavar="DIR", help="directory of the model")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="another value than the recipe's; may be given again",
    )
    command.add_argument("--resume", action="store_true", help="go on with a stopped training")
    command.add_argument("--quiet", action="store_true", help="no progress bars")

    command = add(
        "translate",
        translations.translate,
        "Translate standard input to standard output, line by line.",
        "model < source.txt > translation.txt",
    )
    command.add_argument("model", help="model directory, or a .tflite file")
    command.add_argument(
        "--n-best", type=_positive, default=1, metavar="N", help="translations of each line (1)"
    )
    _add_too_long(command)
    _add_search_options(command)
    command.set_defaults(shortlist=None)  # A .tflite file has none.

    command = add(
        "evaluate",
        evaluations.evaluate,
        "BLEU, chrF and speed on a test set.",
        "model --source test.de --reference test.en",
    )
    command.add_argument("model", help="model directory")
    command.add_argument("--source", metavar="FILE", help="sentences, one a line; or see --split")
    command.add_argument(
        "--reference",
        action="append",
        metavar="FILE",
        help="their translations, one a line (repeatable: several references)",
    )
    _add_split(command)
    command.add_argument(
        "--tokenize", default="13a", metavar="NAME", help="sacreBLEU's tokeniser (13a)"
    )
    command.add_argument("--output", metavar="FILE", help="write the translations there")
    command.add_argument(
        "--save-search",
        action="store_true",
        help="make beam size, length penalty and maximum length the model's own from now on, once "
        "they proved best on validation data",
    )
    _add_search_options(command)

    about = "Write a model for a server or a device."
    export = subparsers.add_parser("export", help=about, description=about).add_subparsers(
        dest="what", required=True, metavar="WHAT"
    )
    command = add(
        "saved-model",
        exports.export_saved_model,
        "A SavedModel for TensorFlow Serving: text in, text and attention out.",
        "model --output served",
        parent=export,
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--output", required=True, metavar="DIR", help="gets DIR/1, next time DIR/2, ..."
    )
    command.add_argument("--version", type=_positive, metavar="N", help="another number than that")
    _add_search_options(command, batch=False)

    command = add(
        "serving",
        exports.export_serving,
        "What an operator needs beside a SavedModel: configuration, compose.yaml and a README.",
        'served --name captions --text "Zwei Hunde spielen im Schnee."',
        parent=export,
    )
    command.add_argument("directory", metavar="DIR", help="what export saved-model wrote into")
    command.add_argument("--name", help="of the model on the server (that of the directory)")
    command.add_argument(
        "--cores", type=_positive, metavar="N", help="of the server (as many as here)"
    )
    command.add_argument(
        "--text", type=_text, help="example in the README (default: words of its vocabulary)"
    )
    command.add_argument("--overwrite", action="store_true", help="replace such files")

    command = add(
        "tflite",
        exports.export_tflite,
        "One file for devices, with the attention: builtin ops of TensorFlow Lite alone.",
        "model --output model.tflite --quantize int8",
        parent=export,
    )
    command.add_argument("model", help="model directory")
    command.add_argument("--output", required=True, metavar="FILE", help="NAME.tflite")
    command.add_argument(
        "--quantize",
        default="none",
        choices=("none", "float16", "int8"),
        help="size of the weights: all, half, or a quarter (none)",
    )
    for side in ("source", "target"):
        command.add_argument(
            f"--max-{side}-length",
            type=_positive,
            default=64,
            metavar="N",
            help=f"maximum {side} length in tokens (default: 64)",
        )
    command.add_argument(
        "--beam-size",
        type=_positive,
        metavar="K",
        help="largest beam (the model's own, mostly 5; 1 if greedy alone)",
    )
    command.add_argument(
        "--length-penalty",
        type=_not_negative,
        metavar="A",
        help="exponent (the model's own, mostly 1.0)",
    )

    command.add_argument(
        "--text",
        action="store_true",
        help="take and give text: needs TF Text's SentencePiece ops on the device",
    )
    command.add_argument(
        "--signatures",
        default="all",
        choices=("all", "translate"),
        help="translate: greedy search only, for runtimes that read a single signature (all)",
    )

    command = add(
        "attention",
        evaluations.attention,
        "Translate one sentence and draw what the model looked at.",
        'model "einundvierzig" --output heat.png',
    )
    command.add_argument("model", help="model directory")
    command.add_argument("sentence", type=_text, help="the sentence")
    command.add_argument("--output", required=True, metavar="FILE", help=".png, .svg or .pdf")
    command.add_argument(
        "--reference",
        type=_text,
        metavar="TEXT",
        help="draw it for this translation, without a search",
    )
    _add_search_options(command)

    command = add(
        "align",
        alignments.align,
        "Word alignment of sentence pairs by attention: a line of links (0-0 2-1) for each.",
        "model --source test.de --target test.en > test.align",
    )
    command.add_argument("model", help="model directory")
    _add_given_pairs(command, split="test")
    command.add_argument(
        "--gold",
        metavar="FILE",
        help="right links, sure (0-0) and possible (0p0): prints the error rate, to stderr",
    )

    command = add(
        "shortlist",
        alignments.shortlist,
        "Learn what each source piece may be translated with, for searches with --shortlist.",
        "model",
    )
    command.add_argument("model", help="model directory; it gets a shortlist.npz")
    _add_given_pairs(command, split="train")
    for name, default, about in (
        ("candidates", 50, "target pieces of each source piece"),
        ("common", 100, "frequent target pieces that every sentence may choose"),
        ("pairs", 200_000, "the first sentence pairs are read, so many at most"),
    ):
        command.add_argument(
            f"--{name}", type=_positive, default=default, metavar="N", help=f"{about} ({default})"
        )

    command = add(
        "embeddings",
        translations.embeddings,
        "The sentence vector of each line of standard input, tab-separated.",
        "model < source.txt > vectors.tsv",
    )
    command.add_argument("model", help="model directory")
    _add_too_long(command)

    command = add(
        "study",
        trainings.study,
        "Train what attention replaced beside it, and draw BLEU by sentence length.",
        "multi30k --output study --set data.concatenate=80 --set data.max_length=160",
    )
    command.add_argument("recipe", help="name of a recipe, or a TOML file")
    command.add_argument("--output", required=True, metavar="DIR", help="where to write")
    command.add_argument(
        "--systems",
        nargs="+",
        metavar="NAME",
        help="table and pictures of some of them alone: attention, fixed-vector, ...",
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for train"
    )
    command.add_argument("--quiet", action="store_true", help="no progress bars")

    command = add(
        "demo",
        trainings.demo,
        "Train on generated phrases, translate, and draw the attention; some minutes.",
        '--output demo --sentence "zweiundvierzig"',
    )
    command.add_argument("--output", default="demo", metavar="DIR", help="where to write (demo)")
    command.add_argument(
        "--sentence", type=_text, metavar="TEXT", help="a German sentence of your own"
    )
    command.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for train"
    )

    add("doctor", trainings.doctor, "Versions, devices, and what is wrong with them.", "--json")
    return parser


def _version() -> str:
    from keras_attn_nmt import __version__

    return __version__
