"""What each command of the command line does; imports are inside, as `--help` needs none."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import tensorflow as tf

    from keras_attn_nmt.translation import Translation
    from keras_attn_nmt.translator import Translator

T = TypeVar("T")

# Lines that a pipe is read ahead, in batches: enough to put like lengths together.
BATCHES_AHEAD = 8


class UsageError(Exception):
    """Arguments that do not go together: exit code 2."""


def train(options: argparse.Namespace) -> None:
    from keras_attn_nmt import training

    recipe = training.load_recipe(options.recipe, options.set)
    report = training.train(recipe, options.output, resume=options.resume, quiet=options.quiet)
    if options.json:
        print(json.dumps(report))
    else:
        figures = ", ".join(f"{name} {value:.4g}" for name, value in report["metrics"].items())
        print(f"{options.output}: best epoch {report['best_epoch']}, {figures}")


def translate(options: argparse.Namespace) -> None:
    translator: Any = None
    defaults: dict[str, Any] = {"beam_size": 5, "length_penalty": 1.0}
    if options.model.endswith(".tflite"):
        from keras_attn_nmt.export.runner import TFLiteTranslator

        if options.shortlist:
            raise UsageError("a .tflite file has no shortlist: leave out --shortlist.")
        translator = TFLiteTranslator(options.model)
        defaults = {name: translator.metadata[name] for name in defaults}
    given = {name: value for name, value in _search_options(options).items() if value is not None}
    search = {**defaults, **given}
    if options.n_best > search["beam_size"]:
        raise UsageError(
            f"--n-best {options.n_best} needs a --beam-size of at least as many, got "
            f"{search['beam_size']}."
        )
    if translator is None:
        translator = _load(options.model)
    ahead = 1 if sys.stdin.isatty() else search["batch_size"] * BATCHES_AHEAD
    done = cut = 0
    for lines in _chunks(_read_lines(sys.stdin.buffer), ahead):
        with _numbering_lines(done):
            found = translator.nbest(lines, **search)
        for source, hypotheses in zip(lines, found, strict=True):
            best = hypotheses[: options.n_best]
            cut += not best[0].complete
            if options.json:
                for translation in best:
                    print(json.dumps(_as_json(source, translation), ensure_ascii=False))
            else:
                # As many lines for each line, also where there are fewer translations.
                texts = [_one_line(translation.text) for translation in best]
                print("\n".join(texts + [""] * (options.n_best - len(texts))))
        done += len(lines)
        sys.stdout.flush()
    if cut:
        logging.warning("%d translations were cut at their longest, see --max-length", cut)


def evaluate(options: argparse.Namespace) -> None:
    from keras_attn_nmt.training import evaluation
    from keras_attn_nmt.training.corpora import decoded

    if (options.source is None) != (options.reference is None):
        raise UsageError("give both --source and --reference, or neither.")
    pairs, _ = _given_pairs(options, options.reference)
    sources, references = zip(*decoded(pairs), strict=True)
    translator = _load(options.model)
    result = evaluation.evaluate(
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


def export_saved_model(options: argparse.Namespace) -> None:
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


def attention(options: argparse.Namespace) -> None:
    if not options.output.endswith((".png", ".svg", ".pdf")):
        raise UsageError(f"--output has to end with .png, .svg or .pdf, got {options.output!r}.")
    from keras_attn_nmt.plots import plot_attention
    from keras_attn_nmt.writing import replacing

    translator = _load(options.model)
    if options.reference is None:
        (found,) = translator([options.sentence], **_search_options(options))
    else:
        (found,) = translator.score([options.sentence], [options.reference])
    if not found.target_tokens:
        raise ValueError("There is nothing to look at: the sentence is empty.")
    figure = plot_attention(found.attention, found.source_tokens, found.target_tokens)
    with replacing(options.output) as temporary:
        figure.savefig(temporary)
    if options.json:
        print(json.dumps(_as_json(options.sentence, found), ensure_ascii=False))
    else:
        print(found.text)


def align(options: argparse.Namespace) -> None:
    from keras_attn_nmt import alignment
    from keras_attn_nmt.training.corpora import decoded

    _check_both_sides(options)
    if options.gold and options.source is None:
        raise UsageError("--gold needs --source and --target.")
    translator = _load(options.model)
    pairs, _ = _given_pairs(options, options.target, links=True)
    rows = decoded(pairs)
    gold = []
    # The alignment of a split may be missing.
    if options.gold or any(row[2:] not in ([], [""]) for row in rows):
        for number, (source, target, links) in enumerate(rows, 1):
            where = f"Line {number} of the gold alignment"
            gold.append(alignment.parse_pharaoh(links, where))
            alignment.check_links(gold[-1], source, target, where)
    found: list[set[alignment.Link]] = []
    for each in _scored(translator, rows, options.batch_size):
        found.append(each.alignment())
        links = alignment.format_pharaoh(found[-1])
        if options.json:
            links = json.dumps({"alignment": links, "score": round(each.score, 6)})
        print(links)
    if gold:
        rate = alignment.alignment_error_rate(found, gold)
        print(f"alignment error rate {rate:.2%}, {len(gold)} sentence pairs", file=sys.stderr)


def shortlist(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from keras_attn_nmt.files import SHORTLIST, read_config
    from keras_attn_nmt.shortlist import learn_shortlist
    from keras_attn_nmt.training.corpora import decoded

    _check_both_sides(options)
    translator = _load(options.model)
    if read_config(Path(options.model))[0].attention == "none":
        raise ValueError(
            "A shortlist is learned from attention, and this model has attention='none'."
        )
    tokenizers = translator.source_tokenizer, translator.target_tokenizer
    pairs, longest = _given_pairs(options, options.target)
    rows = decoded(pairs.take(options.pairs))
    kept = [
        row
        for row in rows
        # With the end of the sentence.
        if all(
            len(each.encode([text])[0]) < longest
            for each, text in zip(tokenizers, row, strict=True)
        )
    ]
    if len(kept) < len(rows):
        logging.warning("left out %d pairs of more than %d tokens", len(rows) - len(kept), longest)
    logging.info("reading %d sentence pairs", len(kept))
    scored = _scored(translator, kept, options.batch_size)
    learned = learn_shortlist(
        tqdm(scored, total=len(kept), unit="pair", leave=False, disable=None),
        *tokenizers,
        candidates=options.candidates,
        common=options.common,
    )
    path = Path(options.model, SHORTLIST)
    learned.save(path, *tokenizers)
    seen = int((learned.candidates[:, 1:] > 0).any(axis=1).sum())
    print(
        f"learned from {len(kept)} sentence pairs, in which {seen} of {len(learned.candidates)} "
        "source pieces (bytes and special ones included) were translated",
        file=sys.stderr,
    )
    print(json.dumps({"path": str(path)}) if options.json else path)


def _scored(
    translator: Translator, rows: Sequence[Sequence[str]], batch_size: int
) -> Iterator[Translation]:
    """Given translations with their attention, some batches at a time."""
    done = 0
    for chunk in _chunks(iter(rows), batch_size * BATCHES_AHEAD):
        sources, targets, *_ = zip(*chunk, strict=True)
        with _numbering_lines(done):
            yield from translator.score(sources, targets, batch_size=batch_size)
        done += len(chunk)


def _check_both_sides(options: argparse.Namespace) -> None:
    if (options.source is None) != (options.target is None):
        raise UsageError("give both --source and --target, or neither.")


def _given_pairs(
    options: argparse.Namespace, target: str | None, links: bool = False
) -> tuple[tf.data.Dataset, int]:
    """Sentence pairs of two files or of a split, and how many tokens one may have."""
    from keras_attn_nmt.training.corpora import read_lines
    from keras_attn_nmt.training.splits import load_split, recorded_data
    from keras_attn_nmt.translation import MAX_SOURCE_LENGTH

    if options.source is not None and target is not None:
        gold = options.gold if links else None
        return read_lines(options.source, target, gold), MAX_SOURCE_LENGTH
    data = recorded_data(options.model)
    # Pairs that are put together lose their links.
    aligned = links and data.aligned and not data.concatenate
    return load_split(data, options.split, aligned=aligned), data.max_length


def embeddings(options: argparse.Namespace) -> None:
    translator = _load(options.model)
    done = 0
    for lines in _chunks(_read_lines(sys.stdin.buffer), 512):
        with _numbering_lines(done):
            vectors = translator.embed(lines)
        done += len(lines)
        for line, vector in zip(lines, vectors, strict=True):
            numbers = [round(float(value), 6) for value in vector]
            if options.json:
                print(json.dumps({"text": line, "embedding": numbers}, ensure_ascii=False))
            else:
                print("\t".join(map(str, numbers)))


def study(options: argparse.Namespace) -> None:
    from keras_attn_nmt import training
    from keras_attn_nmt.training.study import SYSTEMS, run_study, table

    recipe = training.load_recipe(options.recipe, options.set)
    systems = options.systems or tuple(SYSTEMS)
    report = run_study(recipe, options.output, systems, quiet=options.quiet)
    print(json.dumps(report) if options.json else table(report), end="\n" if options.json else "")


def demo(options: argparse.Namespace) -> None:
    from keras_attn_nmt.export.demo import export_demo
    from keras_attn_nmt.training.demo import run_demo

    report = run_demo(options.output, options.sentence, options.set, export_demo)
    if options.json:
        print(json.dumps(report, ensure_ascii=False))
    if not report["exports_agree"]:
        raise ValueError("The exported models translate other than the trained one, see above.")


def doctor(options: argparse.Namespace) -> None:
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


def _read_lines(stream: Any) -> Iterator[str]:
    for number, line in enumerate(stream, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"Line {number} of the input is not UTF-8 ({error.reason} at byte {error.start}): "
                "convert it, with iconv for example."
            ) from error


@contextlib.contextmanager
def _numbering_lines(before: int) -> Iterator[None]:
    """Says in which line a text is too long."""
    from keras_attn_nmt.translation import TextTooLong

    try:
        yield
    except TextTooLong as error:
        side = "input" if error.kind == "text" else "target"
        number = before + error.index + 1
        raise ValueError(f"Line {number} of the {side} {error.reason}") from error


def _chunks(lines: Iterator[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
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
    from keras_attn_nmt.alignment import format_pharaoh

    return {
        "source": source,
        "translation": found.text,
        "score": round(found.score, 6),
        "complete": found.complete,
        "source_tokens": found.source_tokens,
        "target_tokens": found.target_tokens,
        "token_scores": [round(float(score), 6) for score in found.token_scores],
        "alignment": format_pharaoh(found.alignment()),
        "attention": [[round(float(weight), 6) for weight in row] for row in found.attention],
    }


def _search_options(options: argparse.Namespace) -> dict[str, Any]:
    names = ("beam_size", "length_penalty", "max_length", "batch_size", "copy", "shortlist")
    return {name: getattr(options, name) for name in names}
