"""Verifies that a `.tflite` file translates like the trained model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_text
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.probe_texts import probe_texts
from keras_attn_nmt.export.runner import TFLiteTranslator
from keras_attn_nmt.model_directory import ModelFiles
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator

TOLERANCE = 1e-4


def check(
    files: ModelFiles,
    path: Path,
    vocabularies: list[Path],
    metadata: dict[str, Any],
    shortlist: Shortlist | None = None,
) -> None:
    """Compares greedy and beam search of the file with the model.

    Args:
        files: The model.
        path: The file.
        vocabularies: Of the source and of the target.
        metadata: Of the file.
        shortlist: Of the file.

    Raises:
        ExportError: A float file disagrees with the model, or a quantised one is broken.
    """
    source, target = vocabularies
    rows = 1
    run: Callable[..., list[Translation]]
    if metadata["text"]:
        runner = TextRunner(path)

        def run(texts: list[str], **_: Any) -> list[Translation]:
            return [runner(text) for text in texts]
    else:
        device = TFLiteTranslator(path, source, target)
        run, rows = device, device.rows
    tokenizers = (files.source_tokenizer, files.target_tokenizer)
    translator = Translator(files.model, *tokenizers, shortlist)
    texts = [
        text
        for text in probe_texts(files.source_tokenizer)
        if len(files.source_tokenizer.encode([text])[0]) < metadata["max_source_length"]
    ]
    options: dict[str, Any] = {
        "length_penalty": metadata["length_penalty"],
        "max_length": metadata["max_target_length"],
        "coverage_penalty": metadata["coverage_penalty"],
    }
    for beam_size in sorted({1, metadata["beam_size"]}):
        options["diversity_penalty"] = metadata["diversity_penalty"] if beam_size > 1 else 0.0
        found = translator(texts, beam_size=beam_size, shortlist=shortlist is not None, **options)
        wanted_of = dict(zip(texts, found, strict=True))
        # Greedy search has signatures for several sentences: enough of each length.
        asked = texts * rows if beam_size == 1 else texts
        for text, got in zip(asked, run(asked, beam_size=beam_size, **options), strict=True):
            wanted = wanted_of[text]
            if not _agree(got, wanted, exact=metadata["quantization"] == "none"):
                raise ExportError(
                    f"The exported model failed verification: with beam size {beam_size}, it gives "
                    f"{got.text!r} ({got.score:.5f}) for {text!r}, the model {wanted.text!r} "
                    f"({wanted.score:.5f})."
                )


class TextRunner:
    """Runs a file that takes text, where TensorFlow and TF Text are at hand.

    Args:
        path: What `export_tflite` wrote with `text=True`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        with warnings.catch_warnings():  # Its successor has no place for other ops.
            warnings.simplefilter("ignore")
            self._interpreter = InterpreterWithCustomOps(
                model_path=str(path),
                custom_op_registerers=tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS,
            )
        self._translate = self._interpreter.get_signature_runner("translate")

    def __call__(self, text: str) -> Translation:
        """Translates one text; one that is too long gives `""` with a score of `IMPOSSIBLE`."""
        found = self._translate(text=np.array([text]))
        source, target = int(found["source_length"][0]), int(found["target_length"][0])
        return Translation(
            # A model may spell half a character.
            text=found["translation"][0].decode(errors="replace"),
            score=float(found["score"][0]),
            source_tokens=[piece.decode() for piece in found["source_tokens"][0, :source]],
            target_tokens=[piece.decode() for piece in found["target_tokens"][0, :target]],
            token_scores=found["token_scores"][0, :target],
            attention=found["attention"][0, :target, :source],
        )


def _agree(got: Translation, wanted: Translation, exact: bool) -> bool:
    if not exact:
        # How near a quantised file comes is a matter of BLEU; broken ones are found here.
        sums = got.attention.sum(axis=1)
        return bool(np.isfinite(got.score) and np.all((np.abs(sums - 1) < 0.01) | (sums == 0)))
    if abs(got.score - wanted.score) > TOLERANCE:
        return False
    if got.target_tokens != wanted.target_tokens:
        return True  # Of two translations as good as each other, rounding decides.
    # How many replacement characters half a character becomes is up to who decodes it.
    readable = "\ufffd" in wanted.text or got.text == wanted.text
    return readable and bool(np.abs(got.attention - wanted.attention).max(initial=0) <= TOLERANCE)
