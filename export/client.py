"""Client of a served model over REST or gRPC, with the results of `Translator`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_attn_nmt.checks import check_whole, is_number
from keras_attn_nmt.export.transports import (
    Arrays,
    BatchTooLarge,
    Grpc,
    Rest,
    Transport,
    Unavailable,
)
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.glossary import Constraint, Glossary, target_phrases, text_constraints
from keras_attn_nmt.text.paragraphs import ParagraphTranslator
from keras_attn_nmt.text.protection import Plan, Protection, plan_texts, restore_all
from keras_attn_nmt.translation import IMPOSSIBLE, MAX_SOURCE_LENGTH, TextTooLong, Translation

FIRST_WAIT_SECONDS = 0.1
# The `max_batch_size` configured by `export_serving`.
BATCH_SIZE = 16
# Longer timeouts overflow in sockets and gRPC.
LONGEST_SECONDS = 1e6
# A served model tries only the first phrases of a constraint.
MOST_PHRASES = 4
# The signature for a glossary or constraints, which is optional.
CONSTRAINED = "translate_constrained"

logger = logging.getLogger(__name__)


class TranslationClient(ParagraphTranslator):
    """Translates with a model served by TensorFlow Serving. Needs the extra `serve`.

    Args:
        address: `http://host:8501` for REST, `host:8500` for gRPC.
        model: Model name on the server.
        version: Model version; defaults to the newest.
        timeout: Timeout of a call in seconds, including all batches and retries. (Over REST, a
            response that is being received may take longer.)
        retries: Number of retries with exponential backoff while the server is unavailable or
            overloaded (gRPC UNAVAILABLE and RESOURCE_EXHAUSTED, HTTP 429, 502 and 503), or merged
            the request with a malformed one; over REST, `Retry-After` is honoured. Other errors are
            not retried.
        batch_size: Maximum number of texts per request; reduced to the server's `max_batch_size`
            if that is smaller.

    Raises (every method):
        TextTooLong: A text exceeds the maximum source length.
        TimeoutError: The timeout expired, or would expire during the next backoff.
        ConnectionError: The server stayed unavailable or overloaded, its host name cannot be
            resolved, or (over REST) TLS fails, or a redirection fails or loses the request body
            (301, 302, 303).
        ValueError: The server rejected the request, e.g. for an unknown model, a message is too
            large, or the answer is not that of such a model. From the constructor: the address is
            malformed, or an option is out of range.

    Example:
        >>> with TranslationClient("http://localhost:8501", "demo") as client:
        ...     client(["einundvierzig"])[0].text
        'forty-one'
    """

    def __init__(
        self,
        address: str,
        model: str,
        *,
        version: int | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        batch_size: int = BATCH_SIZE,
    ):
        if not is_number(timeout) or not timeout > 0:
            raise ValueError(f"timeout must be a number of seconds above 0, got {timeout!r}.")
        self._timeout = timeout
        self._retries = check_whole("retries", retries, least=0)
        self._batch_size = check_whole("batch_size", batch_size)
        if version is not None:
            version = check_whole("version", version, least=0)
        for name, value in (("address", address), ("model", model)):
            if not isinstance(value, str):
                raise ValueError(f"{name} must be a string, got {value!r}.")
        if not model:
            raise ValueError("model is empty: expected the name of the model on the server.")
        rest = address.startswith(("http://", "https://"))
        self._transport: Transport = (Rest if rest else Grpc)(address, model, version)

    def __call__(
        self,
        texts: Sequence[str],
        *,
        glossary: Glossary | None = None,
        constraints: Sequence[Sequence[Constraint | str]] | None = None,
        protect: Sequence[str] = (),
        markup: bool = False,
        stand_in: str | None = None,
    ) -> list[Translation]:
        """Translates texts and returns the best translation of each, with attention.

        The attention is zeros, as that of a model without attention, if the model was exported with
        `attention="none"`. Phrases that a translation lacks are logged as a warning.

        Args:
            texts: Sentences.
            glossary: See `Translator.nbest`; requires a model exported with `constraints=True`.
            constraints: As `glossary`.
            protect: What comes through unchanged, see `Protection`; the server does not see it.
            markup: Translate HTML or XLIFF; see `Protection`.
            stand_in: What the model sees of protected text; see `Protection`.
        """
        wanted = target_phrases(glossary, constraints) if protect or markup else ()
        protection = Protection(protect, markup=markup, stand_in=stand_in, wanted=wanted)
        plans = plan_texts(protection, texts)
        inputs = {"text": [plan.text for plan in plans]}
        rows = text_constraints(inputs["text"], glossary, constraints)
        if any(rows):
            if more := sum(len(each.targets) > MOST_PHRASES for row in rows for each in row):
                logger.warning(
                    "%d constraints have more than %d phrases, of which the first %d count",
                    *(more, MOST_PHRASES, MOST_PHRASES),
                )
            inputs["constraints"] = ["\n".join(each.as_line() for each in row) for row in rows]
            found = self._constrained(inputs, plans)
        else:
            make = _restorable(plans, _translation)
            found = self._answers("serving_default", make, **inputs)
        return [plan.restore(each) for plan, each in zip(plans, found, strict=True)]

    def nbest(
        self,
        texts: Sequence[str],
        *,
        protect: Sequence[str] = (),
        markup: bool = False,
        stand_in: str | None = None,
    ) -> list[list[Translation]]:
        """Returns all translations of each text, best first.

        Arguments: see `__call__`; the signature `nbest` takes no glossary and no constraints.
        """
        plans = plan_texts(Protection(protect, markup=markup, stand_in=stand_in), texts)
        make = _restorable(plans, _translations)
        found = self._answers("nbest", make, text=[plan.text for plan in plans])
        return restore_all(plans, found)

    def score(self, texts: Sequence[str], references: Sequence[str]) -> list[Translation]:
        """Scores given translations: token scores and attention."""
        return self._answers("score", _scored, text=texts, reference=references)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Sentence vectors, float32, `(len(texts), annotation_units)`.

        Without texts, a blank one is sent, as only the server knows `annotation_units`.
        """
        texts = _checked("text", texts)
        found = self._answers("embed", _vector, text=texts or [""])
        return np.array(found, "float32")[: len(texts)]

    def _constrained(
        self, inputs: dict[str, list[str]], plans: Sequence[Plan]
    ) -> list[Translation]:
        try:
            answers = self._answers(CONSTRAINED, _restorable(plans, _constrained), **inputs)
        except TextTooLong:
            raise
        except ValueError as error:
            if "signature" not in str(error).lower():
                raise
            raise ValueError(
                f"{error} (A glossary or constraints need a model that was exported with "
                "keras-attn-nmt export saved-model --constraints.)"
            ) from error
        if missing := sum(count for _, count in answers):
            logger.warning("%d phrases are missing in the translations", missing)
        return [translation for translation, _ in answers]

    def close(self) -> None:
        """Closes the connection; a later call opens another one."""
        self._transport.close()

    def __enter__(self) -> TranslationClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(
        self, signature: str, make: Callable[[Arrays], Any], **inputs: Sequence[str]
    ) -> list[Any]:
        rows = {name: _checked(name, values) for name, values in inputs.items()}
        lengths = {name: len(values) for name, values in rows.items()}
        if len(set(lengths.values())) > 1:
            (other,) = set(rows) - {"text"}
            raise ValueError(f"Expected one {other} per text: got {lengths}.")
        deadline = time.monotonic() + self._timeout
        results: list[Any] = []
        while (start := len(results)) < lengths["text"]:
            end = start + self._batch_size
            batch = {name: values[start:end] for name, values in rows.items()}
            try:
                answers = self._send(signature, batch, deadline)
            except BatchTooLarge as error:
                if not 0 < error.limit < len(batch["text"]):
                    raise ValueError(str(error)) from error
                self._batch_size = error.limit
                continue
            _check_rows(answers, len(batch["text"]), signature)
            # A `Translation` also needs the inputs.
            answers = {
                **{name: np.array(values, object) for name, values in batch.items()},
                **answers,
            }
            for row in range(len(batch["text"])):
                try:
                    results.append(_made(make, answers, row, signature))
                except _TooLong as error:
                    raise TextTooLong(
                        start + row, error.length, MAX_SOURCE_LENGTH, error.kind
                    ) from error
        return results

    def _send(self, signature: str, batch: dict[str, list[str]], deadline: float) -> Arrays:
        reason = ""
        for attempt in range(self._retries + 1):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"No answer in {self._timeout} seconds.{reason}")
            try:
                return self._transport.predict(signature, batch, min(left, LONGEST_SECONDS))
            except Unavailable as error:
                reason = f" The server was not available: {error}"
                if attempt == self._retries:
                    raise ConnectionError(
                        f"The server was not available, {attempt + 1} times: {error}"
                    ) from error
                wait = max(error.wait, FIRST_WAIT_SECONDS * 2**attempt)
            if time.monotonic() + wait >= deadline:
                raise TimeoutError(
                    f"No answer in {self._timeout} seconds.{reason} The next retry in {wait:g} "
                    "seconds would exceed the timeout."
                )
            time.sleep(wait)
        raise AssertionError("not reached")


def _check_rows(answers: Arrays, texts: int, signature: str) -> None:
    """Raises `ValueError` unless each output has one row for each text."""
    for name, value in answers.items():
        if value.shape[:1] != (texts,):
            raise ValueError(
                f"The server's answer to {signature} has {name} of shape {value.shape} for {texts} "
                "texts: is it another model?"
            )


def _made(make: Callable[[Arrays], Any], answers: Arrays, row: int, signature: str) -> Any:
    """The result of a row; raises `ValueError` for an answer of another kind of model."""
    try:
        return make({name: value[row] for name, value in answers.items()})
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        raise ValueError(
            f"The server's answer to {signature} is not one of a model that keras-attn-nmt export "
            f"saved-model wrote ({error!r:.200}): is it another model?"
        ) from error


class _TooLong(Exception):
    """A too long text or reference."""

    def __init__(self, length: int, kind: str = "text"):
        self.length, self.kind = length, kind


def _checked(name: str, values: Sequence[str]) -> list[str]:
    if isinstance(values, (str, bytes)):
        raise ValueError(
            f"Expected a list of strings for {name}, got one string: wrap it in a list."
        )
    values = list(values)
    for number, value in enumerate(values, 1):
        if not isinstance(value, str):
            raise ValueError(f"{name} {number} must be a string, got {type(value).__name__}.")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{name} {number} contains a lone surrogate, which has no UTF-8 encoding: decode "
                "it with errors='replace', or remove it."
            ) from error
    return values


def _vector(row: Arrays) -> np.ndarray:
    if int(row["source_length"]) > MAX_SOURCE_LENGTH:
        raise _TooLong(int(row["source_length"]))
    return row["embedding"]


def _texts(values: Any) -> list[str]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{values!r} instead of texts")
    texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    if others := [value for value in texts if not isinstance(value, str)]:
        raise TypeError(f"{others[0]!r} instead of a text")
    return texts


def _restorable(plans: Sequence[Plan], make: Callable[[Arrays], Any]) -> Callable[[Arrays], Any]:
    """Makes results as `make`; fails on the first answer if plans need attention it lacks."""
    if not any(plan.marks and not is_blank(plan.text) for plan in plans):
        return make

    def make_restorable(row: Arrays) -> Any:
        if "attention" not in row:
            raise ValueError(
                "protect and markup need attention, which says where protected text and tags "
                "belong, but the model was exported without it: export it with --attention "
                "float32, or use neither."
            )
        return make(row)

    return make_restorable


def _translation(row: Arrays) -> Translation:
    source, target = int(row["source_length"]), int(row["target_length"])
    if float(row["score"]) <= IMPOSSIBLE and source:
        raise _TooLong(source)
    translation = Translation(
        text=_texts([row["translation"]])[0],
        score=float(row["score"]),
        source_tokens=_texts(row["source_tokens"][:source]),
        target_tokens=_texts(row["target_tokens"][:target]),
        token_scores=row["token_scores"][:target],
        attention=row["attention"][:target, :source]
        if "attention" in row
        else np.zeros((target, source), "float32"),
    )
    lengths = len(translation.source_tokens), len(translation.target_tokens)
    shapes = translation.token_scores.shape, translation.attention.shape
    if lengths != (source, target) or shapes != ((target,), (target, source)):
        raise TypeError(
            f"{lengths} tokens, token_scores and attention of shapes {shapes} for "
            f"source_length {source} and target_length {target}"
        )
    return translation


def _constrained(row: Arrays) -> tuple[Translation, int]:
    return _translation(row), int(row["constraints_missing"])


def _translations(row: Arrays) -> list[Translation]:
    of_text = ("text", "source_tokens", "source_length")
    result = []
    for place in range(len(row["score"])):
        if place and float(row["score"][place]) <= IMPOSSIBLE:
            break
        result.append(
            _translation(
                {name: value if name in of_text else value[place] for name, value in row.items()}
            )
        )
    return result


def _scored(row: Arrays) -> Translation:
    if float(row["score"]) <= IMPOSSIBLE:
        for kind, length in (("text", row["source_length"]), ("reference", row["target_length"])):
            if int(length) > MAX_SOURCE_LENGTH:
                raise _TooLong(int(length), kind)
        raise ValueError("The server has no score for a text and its reference: are they too long?")
    return _translation({**row, "translation": row["reference"]})
