"""Line filters from standard input to standard output: `translate` and `embeddings`."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.cli.arguments import (
    UsageError,
    check_n_best,
    model_languages,
    sampling_options,
    search_options,
)
from keras_attn_nmt.cli.options import (
    Commands,
    add_ensemble,
    add_output_options,
    add_sampling_options,
    add_search_options,
    add_too_long,
    positive,
)
from keras_attn_nmt.cli.protections import LineProtection, add_protection, check_protection
from keras_attn_nmt.cli.streams import INPUT, flush_output, say, standard_input, write_line
from keras_attn_nmt.cli.too_long import fit_lines
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.extras import extra
from keras_attn_nmt.results import translation_rows
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.lines import BATCHES_AHEAD, arriving_lines
from keras_attn_nmt.writing import check_file_output, write_text

if TYPE_CHECKING:
    import numpy as np

    from keras_attn_nmt.translator import Translator

# Lines embedded per batch.
_EMBEDDED = 512
# Sentences on a map; t-SNE needs a few.
_FEWEST_ON_MAP, _MOST_ON_MAP = 5, 5000


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "translate",
        translate,
        "Translate standard input to standard output, line by line.",
        "model < source.txt > translation.txt",
    )
    command.add_argument("model", help="model directory, or a .tflite file")
    add_ensemble(command)
    add_output_options(command)
    command.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="of a .tflite file: interpreters that translate at the same time (default: 1)",
    )
    add_too_long(command)
    add_protection(command)
    add_search_options(command, glossary=True)
    add_sampling_options(command)
    command.set_defaults(shortlist=None)  # A .tflite file has none.

    command = commands.add(
        "embeddings",
        embeddings,
        "Print the sentence vector of each input line, tab-separated.",
        "model < source.txt > vectors.tsv",
    )
    command.add_argument("model", help="model directory")
    command.add_argument(
        "--html",
        metavar="FILE",
        help="write a page with a map of the sentences, instead of printing their vectors",
    )
    command.add_argument(
        "--method",
        choices=("pca", "tsne"),
        help="projection of the map (default: pca; tsne needs the extra study)",
    )
    add_too_long(command)


def translate(options: argparse.Namespace) -> None:
    if options.json and options.format != "text":
        raise UsageError("--json is a format of its own: remove --format.")
    sampling = sampling_options(options)
    if options.beam_size:  # Otherwise the default is only known once the model is loaded.
        check_n_best(options.n_best, options.beam_size)
    if options.model.endswith(".tflite"):
        _check_device_options(options)
    search = search_options(options)
    # Imports NumPy.
    from keras_attn_nmt.text.glossary import target_phrases

    protection = check_protection(options, target_phrases(search.get("glossary")))
    stream = standard_input()
    translator: Any = None
    if options.model.endswith(".tflite"):
        from keras_attn_nmt.export.device_metadata import shortlist_advice
        from keras_attn_nmt.export.runner import TFLiteTranslator

        if options.shortlist:
            raise UsageError(shortlist_advice(options.model))
        translator = TFLiteTranslator(options.model, jobs=options.jobs)
    elif options.jobs > 1:
        raise UsageError(
            "--jobs is for a .tflite file: a model directory uses all cores at once. Remove it, or "
            "export the model with keras-attn-nmt export tflite."
        )
    else:
        from keras_attn_nmt.translator import Translator

        translator = Translator.load(options.model, options.ensemble)
    if not sampling:
        used = translator.search.replaced_by(search)
        check_n_best(options.n_best, used.beam_size)
        usual = SearchOptions(max_length=used.max_length).replaced_by(search)
        if used != usual:
            others = "" if used == translator.search else "what was not given is "
            say(f"{used} ({others}stored with the model)")
    excess = _excess_of_terms(search, translator) if "glossary" in search else None
    protected_lines = LineProtection(options, translator, protection, excess)
    done = translated = cut = 0
    batches = 1 if options.paragraphs else BATCHES_AHEAD
    for lines in arriving_lines(stream, options.batch_size * batches, INPUT):
        prepared = protected_lines.prepare(lines, done)
        texts = prepared.texts
        if sampling:
            samples = options.n_best
            found = translator.sample(texts, samples=samples, first_line=translated, **sampling)
        else:
            found = translator.nbest(texts, **search)
        translated += len(texts)
        # No texts after a line that stops the command.
        for source, hypotheses in zip(lines, prepared.restore(found), strict=False):
            done += 1
            best = hypotheses[: options.n_best]
            cut += not best[0].complete
            form = "json" if options.json else options.format
            write_line("\n".join(translation_rows(form, done, source, best, options.n_best)))
        flush_output()
        if prepared.error:
            raise prepared.error
    if cut:
        logging.warning(
            "%d translations reached the maximum length (--max-length, or that of the export; in "
            "any case 3 x source tokens + 20)",
            cut,
        )


def _check_device_options(options: argparse.Namespace) -> None:
    """Raises `UsageError` for options that a `.tflite` file does not have."""
    for name, lacking in (
        ("glossary", "has no constrained search"),
        ("sample", "searches and cannot sample"),
        ("ensemble", "has one model"),
    ):
        if getattr(options, name):
            raise UsageError(
                f"a .tflite file {lacking}: remove --{name}, or use the model directory that the "
                "file was exported from."
            )


def _excess_of_terms(search: Mapping[str, Any], translator: Translator) -> Callable[[str], str]:
    """Says why the terms of a text exceed the maximum target length, see `fit_lines`.

    Raises:
        ValueError: The target vocabulary cannot write a term of the glossary.
    """
    from keras_attn_nmt.decoding.constrained_batches import encode_constraints, tokens_needed

    glossary = search["glossary"]
    limit = translator.search.replaced(max_length=search.get("max_length")).max_length
    known = encode_constraints(glossary, translator.source_tokenizer, translator.target_tokenizer)

    def excess(text: str) -> str:
        needed = tokens_needed(glossary.constraints(text), known)
        if needed <= limit:
            return ""
        return f"needs {needed} target tokens for the terms of the glossary, the limit is {limit}"

    return excess


def embeddings(options: argparse.Namespace) -> None:
    if options.method and not options.html:
        raise UsageError("--method is the projection of a map: it needs --html.")
    if options.html:
        check_file_output(options.html)
    if options.method == "tsne":
        with extra("study"):
            import sklearn  # noqa: F401
    from keras_attn_nmt.translator import Translator

    stream = standard_input()
    translator = Translator.load(options.model)
    # Of the map: each different line once.
    collected: dict[str, np.ndarray] = {}
    done = left_out = 0
    for lines in arriving_lines(stream, _EMBEDDED, INPUT):
        texts, error = fit_lines(lines, translator, options.too_long, done)
        # No texts after a line that stops the command.
        for line, text, vector in zip(lines, texts, translator.embed(texts), strict=False):
            done += 1
            if options.html:
                if not is_blank(text) and line not in collected:
                    if len(collected) < _MOST_ON_MAP:
                        collected[line] = vector
                    else:
                        left_out += 1
                continue
            numbers = [round(float(value), 6) for value in vector]
            if options.json:
                write_line(json.dumps({"text": line, "embedding": numbers}, ensure_ascii=False))
            else:
                write_line("\t".join(map(str, numbers)))
        flush_output()
        if error:
            raise error
    if left_out:
        logging.warning("the map has the first %d sentences, not %d more", _MOST_ON_MAP, left_out)
    if options.html:
        _write_map(options, collected)


def _write_map(options: argparse.Namespace, collected: dict[str, np.ndarray]) -> None:
    """Writes a map of sentence vectors."""
    import numpy as np

    from keras_attn_nmt.pages.map_page import map_page, nearest_neighbours, principal_components

    texts = list(collected)
    if len(texts) < _FEWEST_ON_MAP:
        raise ValueError(
            f"A map needs at least {_FEWEST_ON_MAP} different sentences, got {len(texts)}."
        )
    vectors = np.stack([collected[text] for text in texts])
    if options.method == "tsne":
        from keras_attn_nmt.training.study_plots import t_sne

        projections = {"t-SNE": t_sne(vectors)}
    else:
        projections = {"PCA": principal_components(vectors)}
    page = map_page(
        projections,
        texts,
        nearest_neighbours(vectors),
        title=f"Sentence vectors of {Path(options.model).resolve().name}",
        language=model_languages(options.model)[0],
    )
    write_text(options.html, page)
    if options.json:
        print(json.dumps({"sentences": len(texts), "html": options.html}))
