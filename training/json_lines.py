"""JSON lines: one JSON object per line and sentence pair."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from keras_attn_nmt.training.rows import field_of
from keras_attn_nmt.training.streaming import stream
from keras_attn_nmt.training.textfiles import iterate_lines, without_line_breaks


def read_json_lines(
    path: str | os.PathLike[str], source_field: str, target_field: str
) -> tf.data.Dataset:
    """Reads a UTF-8 file with a JSON object per line, plain or gzip.

    Args:
        path: The file. Blank lines are skipped.
        source_field: Field of the source text: a key of the object (`{"de": ..., "en": ...}`) or of
            its object `translation` (`{"translation": {"de": ..., "en": ...}}`), or keys of nested
            objects joined by dots (`texts.de`).
        target_field: Same for the target text.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`, with known cardinality.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a line is not a JSON object, or lacks one of the texts (with the line); the file
            is not UTF-8, damaged or empty.
    """
    if source_field == target_field:
        raise ValueError(
            f"Source and target of {path} are both in field {source_field!r}: set two fields."
        )

    def pairs() -> Iterator[tuple[bytes, bytes]]:
        for number, line in enumerate(iterate_lines(path), 1):
            if line.strip():
                where = f"{path}, line {number}"
                row = _parsed(line, where)
                yield _text(row, source_field, where), _text(row, target_field, where)

    count = sum(1 for _ in pairs())
    if count == 0:
        raise ValueError(f"{path} is empty. It needs at least one JSON object.")
    return stream(pairs, count)


def _parsed(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{where}: not a JSON object ({error}). JSON lines have one whole object per line."
        ) from error
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a JSON object, got {type(row).__name__}.")
    return row


def _text(row: Mapping[str, Any], field: str, where: str) -> bytes:
    try:
        value = field_of(row, field)
    except KeyError as error:
        raise ValueError(f"{where}: {error.args[0]}.") from error
    if not isinstance(value, str):
        raise ValueError(f"{where}: field {field!r} is {json.dumps(value)[:60]}, expected a text.")
    try:
        return without_line_breaks(value).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: field {field!r} contains a lone surrogate, which has no UTF-8 encoding."
        ) from error
