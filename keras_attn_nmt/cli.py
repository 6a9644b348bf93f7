"""The command line `keras-attn-nmt`. Imports are inside of the commands: `--help` needs none."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.translator import Translation, Translator

PROGRAM = "keras-attn-nmt"
# Lines that a pipe is read ahead, in batches: enough to put like lengths together.
BATCHES_AHEAD = 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code: 0, 1 for an error, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for noisy in ("absl", "matplotlib", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    try:
        with _quiet_start():
            import keras  # noqa: F401
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has enough: as for any filter, no error. Python would still try
        # to flush what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: error: {_one_paragraph(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = " Go on with --resume." if options.command == "train" else ""
        print(f"\n{PROGRAM}: stopped.{hint}", file=sys.stderr)
        return 130
    return 0


def _one_paragraph(error: BaseException) -> str:
    return str(error).strip() or type(error).__name__


@contextlib.contextmanager
def _quiet_start() -> Iterator[None]:
    """Keeps the libraries' C++ start-up messages, which no setting silences, off the terminal."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def _train(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training import load_recipe, train

    recipe = load_recipe(options.recipe, options.set)
    report = train(recipe, options.output, resume=options.resume, quiet=options.quiet)
    if options.json:
        print(json.dumps(report))
    else:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
        print(f"{options.output}: best epoch {report['best_epoch']}, {figures}")


def _translate(options: argparse.Namespace) -> None:
    translator = _load(options.model)
    search = _search_options(options)
    if options.n_best > search["beam_size"]:
        raise ValueError(
            f"--n-best {options.n_best} needs a --beam-size of at least as many, got "
            f"{search['beam_size']}."
        )
    ahead = 1 if sys.stdin.isatty() else search["batch_size"] * BATCHES_AHEAD
    for lines in _chunks(_read_lines(sys.stdin.buffer), ahead):
        for source, found in zip(lines, translator.nbest(lines, **search), strict=True):
            for translation in found[: options.n_best]:
                if options.json:
                    print(json.dumps(_as_json(source, translation), ensure_ascii=False))
                else:
                    print(_one_line(translation.text))
        sys.stdout.flush()


def _evaluate(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training.evaluation import evaluate

    if (options.source is None) != (options.reference is None):
        raise ValueError("Give both --source and --reference, or neither.")
    sources, references = _test_pairs(options)
    translator = _load(options.model)
    result = evaluate(
        translator, sources, references, tokenize=options.tokenize, **_search_options(options)
    )
    translations = result.pop("translations")
    if options.output:
        from keras_attn_nmt.writing import write_text

        write_text(options.output, "".join(f"{_one_line(text)}\n" for text in translations))
    if options.json:
        print(json.dumps(result))
        return
    for name in ("bleu", "bleu_lowercase", "chrf"):
        print(f"{name:15} {result[name]['score']:6.2f}   {result[name]['signature']}")
    print(f"{'exact match':15} {result['exact_match']:6.1%}")
    print(
        f"{result['sentences']} sentences in {result['seconds']:.1f} s, "
        f"{result['sentences_per_second']:.0f} sentences/s, "
        f"{result['target_tokens_per_second']:.0f} tokens/s"
    )


def _attention(options: argparse.Namespace) -> None:
    from keras_attn_nmt.plots import plot_attention

    translator = _load(options.model)
    if options.reference is None:
        (found,) = translator([options.sentence], **_search_options(options))
    else:
        (found,) = translator.score([options.sentence], [options.reference])
    if not found.target_tokens:
        raise ValueError("There is nothing to look at: the sentence is empty.")
    from keras_attn_nmt.writing import replacing

    figure = plot_attention(found.attention, found.source_tokens, found.target_tokens)
    with replacing(options.output) as temporary:
        figure.savefig(temporary)
    if options.json:
        print(json.dumps(_as_json(options.sentence, found), ensure_ascii=False))
    else:
        print(found.text)


def _embeddings(options: argparse.Namespace) -> None:
    translator = _load(options.model)
    for lines in _chunks(_read_lines(sys.stdin.buffer), 512):
        for line, vector in zip(lines, translator.embed(lines), strict=True):
            numbers = [round(float(value), 6) for value in vector]
            if options.json:
                print(json.dumps({"text": line, "embedding": numbers}, ensure_ascii=False))
            else:
                print("\t".join(map(str, numbers)))


def _demo(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training.demo import run_demo

    report = run_demo(options.output, options.sentence, options.set)
    if options.json:
        print(json.dumps(report, ensure_ascii=False))


def _doctor(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training.device import describe_environment

    report = describe_environment()
    if options.json:
        print(json.dumps(report))
    else:
        for name, value in report.items():
            print(f"{name:22} {value}")


def _load(directory: str) -> Translator:
    from keras_attn_nmt.translator import Translator

    return Translator.load(directory)


def _test_pairs(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    from keras_attn_nmt.training.corpora import read_lines
    from keras_attn_nmt.training.splits import load_split, recorded_data

    if options.source is not None:
        pairs = read_lines(options.source, options.reference)
    else:
        pairs = load_split(recorded_data(options.model), options.split)
    sides = [[side.decode("utf-8") for side in pair] for pair in pairs.as_numpy_iterator()]
    return [pair[0] for pair in sides], [pair[1] for pair in sides]


def _read_lines(stream: Any) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Line {number} of the input is not UTF-8 ({error.reason} at byte {error.start}): "
                "convert it, with iconv for example."
            ) from error


def _chunks(lines: Iterator[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _as_json(source: str, found: Translation) -> dict[str, Any]:
    return {
        "source": source,
        "translation": found.text,
        "score": round(found.score, 6),
        "source_tokens": found.source_tokens,
        "target_tokens": found.target_tokens,
        "token_scores": [round(float(score), 6) for score in found.token_scores],
        "attention": [[round(float(weight), 6) for weight in row] for row in found.attention],
    }


def _search_options(options: argparse.Namespace) -> dict[str, Any]:
    names = ("beam_size", "length_penalty", "max_length", "batch_size")
    return {name: getattr(options, name) for name in names}


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("search")
    group.add_argument("--beam-size", type=int, default=5, metavar="K", help="1 is greedy (5)")
    group.add_argument(
        "--length-penalty", type=float, default=1.0, metavar="A", help="exponent, 0 for none (1.0)"
    )
    group.add_argument(
        "--max-length", type=int, default=200, metavar="N", help="longest translation, tokens (200)"
    )
    group.add_argument("--batch-size", type=int, default=64, metavar="N", help="sentences (64)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Neural machine translation with Bahdanau attention.",
        epilog=f"Begin with: {PROGRAM} demo --output demo",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Any, about: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=about, description=about, epilog=f"Example: {PROGRAM} {name} {example}"
        )
        command.set_defaults(run=run)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    command = add(
        "train",
        _train,
        "Train a model by a recipe.",
        "multi30k --output model --set training.epochs=5",
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
        _translate,
        "Translate standard input to standard output, line by line.",
        "model < source.txt > translation.txt",
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--n-best", type=int, default=1, metavar="N", help="translations of each line (1)"
    )
    _add_search_options(command)

    command = add(
        "evaluate",
        _evaluate,
        "BLEU, chrF and speed on a test set.",
        "model --source test.de --reference test.en",
    )
    command.add_argument("model", help="model directory")
    command.add_argument("--source", metavar="FILE", help="sentences, one a line; or see --split")
    command.add_argument("--reference", metavar="FILE", help="their translations, one a line")
    command.add_argument(
        "--split",
        default="test",
        choices=("train", "validation", "test"),
        help="without --source: a split of the corpus the model was trained on (test)",
    )
    command.add_argument(
        "--tokenize", default="13a", metavar="NAME", help="sacreBLEU's tokeniser (13a)"
    )
    command.add_argument("--output", metavar="FILE", help="write the translations there")
    _add_search_options(command)

    command = add(
        "attention",
        _attention,
        "Translate one sentence and draw what the model looked at.",
        'model "einundvierzig" --output heat.png',
    )
    command.add_argument("model", help="model directory")
    command.add_argument("sentence", help="the sentence")
    command.add_argument("--output", required=True, metavar="FILE", help=".png, .svg or .pdf")
    command.add_argument("--reference", metavar="TEXT", help="draw it for this translation")
    _add_search_options(command)

    command = add(
        "embeddings",
        _embeddings,
        "The sentence vector of each line of standard input, tab-separated.",
        "model < source.txt > vectors.tsv",
    )
    command.add_argument("model", help="model directory")

    command = add(
        "demo",
        _demo,
        "Train on generated phrases, translate, and draw the attention; about three minutes.",
        '--output demo --sentence "zweiundvierzig"',
    )
    command.add_argument("--output", default="demo", metavar="DIR", help="where to write (demo)")
    command.add_argument("--sentence", metavar="TEXT", help="a German sentence of your own")
    command.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="as for train"
    )

    add("doctor", _doctor, "Versions, devices, and what is wrong with them.", "--json")
    return parser


def _version() -> str:
    from keras_attn_nmt import __version__

    return __version__


if __name__ == "__main__":
    sys.exit(main())
