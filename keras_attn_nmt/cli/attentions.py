"""The command `attention`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from keras_attn_nmt.checks import check_attention
from keras_attn_nmt.cli.arguments import (
    UsageError,
    check_n_best,
    model_languages,
    search_options,
)
from keras_attn_nmt.cli.options import Commands, add_search_options, positive, utf8_text
from keras_attn_nmt.results import as_json
from keras_attn_nmt.writing import atomic_write, check_file_output, write_text

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "attention",
        attention,
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
    add_search_options(command, batch=False, glossary=True)


def attention(options: argparse.Namespace) -> None:
    kind = Path(options.output).suffix
    as_page = kind == ".html"
    if not as_page and kind not in (".png", ".svg", ".pdf"):
        raise UsageError(
            f"--output must end with .png, .svg, .pdf or .html, got {options.output!r}."
        )
    if options.reference is not None:
        searching = ("beam_size", "max_length", "diversity_penalty", "shortlist", "glossary")
        for name in (*searching, "copy", "n_best"):
            if getattr(options, name):
                raise UsageError(
                    f"--{name.replace('_', '-')} is a search option, but --reference runs no "
                    "search: use only one of them."
                )
    if options.n_best and not as_page:
        raise UsageError("a picture shows one translation: --n-best needs an --output of .html.")
    if options.words and as_page:
        raise UsageError("a page switches between words and subwords: --words is for pictures.")
    check_file_output(options.output)
    search = search_options(options)
    if not as_page:
        # A missing package is reported before the model is loaded.
        from keras_attn_nmt.plots import plot_translation
    from keras_attn_nmt.translator import Translator

    translator = Translator.load(options.model)
    check_attention(translator.has_attention, picture=not as_page, page=as_page)
    if options.n_best:
        check_n_best(options.n_best, options.beam_size or translator.search.beam_size)
    if options.reference is None:
        (hypotheses,) = translator.nbest([options.sentence], **search)
    else:
        hypotheses = translator.score(
            [options.sentence],
            [options.reference],
            length_penalty=options.length_penalty,
            coverage_penalty=options.coverage_penalty,
        )
    found = hypotheses[0]
    if not found.target_tokens:
        raise ValueError("There is no attention to plot: the sentence is empty.")
    if as_page:
        _write_attention_page(options, hypotheses[: options.n_best])
    else:
        figure = plot_translation(found, words=options.words)
        with atomic_write(options.output) as temporary:
            figure.savefig(temporary)
    if options.json:
        print(json.dumps(as_json(options.sentence, found), ensure_ascii=False))
    else:
        print(found.text)


def _write_attention_page(options: argparse.Namespace, found: Sequence[Translation]) -> None:
    from keras_attn_nmt.pages.attention_page import attention_page

    source_language, target_language = model_languages(options.model)
    page = attention_page(
        found,
        [options.sentence] * len(found),
        title=Path(options.model).resolve().name,
        source_language=source_language,
        target_language=target_language,
    )
    write_text(options.output, page)
