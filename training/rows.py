"""Sentence pairs in Python: tuples, Hugging Face rows, data frames and dictionaries of columns.

Data frames are recognized by what they offer, so neither pandas nor polars is a dependency.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from keras_attn_nmt.training.textfiles import without_line_breaks

logger = logging.getLogger(__name__)

# The key of a translation data set of Hugging Face.
TRANSLATION = "translation"
MISSING = ("refuse", "drop")
# pandas.NA and pandas.NaT, which cannot be compared.
_MISSING_TYPES = ("NAType", "NaTType")


def check_arguments(columns: tuple[str, str] | None, missing: str) -> None:
    """Raises `ValueError` for invalid arguments of `from_pairs`."""
    if missing not in MISSING:
        raise ValueError(f"missing must be one of {MISSING}, got {missing!r}.")
    if columns is not None and (
        isinstance(columns, str) or len(columns) != 2 or columns[0] == columns[1]
    ):
        raise ValueError(
            f"columns must be two names, source and target, such as ('de', 'en'), got {columns!r}."
        )


def encoded_pairs(
    pairs: Iterable[Any], columns: tuple[str, str] | None, missing: str
) -> Iterator[tuple[bytes, bytes]]:
    """Yields source and target of each row in UTF-8, see `from_pairs`.

    Raises:
        ValueError: This is not a collection, or a row is not a pair of texts.
    """
    _check_collection(pairs)
    dropped = 0
    rows = _rows(pairs, columns)
    # The rows of a table by column are pairs already.
    fields = columns if rows is pairs else None
    for index, row in enumerate(rows):
        pair = _pair(row, fields, index)
        if any(map(_is_missing, pair)):
            if missing == "drop":
                dropped += 1
                continue
            raise ValueError(
                f"Pair {index} is {row!r} and lacks a text: fill it in, or leave such pairs out "
                "with missing='drop'."
            )
        try:
            encoded = _utf8(pair[0]), _utf8(pair[1])
        except (TypeError, UnicodeError) as error:
            raise ValueError(f"Pair {index} is {row!r}; expected two texts: {error}.") from error
        yield encoded
    if dropped:
        logger.warning("left out %s pairs that lack a text", f"{dropped:,}")


def field_of(row: Mapping[str, Any], field: str) -> Any:
    """The value of a field: a key, a key of `translation`, or nested keys joined by dots.

    Raises:
        KeyError: The row lacks the field; the argument is a message.
    """
    inner = row.get(TRANSLATION)
    for level in (row, inner):
        if isinstance(level, Mapping) and field in level:
            return level[field]
    value: Any = row
    for key in field.split("."):
        if not isinstance(value, Mapping) or key not in value:
            nested = inner if isinstance(inner, Mapping) else {}
            names = [*row, *(f"{TRANSLATION}.{key}" for key in nested)]
            raise KeyError(f"no field {field!r}; it has {', '.join(map(str, names)) or 'none'}")
        value = value[key]
    return value


def _check_collection(pairs: Any) -> None:
    """Raises `ValueError` for what has no rows, such as a query that was not run."""
    if hasattr(pairs, "collect_schema") and hasattr(pairs, "collect"):
        raise ValueError("This is a lazy frame of polars: pass from_pairs frame.collect().")
    if hasattr(pairs, "columns") and hasattr(pairs, "to_arrow_table"):
        raise ValueError(
            "This is a relation of DuckDB, a query whose rows come in any order each time: pass "
            "from_pairs relation.to_arrow_table()."
        )
    if _is_frame(pairs):
        return
    try:
        iter(pairs)
    except TypeError as error:
        raise ValueError(
            f"Expected sentence pairs, got {type(pairs).__name__}: pass a list, or a data frame of "
            "pandas or polars."
        ) from error


def _is_frame(pairs: Any) -> bool:
    return hasattr(pairs, "columns") and hasattr(pairs, "shape")


def _rows(pairs: Any, columns: tuple[str, str] | None) -> Iterable[Any]:
    """Rows of a table by column; other collections as they are."""
    is_frame = _is_frame(pairs)
    if not is_frame and not isinstance(pairs, Mapping):
        return pairs
    # Of an Arrow table, `columns` are not names.
    names = list(getattr(pairs, "column_names", pairs.columns) if is_frame else pairs)
    known = f"Known: {', '.join(map(str, names))}."
    if not is_frame:
        known += " (Of a dictionary of splits, pass one: pairs['train'].)"
    if columns is None:
        raise ValueError(
            f"Name the columns of source and target, such as columns=('de', 'en'). {known}"
        )
    for name in columns:
        if names.count(name) != 1:
            count = "No column is" if name not in names else "Several columns are"
            raise ValueError(f"{count} called {name!r}. {known}")
    # Elements of an Arrow column are not Python values.
    texts = [
        each.to_pylist() if hasattr(each, "to_pylist") else each
        for each in (pairs[name] for name in columns)
    ]
    if any(isinstance(each, str | bytes) for each in texts):
        raise ValueError(
            f"Columns {columns} are single texts: this is one row. Give a list of rows, [pairs]."
        )
    if len(texts[0]) != len(texts[1]):
        raise ValueError(
            f"Column {columns[0]!r} has {len(texts[0]):,} texts and {columns[1]!r} has "
            f"{len(texts[1]):,}."
        )
    return zip(*texts, strict=True)


def _pair(row: Any, columns: tuple[str, str] | None, index: int) -> tuple[Any, Any]:
    if columns is not None and hasattr(row, "_asdict"):
        row = row._asdict()  # A named tuple.
    if isinstance(row, tuple | list) and len(row) == 2:
        if columns is not None:
            raise ValueError(
                f"Pair {index} is {row!r}, which has no fields {columns}: leave columns out, and "
                "give the source first."
            )
        return row[0], row[1]
    if not isinstance(row, Mapping):
        raise ValueError(f"Pair {index} is {row!r}; expected (source, target).")
    if columns is None:
        raise ValueError(
            f"Pair {index} is {row!r}: name the fields of source and target, such as "
            "columns=('de', 'en')."
        )
    try:
        return field_of(row, columns[0]), field_of(row, columns[1])
    except KeyError as error:
        raise ValueError(f"Pair {index} is {row!r}: {error.args[0]}.") from error


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    return isinstance(value, float) and value != value


def _utf8(text: Any) -> bytes:
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} is not text")
    return without_line_breaks(text).encode("utf-8")
