"""Line filters from standard input to standard output: `translate` and `embeddings`."""

from __future__ import annotations

import argparse
import json
import logging
from typing import Any

from keras_attn_nmt.cli.arguments import UsageError, search_options
from keras_attn_nmt.cli.results import as_json, one_line
from keras_attn_nmt.cli.streams import INPUT, flush_output, standard_input
from keras_attn_nmt.cli.too_long import fit_lines
from keras_attn_nmt.text.lines import arriving_lines

# Batches to read ahead: enough to group lines of similar length.
BATCHES_AHEAD = 8
# Lines embedded per batch.
_EMBEDDED = 512


def translate(options: argparse.Namespace) -> None:
    if options.beam_size:  # Otherwise the default is only known once the model is loaded.
        _check_n_best(options.n_best, options.beam_size)
    stream = standard_input()
    translator: Any = None
    if options.model.endswith(".tflite"):
        from keras_attn_nmt.export.runner import TFLiteTranslator

        if options.shortlist:
            raise UsageError("a .tflite file has no shortlist: remove --shortlist.")
        translator = TFLiteTranslator(options.model)
    else:
        from keras_attn_nmt.translator import Translator

        translator = Translator.load(options.model)
    search = search_options(options)
    _check_n_best(options.n_best, options.beam_size or translator.search.beam_size)
    done = cut = 0
    for lines in arriving_lines(stream, search["batch_size"] * BATCHES_AHEAD, INPUT):
        texts, error = fit_lines(lines, translator, options.too_long, done)
        # No texts after a line that stops the command.
        for source, hypotheses in zip(lines, translator.nbest(texts, **search), strict=False):
            done += 1
            best = hypotheses[: options.n_best]
            cut += not best[0].complete
            if options.json:
                for rank, translation in enumerate(best, 1):
                    row = {"line": done, "rank": rank, **as_json(source, translation)}
                    print(json.dumps(row, ensure_ascii=False))
            else:
                # Always n_best lines per input line, even if the search found fewer.
                translations = [one_line(translation.text) for translation in best]
                print("\n".join(translations + [""] * (options.n_best - len(translations))))
        flush_output()
        if error:
            raise error
    if cut:
        logging.warning("%d translations reached the maximum length, see --max-length", cut)


def _check_n_best(n_best: int, beam_size: int) -> None:
    if n_best > beam_size:
        raise UsageError(
            f"--n-best {n_best} requires --beam-size {n_best} or larger, got {beam_size}."
        )


def embeddings(options: argparse.Namespace) -> None:
    from keras_attn_nmt.translator import Translator

    stream = standard_input()
    translator = Translator.load(options.model)
    done = 0
    for lines in arriving_lines(stream, _EMBEDDED, INPUT):
        texts, error = fit_lines(lines, translator, options.too_long, done)
        # No texts after a line that stops the command.
        for line, vector in zip(lines, translator.embed(texts), strict=False):
            done += 1
            numbers = [round(float(value), 6) for value in vector]
            if options.json:
                print(json.dumps({"text": line, "embedding": numbers}, ensure_ascii=False))
            else:
                print("\t".join(map(str, numbers)))
        flush_output()
        if error:
            raise error
