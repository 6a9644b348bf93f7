"""The command `back-translate`."""

from __future__ import annotations

import argparse
import json

from keras_attn_nmt.cli.arguments import (
    UsageError,
    model_languages,
    sampling_options,
    search_options,
)
from keras_attn_nmt.cli.options import (
    Commands,
    add_sampling_options,
    add_search_options,
    at_least_one,
    utf8_text,
)
from keras_attn_nmt.cli.streams import say

# Sampling unless a search is asked for.
_TEMPERATURE, _TOP_K = 1.0, 10


def add_commands(commands: Commands) -> None:
    command = commands.add(
        "back-translate",
        back_translate,
        "Make a parallel corpus from monolingual text in the target language, with a model of the "
        "reverse direction.",
        "model-en-de --target news.en.gz --output synthetic",
    )
    command.add_argument("model", help="model directory of the reverse direction")
    command.add_argument(
        "--target",
        required=True,
        metavar="FILE",
        help="text in the target language, one sentence per line, plain or .gz",
    )
    command.add_argument(
        "--output",
        required=True,
        metavar="DIR",
        help="new folder for train.SOURCE (synthetic), train.TARGET and a report; the same command "
        "continues after an interruption",
    )
    for side, about in (("source", "synthetic side"), ("target", "text given")):
        command.add_argument(
            f"--{side}-language",
            metavar="CODE",
            help=f"language of the {about} (default: from the model's training.json)",
        )
    command.add_argument(
        "--tag",
        type=utf8_text,
        default="",
        metavar="WORD",
        help="word put before each synthetic source, such as '<BT>' (default: none)",
    )
    command.add_argument(
        "--max-ratio",
        type=at_least_one,
        default=3.0,
        metavar="R",
        help="leave out pairs whose lengths in tokens differ by more than this factor (default: 3)",
    )
    add_sampling_options(command, temperature=_TEMPERATURE, top_k=_TOP_K)
    add_search_options(command, diversity=False)  # Only the best translations are kept.


def back_translate(options: argparse.Namespace) -> None:
    searches = options.beam_size is not None
    if searches and (options.sample, options.top_k, options.seed) != (None, None, None):
        raise UsageError("--beam-size runs a search: remove --sample, --top-k and --seed.")
    if not searches:
        for name in ("length_penalty", "coverage_penalty"):
            if getattr(options, name) is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} is an option of a search: it needs --beam-size."
                )
        options.sample = _TEMPERATURE if options.sample is None else options.sample
        options.top_k = _TOP_K if options.top_k is None else options.top_k
    from keras_attn_nmt import training
    from keras_attn_nmt.decoding.sampling import SamplingOptions
    from keras_attn_nmt.model_directory import check_complete
    from keras_attn_nmt.training.back_translation import BackTranslationOptions

    check_complete(options.model)
    # The reverse model reads the target language.
    target, source = model_languages(options.model)
    languages = {
        "source_language": options.source_language or source,
        "target_language": options.target_language or target,
    }
    for name, language in languages.items():
        if not language:
            raise UsageError(
                f"{options.model} does not record its languages: give "
                f"--{name.replace('_', '-')} CODE."
            )
    given = search_options(options) if searches else sampling_options(options)
    batch_size = given.pop("batch_size")
    sampling = None
    if not searches:
        sampling = SamplingOptions(given.pop("temperature"), given.pop("top_k"))
    report = training.back_translate(
        options.model,
        options.target,
        options.output,
        **languages,
        options=BackTranslationOptions(
            sampling=sampling, tag=options.tag, max_ratio=options.max_ratio, **given
        ),
        batch_size=batch_size,
    )
    left_out = {name: count for name, count in report["left_out"].items() if count}
    reasons = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in left_out.items())
    say(
        f"{report['pairs']:,} pairs, {sum(left_out.values()):,} lines left out"
        + (f" ({reasons})" if reasons else "")
    )
    print(json.dumps(report, ensure_ascii=False) if options.json else options.output)
