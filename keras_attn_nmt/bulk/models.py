"""One way to translate lines, whichever of the three forms a model has.

Only a model directory imports Keras, and a `.tflite` file not even TensorFlow: workers start often.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.checks import check_attention, check_n_best, check_whole
from keras_attn_nmt.results import FORMS
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.fitting import cropped, pieces_that_fit
from keras_attn_nmt.text.protection import Plan
from keras_attn_nmt.translation import TextTooLong

if TYPE_CHECKING:
    from keras_attn_nmt.text.paragraphs import Paragraph
    from keras_attn_nmt.text.words import Span
    from keras_attn_nmt.translation import Translation

# What becomes of lines that are too long.
TOO_LONG = ("skip", "crop", "split")
SAVED_MODEL = "saved_model.pb"
# A text of fewer bytes hardly ever has as many tokens as the limit of a SavedModel.
_PROBABLY_SHORT = 1000


@dataclasses.dataclass(frozen=True)
class BulkOptions:
    """How lines are translated and written.

    Args:
        n_best: Translations of each line.
        form: One of `FORMS`.
        alignment: Whether to write word alignments, too.
        too_long: One of `TOO_LONG`: lines that are too long become empty lines, or are cropped, or
            are translated in pieces.
        batch_size: Sentences per batch.
        search: Other options of `Translator.nbest`.

    Raises:
        ValueError: Options do not go together.
    """

    n_best: int = 1
    form: str = "text"
    alignment: bool = False
    too_long: str = "skip"
    batch_size: int = 64
    search: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_whole("n_best", self.n_best)
        check_whole("batch_size", self.batch_size)
        if self.form not in FORMS or self.too_long not in TOO_LONG:
            raise ValueError(
                f"form must be one of {', '.join(FORMS)} and too_long one of "
                f"{', '.join(TOO_LONG)}, got {self.form!r} and {self.too_long!r}."
            )
        if self.form == "moses" and self.too_long == "split":
            raise ValueError(
                "A line in pieces has no n-best list: use another form than moses, or crop."
            )


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a line.

    Attributes:
        best: Its translations, best first: each a `Translation`, or the `Paragraph` of a line that
            was split.
        failure: Why it is not translated as a whole, or `""`.
        source: What was translated: the line, or its beginning.
    """

    best: Sequence[Translation | Paragraph]
    failure: str = ""
    source: str = ""


class BulkModel:
    """A model that is loaded.

    Args:
        path: A `.tflite` file, the folder of a SavedModel's version, or a model directory.
        options: How to translate.

    Raises:
        OSError, ValueError: It cannot be loaded, or does not have an option.
    """

    def __init__(self, path: str, options: BulkOptions):
        self._options = options
        # Threads of one process share a model.
        self._lock = threading.Lock()
        with tempfile.TemporaryDirectory() as folder, storage.local_copy(path, folder) as local:
            self._translator = load_translator(local, options.batch_size)
        self._search = dict(options.search)
        self._tokenizer = getattr(self._translator, "source_tokenizer", None)
        if self._tokenizer is None:
            check_exported_options(path, options, self._translator.metadata)
        else:
            self._search["batch_size"] = options.batch_size
            beam_size = self._search.get("beam_size") or self._translator.search.beam_size
            check_n_best(options.n_best, beam_size)
        check_attention(self._translator.has_attention, alignment=options.alignment)

    def translate(self, lines: Sequence[str]) -> list[Outcome]:
        """What becomes of each line; a line that fails has an empty translation."""
        texts, pieces, failures = self._fitting(lines)
        sentences = [
            text[start:end]
            for text, spans in zip(texts, pieces, strict=True)
            for start, end in spans or [(0, len(text))]
        ]
        with self._lock:
            found = self._translations(sentences)
        outcomes = []
        done = 0
        for text, spans, failure in zip(texts, pieces, failures, strict=True):
            here = found[done : done + max(1, len(spans))]
            done += len(here)
            failure = next((each.failure for each in here if each.failure), failure)
            best: Sequence[Any] = here[0].best[: self._options.n_best]
            if spans:
                best = [_joined(text, spans, here)]
            outcomes.append(Outcome(best, failure, text))
        return outcomes

    def _fitting(self, lines: Sequence[str]) -> tuple[list[str], list[list[Span]], list[str]]:
        """Texts for the model, the pieces of those that are split, and failures."""
        texts, failures = list(lines), [""] * len(lines)
        pieces: list[list[Span]] = [[] for _ in lines]
        if self._tokenizer is None:
            return texts, pieces, failures
        limit = self._translator.max_source_length
        for row, ids in enumerate(self._tokenizer.encode(texts)):
            if len(ids) < limit or is_blank(lines[row]):
                continue
            reason = f"has {len(ids) + 1} tokens, the limit is {limit}"
            if self._options.too_long == "split":
                pieces[row] = pieces_that_fit(self._tokenizer, lines[row], limit)
                continue
            if self._options.too_long == "crop":
                texts[row] = cropped(self._tokenizer, ids[: limit - 1])
                failures[row] = f"{reason}: cropped"
            else:
                texts[row], failures[row] = "", f"{reason}: skipped"
        return texts, pieces, failures

    def _translations(self, texts: Sequence[str]) -> list[Outcome]:
        if self._tokenizer is None:
            return self._served(texts)
        try:
            return [Outcome(each) for each in self._translator.nbest(texts, **self._search)]
        except (OSError, MemoryError):
            raise
        except Exception as error:
            return self._one_by_one(texts, error)

    def _one_by_one(self, texts: Sequence[str], error: Exception) -> list[Outcome]:
        """Finds the texts that a model fails on; raises if it fails on all of several texts."""
        (blank,) = self._translator.nbest([""], **self._search)
        outcomes = []
        for text in texts:
            try:
                (best,) = self._translator.nbest([text], **self._search)
                outcomes.append(Outcome(best))
            except (OSError, MemoryError):
                raise
            except Exception as problem:
                reason = str(problem).strip() or type(problem).__name__
                outcomes.append(Outcome(blank, f"cannot be translated: {reason}"))
        full = [each for each, text in zip(outcomes, texts, strict=True) if not is_blank(text)]
        if len(full) == 1 and full[0].failure:
            self._translator.nbest(["."], **self._search)  # Raises if the model fails on any text.
        elif full and all(each.failure for each in full):
            raise error
        return outcomes

    def _served(self, texts: Sequence[str]) -> list[Outcome]:
        """Translations of a SavedModel, which has its tokenisers inside."""
        whole = self._options.n_best > 1
        outcomes: list[Outcome] = [Outcome(())] * len(texts)

        def translate(rows: list[int]) -> None:
            batch = [texts[row] for row in rows]
            found = (
                self._translator.nbest(batch)
                if whole
                else [[each] for each in self._translator(batch)]
            )
            for row, best in zip(rows, found, strict=True):
                outcomes[row] = Outcome(best)

        sizes = [len(text.encode()) for text in texts]
        order = sorted(range(len(texts)), key=lambda row: sizes[row])
        short = [row for row in order if sizes[row] < _PROBABLY_SHORT]
        try:
            translate(short)
        except TextTooLong:
            short = []
        for row in order[len(short) :]:
            try:
                translate([row])
            except TextTooLong as error:
                reason = f"has {error.length} tokens, the limit is {error.limit}: skipped"
                outcomes[row] = Outcome([self._translator([""])[0]], reason)
        return outcomes


def load_translator(path: str, batch_size: int) -> Any:
    """The translator of a local model."""
    if path.endswith(".tflite"):
        from keras_attn_nmt.export.runner import TFLiteTranslator

        return TFLiteTranslator(path)
    if Path(path, SAVED_MODEL).is_file():
        from keras_attn_nmt.export.saved_model_runner import SavedModelTranslator

        return SavedModelTranslator(path, batch_size=batch_size)
    from keras_attn_nmt.translator import Translator

    return Translator.load(path)


def check_model(path: str, options: BulkOptions) -> None:
    """Checks what can be known of a local model without loading it.

    Raises:
        OSError, ValueError: It does not exist, or does not have an option.
    """
    if not storage.is_local(path):
        return
    if path.endswith(".tflite"):
        from keras_attn_nmt.export import device_metadata

        metadata = device_metadata.read_metadata(path)
        beam_size = options.search.get("beam_size") or metadata["beam_size"]
        max_length = options.search.get("max_length") or metadata["max_target_length"]
        device_metadata.check_limits(metadata, beam_size, max_length)
        check_n_best(options.n_best, beam_size)
        if options.search.get("shortlist"):
            raise ValueError(device_metadata.shortlist_advice(path))
        check_attention(metadata.get("attention", True), alignment=options.alignment)
    elif Path(path, SAVED_MODEL).is_file():
        from keras_attn_nmt.export.saved_model_runner import (
            check_folder,
            exports_attention,
            read_metadata,
        )

        check_folder(path)
        metadata = read_metadata(path)
        check_exported_options(path, options, metadata)
        check_attention(exports_attention(metadata), alignment=options.alignment)


def check_exported_options(path: str, options: BulkOptions, metadata: Mapping[str, Any]) -> None:
    """Raises `ValueError` for options that a SavedModel with this metadata does not take."""
    # 0 is a value, of penalties, and equals False.
    given = [
        name for name, value in options.search.items() if value is not None and value is not False
    ]
    if given:
        raise ValueError(
            f"{path} is a SavedModel, whose search is set at export: remove "
            f"{', '.join('--' + name.replace('_', '-') for name in given)}, or use the model "
            "directory that it was exported from."
        )
    if options.too_long != "skip":
        raise ValueError(
            f"{path} is a SavedModel, which can only skip what is too long: use --too-long skip, "
            "a .tflite file or the model directory that it was exported from."
        )
    check_n_best(options.n_best, metadata.get("beam_size", options.n_best))


def model_digest(path: str) -> str:
    """SHA-256 of the files of a model, wherever it lies; without checkpoints.

    Raises:
        FileNotFoundError: There is none.
    """
    if storage.is_local(path):
        files = _local_files(path)
    else:
        pattern = path if path.endswith(".tflite") else f"{path.rstrip('/')}/**"
        files = [each.path for each in storage.find([pattern])]
    digest = hashlib.sha256()
    for each in files:
        digest.update(storage.name_of(each).encode() + b"\0" + storage.read(each))
    return digest.hexdigest()


def _local_files(path: str) -> list[str]:
    """Paths of the files of a local model, sorted."""
    if path.endswith(".tflite"):
        return [path]
    if not os.path.isdir(path):
        raise FileNotFoundError(f"The model {path} does not exist.")
    files = storage.files_in(path)
    if Path(path, SAVED_MODEL).is_file():
        variables = storage.files_in(storage.join(path, "variables"))
        if not variables:
            raise FileNotFoundError(f"{path} is a SavedModel without variables: copy all of it.")
        files += variables
    elif not Path(path, "model.keras").is_file():
        raise FileNotFoundError(
            f"{path} is neither a model directory (no model.keras) nor the folder of a "
            f"SavedModel's version (no {SAVED_MODEL})."
        )
    return sorted(files)


def _joined(text: str, spans: Sequence[Span], found: Sequence[Outcome]) -> Paragraph:
    """The translation of a text that was translated in pieces."""
    from keras_attn_nmt.text.paragraphs import join_paragraphs

    sources = [text[start:end] for start, end in spans]
    plans = [Plan(text, text, [], False)]
    best: list[Any] = [each.best[0] for each in found]
    (paragraph,) = join_paragraphs(plans, [spans], sources, best)
    return paragraph
