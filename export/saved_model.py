"""Export of a model directory as a SavedModel for TensorFlow Serving, with verification."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attn_nmt import __version__
from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.decoding import constrained_batches
from keras_attn_nmt.decoding.search_options import (
    SearchOptions,
    check_constrained,
    check_exported_beam,
)
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export import probe_texts
from keras_attn_nmt.export.client import CONSTRAINED
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.load_for_export import languages, load_ensemble_for_export
from keras_attn_nmt.export.saved_model_runner import METADATA
from keras_attn_nmt.export.served_constraints import MOST_TOKENS
from keras_attn_nmt.export.signatures import ServedTranslator
from keras_attn_nmt.extras import extra
from keras_attn_nmt.model_directory import MODEL, SHORTLIST, ModelFiles
from keras_attn_nmt.text.glossary import Constraint
from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import IMPOSSIBLE, MAX_SOURCE_LENGTH, Translation
from keras_attn_nmt.translator import Translator
from keras_attn_nmt.writing import (
    local_path,
    make_folder,
    named_errors,
    sync,
    sync_tree,
    temporary_sibling,
)

with extra("serve"):  # The warm-up requests, and the check that replays them.
    from keras_attn_nmt.export import saved_model_check, warmup

# TensorFlow Serving's versions are int64.
MAX_VERSION = 2**63 - 1
ATTENTION = ("float32", "float16", "none")
INPUTS = ("text", "reference", "constraints")

logger = logging.getLogger(__name__)


def export_saved_model(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    ensemble: Sequence[str | os.PathLike[str]] = (),
    version: int | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    max_length: int | None = None,
    coverage_penalty: float | None = None,
    diversity_penalty: float | None = None,
    shortlist: bool = False,
    constraints: bool = False,
    attention: str = "float32",
) -> Path:
    """Exports a model directory as a SavedModel: text in, text and attention out.

    Before the version becomes visible, a separate process with only TensorFlow, TF Text and
    TensorFlow Serving's protos loads it into a Session, as TensorFlow Serving does, compares its
    results with those of `Translator`, also under eight concurrent threads, and replays the warm-up
    requests. Needs the extra `serve`.

    Args:
        model: Model directory, trained on any backend and device.
        output: Base directory of the versions, the `--model_base_path` of
            `tensorflow_model_server`.
        ensemble: Further model directories with the same vocabularies, which translate together
            with the first one, see `Translator.load`.
        version: Version number; defaults to the highest existing one plus 1.
        beam_size: See `Translator.nbest`; defaults to the model's search options.
        length_penalty: See `Translator.nbest`; defaults to the model's search options.
        max_length: See `Translator.nbest`; defaults to the model's search options.
        coverage_penalty: See `Translator.nbest`; defaults to the model's search options.
        diversity_penalty: See `Translator.nbest`; defaults to the model's search options. Not with
            `constraints`.
        shortlist: See `Translator.nbest`.
        constraints: Add the signature `translate_constrained`, which takes phrases that
            translations must contain. The others stay as they are.
        attention: `"float32"`, or `"float16"`, which halves the largest output but which TensorFlow
            Serving returns over gRPC only, or `"none"` to leave it out of all signatures.

    Returns:
        The written directory, `output/<version>`.

    Raises:
        FileExistsError: The version exists, or the output is a file or a model directory.
        FileNotFoundError: The model directory or one of its files is missing.
        ValueError: The model directory or its shortlist is damaged, an option is out of range, the
            output is a URL or contains `[`, or Keras does not run on TensorFlow.
        ExportError: The exported model fails verification; nothing is left behind.
        OSError: The disk is full or not writable; nothing is left behind.
    """
    if attention not in ATTENTION:
        raise ValueError(f"attention must be one of {', '.join(ATTENTION)}, got {attention!r}.")
    output = local_path(output)
    if "[" in str(output.resolve()):
        raise ValueError(
            f"{output.resolve()} contains a bracket, which TensorFlow would read as a pattern when "
            "it loads the weights: use another folder."
        )
    version = _next_version(output) if version is None else version
    check_whole("version", version)
    if version > MAX_VERSION:
        raise ValueError(f"version must be at most {MAX_VERSION}, got {version}.")
    given = {
        "beam_size": beam_size,
        "length_penalty": length_penalty,
        "max_length": max_length,
        "coverage_penalty": coverage_penalty,
        "diversity_penalty": diversity_penalty,
    }
    check_exported_beam(SearchOptions().replaced(**given))
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file; expected a base directory for the versions.")
    if (output / MODEL).exists():
        raise FileExistsError(
            f"{output} is a model directory; use another one for the versions of the SavedModel."
        )
    final = output / str(version)
    if final.exists():
        raise FileExistsError(
            f"{final} exists, and versions are never replaced: use another version number, or omit "
            "it for the next one."
        )
    files = load_ensemble_for_export([model, *ensemble])
    first = files[0]
    options = first.search.replaced(**given)
    check_exported_beam(options)
    if constraints:
        check_constrained(options)
    known = None
    if shortlist:
        path = Path(model, SHORTLIST)
        known = Shortlist.load(path, first.source_tokenizer, first.target_tokenizer)
    # On the CPU, which is more precise than a GPU.
    with tf.device("/CPU:0"):
        expected = _expected(files, options, known, constraints)
    if attention == "none":
        for answers in expected.values():
            if isinstance(answers, dict):
                answers.pop("attention", None)

    created = not output.exists()
    make_folder(output)
    try:
        # TensorFlow Serving ignores names that are not numbers.
        with temporary_sibling(final) as unfinished:
            _write(files, options, unfinished, expected, languages(model), known, attention)
            _check(unfinished, expected)
            unfinished.chmod(0o755)
            sync_tree(unfinished)
            try:
                unfinished.rename(final)
            except OSError as error:
                if not final.exists():
                    raise
                raise FileExistsError(
                    f"{final} was written by another process meanwhile: export again for the next "
                    "one."
                ) from error
            sync(output)
    except BaseException as error:
        if created:
            with contextlib.suppress(OSError):  # Contains another process's version.
                output.rmdir()
        if isinstance(error, tf.errors.OpError):
            raise OSError(f"Could not write {final}: {error.message}") from error
        raise
    logger.info("%s: written and verified; %s", final, options)
    return final


def _next_version(output: Path) -> int:
    names = [path.name for path in output.iterdir()] if output.is_dir() else []
    return 1 + max((int(name) for name in names if name.isdecimal()), default=0)


def _write(
    files: Sequence[ModelFiles],
    options: SearchOptions,
    directory: Path,
    expected: dict[str, Any],
    languages: dict[str, str],
    shortlist: Shortlist | None,
    attention: str,
) -> None:
    module = ServedTranslator(files, options, shortlist, CONSTRAINED in expected, attention)
    # A server needs no custom gradients, which are slow to trace.
    options_of_save = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(
        module, str(directory), signatures=module.signatures(), options=options_of_save
    )
    metadata: dict[str, Any] = {
        "producer": f"keras_attn_nmt {__version__}",
        **languages,
        "beam_size": options.beam_size,
        "length_penalty": options.length_penalty,
        "max_length": options.max_length,
        "coverage_penalty": options.coverage_penalty,
        "diversity_penalty": options.diversity_penalty,
        "shortlist": shortlist is not None,
        "constraints": CONSTRAINED in expected,
        "attention": attention,
        "has_attention": module.has_attention,
        "max_source_length": MAX_SOURCE_LENGTH,
        "models": len(files),
        "parameters": sum(each.model.count_params() for each in files),
    }
    path = directory / METADATA
    path.parent.mkdir(parents=True, exist_ok=True)
    with named_errors(path):
        path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    warmup.write(directory, {name: expected[name] for name in INPUTS if name in expected})


def _expected(
    files: Sequence[ModelFiles],
    options: SearchOptions,
    shortlist: Shortlist | None,
    constraints: bool,
) -> dict[str, Any]:
    """The expected outputs of the exported model, from `Translator`."""
    models = [each.model for each in files]
    source, target = files[0].source_tokenizer, files[0].target_tokenizer
    translator = Translator(models[0], source, target, shortlist, ensemble=models[1:])
    texts = probe_texts.probe_texts(source)
    found = translator.nbest(texts, **dataclasses.asdict(options), shortlist=shortlist is not None)
    # NumPy's bytes drop trailing NULs, which would change the reference.
    references = [hypotheses[-1].text.rstrip("\0") for hypotheses in found]
    best = [hypotheses[0] for hypotheses in found]
    # Equal hypotheses of a diverse search are one, so that all lists may be shorter.
    width = options.beam_size
    scored = translator.score(
        texts,
        references,
        length_penalty=options.length_penalty,
        coverage_penalty=options.coverage_penalty,
    )
    constrained: dict[str, Any] = {}
    if constraints:
        wanted = _probe_constraints(texts, source, target, options.max_length)
        # Phrases that do not fit these texts are missing: nothing to warn of.
        with _errors_only(constrained_batches.logger):
            found_with = translator(
                texts,
                constraints=wanted,
                **dataclasses.asdict(options),
                shortlist=shortlist is not None,
            )
        constrained = {
            "constraints": ["\n".join(each.as_line() for each in row) for row in wanted],
            CONSTRAINED: _as_outputs(found_with),
        }
    return {
        "text": texts,
        "reference": references,
        **constrained,
        "serving_default": _as_outputs(best),
        "translate": {key: _as_outputs(best)[key] for key in ("translation", "score")},
        "nbest": {
            "translation": _strings([[each.text for each in row] for row in found], width),
            "score": _numbers([[each.score for each in row] for row in found], IMPOSSIBLE, width),
        },
        "score": {key: value for key, value in _as_outputs(scored).items() if key != "translation"},
        "embed": {
            "embedding": translator.embed(texts),
            "source_length": _as_outputs(best)["source_length"],
        },
    }


@contextlib.contextmanager
def _errors_only(log: logging.Logger) -> Iterator[None]:
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _probe_constraints(
    texts: list[str], source: Tokenizer, target: Tokenizer, max_length: int
) -> list[list[Constraint]]:
    """A word of the target vocabulary for each text but the last, if there are such words.

    Words and terms are well within the limits of a served model, which `Translator` lacks.
    """
    longest = min(MOST_TOKENS // 2, max_length - 1)
    words = " ".join(probe_texts.probe_texts(target)).split()
    ids = target.encode(words)
    usable = [
        word
        for word, row in zip(words, ids, strict=True)
        if UNK not in row and 0 < len(row) <= longest
    ]
    terms = [" ".join(text.split()[:1]) for text in texts]
    terms = [
        term if len(row) <= MOST_TOKENS else ""
        for term, row in zip(terms, source.encode(terms), strict=True)
    ]
    rows: list[list[Constraint]] = [[] for _ in texts]
    for row, term, word in zip(rows[:-1], terms, itertools.cycle(usable)):
        row.append(Constraint(word, term))
    return rows


def _as_outputs(translations: list[Translation]) -> dict[str, np.ndarray]:
    return {
        "translation": _strings([each.text for each in translations]),
        "score": np.array([each.score for each in translations], "float32"),
        "source_tokens": _strings([each.source_tokens for each in translations]),
        "target_tokens": _strings([each.target_tokens for each in translations]),
        "source_length": np.array([len(each.source_tokens) for each in translations]),
        "target_length": np.array([len(each.target_tokens) for each in translations]),
        "token_scores": _numbers([each.token_scores for each in translations]),
        "attention": _numbers([each.attention for each in translations]),
    }


def _strings(rows: list[Any], least: int = 1) -> np.ndarray:
    """Strings or rows of strings as UTF-8; rows are padded to `least` or more."""
    if not rows or isinstance(rows[0], str):
        return np.array([text.encode() for text in rows])
    width = max(least, *map(len, rows))
    return np.array([[text.encode() for text in row] + [b""] * (width - len(row)) for row in rows])


def _numbers(rows: list[Any], fill: float = 0.0, least: int = 1) -> np.ndarray:
    """Pads arrays of different shapes to one array, each axis to `least` or more."""
    arrays = [np.asarray(row, "float32") for row in rows]
    shape = [max(least, *sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    result = np.full((len(rows), *shape), fill, "float32")
    for row, array in zip(result, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return result


def _check(directory: Path, expected: dict[str, Any]) -> None:
    """Runs `saved_model_check` in a process without this package.

    Raises:
        ExportError: The model does not load, has ops that TensorFlow Serving lacks, gives
            different results, or fails its warm-up requests.
    """
    arrays = {
        **{f"input/{name}": _strings(expected[name]) for name in INPUTS if name in expected},
        **{
            f"{signature}/{name}": value
            for signature, outputs in expected.items()
            if isinstance(outputs, dict)
            for name, value in outputs.items()
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "expected.npz")
        with named_errors(path):
            np.savez(path, **arrays)
        # A copy, so that this module's folder is not on Python's path.
        program = shutil.copy(saved_model_check.__file__, folder)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        # The check ends when `writer` closes, also because this process was killed.
        reader, writer = os.pipe()
        with open(reader, "rb") as stdin, open(writer, "wb"):
            done = subprocess.run(
                [sys.executable, program, str(directory.resolve()), str(path)],
                stdin=stdin,
                capture_output=True,
                text=True,
                env=environment,
            )
    if done.returncode:
        reason = done.stdout or "\n".join(done.stderr.strip().splitlines()[-5:])
        raise ExportError(f"The exported model failed verification: {reason}")
