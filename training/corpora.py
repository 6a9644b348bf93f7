"""Corpus readers: line-aligned files, TSV, TFDS and Python iterables.

Each reader returns a `tf.data.Dataset` of `(source, target)`, two scalar `tf.string` tensors in
UTF-8. It streams in constant memory and preserves order and every line, including empty ones.
Files are validated completely before the function returns.
"""

from __future__ import annotations

import logging
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from keras_attn_nmt.text.alignment import check_links, parse_pharaoh
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training.rows import check_arguments, encoded_pairs
from keras_attn_nmt.training.streaming import stream
from keras_attn_nmt.training.textfiles import count_aligned_lines, iterate_lines, readable_again
from keras_attn_nmt.training.tfds_corpora import read_tfds

__all__ = [
    "concatenated",
    "decoded",
    "from_pairs",
    "header_columns",
    "read_lines",
    "read_tfds",
    "read_tsv",
]

logger = logging.getLogger(__name__)


def read_lines(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    alignment_path: str | os.PathLike[str] | None = None,
) -> tf.data.Dataset:
    """Reads two line-aligned UTF-8 files, plain or gzip; pipes are kept in memory.

    Args:
        source_path: Source sentences, one per line.
        target_path: Target sentences, one per line.
        alignment_path: Optional word alignments in Pharaoh format, one line per pair.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`,
        with known cardinality.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files have different numbers of lines, a file is empty, damaged or not
            UTF-8, or an alignment link is malformed or out of range.
    """
    source_path, target_path = map(readable_again, (source_path, target_path))
    paths = [source_path, target_path]
    count = count_aligned_lines(source_path, target_path)
    if alignment_path is not None:
        alignment_path = readable_again(alignment_path)
        paths.append(alignment_path)
        count_aligned_lines(source_path, alignment_path, "align")
        sure = False
        for number, lines in enumerate(zip(*map(iterate_lines, paths), strict=True), 1):
            source, target, links = (line.decode("utf-8") for line in lines)
            where = f"{alignment_path}, line {number}"
            gold = parse_pharaoh(links, where)
            check_links(gold, source, target, where)
            sure |= bool(gold.sure)
        if not sure:
            logger.warning(
                "%s has no sure link (0-1): guided alignment trains on those only", alignment_path
            )
    return stream(lambda: zip(*map(iterate_lines, paths), strict=True), count, len(paths))


def read_tsv(
    path: str | os.PathLike[str],
    source_column: int = 0,
    target_column: int = 1,
    *,
    header: bool = False,
) -> tf.data.Dataset:
    """Reads a UTF-8 file of tab-separated columns, plain or gzip, without quoting.

    Args:
        path: The file.
        source_column: Column of the source text, 0-based.
        target_column: Column of the target text, 0-based.
        header: Whether the first line is a header.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`, with known cardinality.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a row has too few columns, the file is not UTF-8, damaged or empty, or a column
            number is negative.
    """
    if source_column < 0 or target_column < 0:
        raise ValueError(
            f"source_column={source_column} and target_column={target_column} must not be "
            "negative: columns are 0-based."
        )

    def rows() -> Iterator[tuple[bytes, bytes]]:
        needed = max(source_column, target_column) + 1
        for number, line in enumerate(iterate_lines(path), 1):
            if header and number == 1:
                continue
            columns = line.split(b"\t")
            if len(columns) < needed:
                raise ValueError(
                    f"{path}, line {number}: found {len(columns)} tab-separated column(s), "
                    f"expected at least {needed}: the source is read from column "
                    f"{source_column + 1} and the target from column {target_column + 1} (counted "
                    "from 1)."
                )
            yield columns[source_column], columns[target_column]

    count = sum(1 for _ in rows())
    if count == 0:
        raise ValueError(f"{path} is empty. It needs at least one row.")
    return stream(rows, count)


def header_columns(
    path: str | os.PathLike[str],
    source_language: str,
    target_language: str,
    source_column: int | None = None,
    target_column: int | None = None,
) -> tuple[int, int] | None:
    """Finds the columns of both languages in the header of a TSV file.

    Args:
        path: The file.
        source_language: Language code.
        target_language: Language code.
        source_column: 0-based column that is taken if it has the source language, else the first
            such one.
        target_column: The same for the target language.

    Returns:
        0-based source and target column, or `None` if the first line does not contain both
        languages as cells (case-insensitive; `en` also as `en-US` or `en_GB`), i.e. is not a
        header. Equal languages are in its first two columns of them.
    """
    first = next(iterate_lines(path), b"").decode("utf-8")
    cells = [cell.strip() for cell in first.split("\t")]
    targets = {n for n, cell in enumerate(cells) if cell.lower() == target_language.lower()}
    same = source_language.lower() == target_language.lower()
    source = _column(cells, source_language, source_column, set() if same else targets)
    if source is None:
        return None
    target = _column(cells, target_language, target_column, {source})
    return None if target is None else (source, target)


def _column(cells: list[str], language: str, wanted: int | None, taken: set[int]) -> int | None:
    """The index of a language among the cells of a header, else of its first variant."""
    code = rf"(?i:{re.escape(language)})"
    # The subtags of a script and a region (BCP 47), and not the "de_id" of a database.
    variant = rf"{code}([-_][A-Z][a-z]{{3}})?([-_]([A-Z]{{2}}|\d{{3}}))?|{code}-[a-z]{{2}}"
    found = [
        [place for place, cell in enumerate(cells) if re.fullmatch(pattern, cell)]
        for pattern in (code, variant)
    ]
    if wanted in found[1]:
        return wanted
    return next((place for place in [*found[0], *found[1]] if place not in taken), None)


def from_pairs(
    pairs: Iterable[Any] | Callable[[], Iterable[Any]],
    count: int | None = None,
    *,
    columns: tuple[str, str] | None = None,
    missing: str = "refuse",
) -> tf.data.Dataset:
    """Creates a dataset from pairs of Python strings, rows or data frames.

    Args:
        pairs: A list or other collection of `(source, target)`, or of rows (dictionaries) such as
            `{"de": ..., "en": ...}` and `{"translation": {"de": ..., "en": ...}}`, for example a
            `datasets.Dataset`; a data frame of pandas or polars, or a dictionary of columns; a
            function that returns one of these, or a new iterator, on each call, such as
            `lambda: book.pairs("train", 5_000_000)`; or an iterator, which can be read only once.
        count: Number of pairs, if known; collections are counted.
        columns: Names of the source and the target column, or field of a row; a nested field as
            `texts.de`.
        missing: What to do with pairs that lack a text (`None`, NaN, `pandas.NA`): `"refuse"` or
            `"drop"`, which reports their number. Empty texts are not missing; `BatchedPairs` drops
            their pairs.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`. Its cardinality is known if the
        count is; an iterator that yields a different number then raises an error.

    Raises:
        ValueError: the collection is empty, an element is not a pair of strings or lacks a text
            (with its number, from 0), or a column is unknown. Functions and iterators are validated
            lazily.

    Example:
        >>> frame = {"id": [1, 2], "de": ["Haus", "See"], "en": ["house", "lake"]}
        >>> from_pairs(frame, columns=("de", "en")).cardinality().numpy()
        2
    """
    check_arguments(columns, missing)

    def encoded(pairs: Iterable[Any]) -> Iterator[tuple[bytes, bytes]]:
        return encoded_pairs(pairs, columns, missing)

    if callable(pairs):
        return stream(lambda: encoded(pairs()), count)
    if isinstance(pairs, Iterator):
        return stream(_only_once(pairs, encoded), count)
    length = sum(1 for _ in encoded(pairs))
    if length == 0:
        raise ValueError("There are no sentence pairs: the collection is empty.")
    if count not in (None, length):
        raise ValueError(f"count={count}, but the collection has {length} pairs.")
    return stream(lambda: encoded(pairs), length)


def concatenated(pairs: tf.data.Dataset, most_words: int, seed: int = 0) -> tf.data.Dataset:
    """Concatenates consecutive pairs, to train or test on long sentences.

    Each concatenation draws a length limit uniformly from 1 to `most_words` source words and takes
    pairs up to that limit, at least one. Every pair occurs once; a pair with an empty side is kept
    separate and dropped later.

    Args:
        pairs: Dataset of `(source, target)`, tf.string of shape `()`.
        most_words: Maximum number of space-separated source words.
        seed: Seed of the length limits; every iteration is the same.

    Returns:
        Dataset of `(source, target)` with known cardinality.
    """

    def rows() -> Iterator[tuple[bytes, bytes]]:
        generator = random.Random(seed)
        together: list[tuple[bytes, bytes]] = []
        words = limit = 0
        for pair in pairs.as_numpy_iterator():
            if any(is_blank(side.decode()) for side in pair):
                yield pair
                continue
            length = len(pair[0].split())
            if together and words + length > limit:
                yield _joined(together)
                together = []
            if not together:
                words, limit = 0, generator.randint(1, most_words)
            together.append(pair)
            words += length
        if together:
            yield _joined(together)

    return stream(rows, sum(1 for _ in rows()))


def _joined(pairs: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    sources, targets = zip(*pairs, strict=True)
    return b" ".join(sources), b" ".join(targets)


def decoded(pairs: tf.data.Dataset) -> list[list[str]]:
    """Reads all pairs as Python strings: source, target and, if present, alignment."""
    return [[text.decode("utf-8") for text in row] for row in pairs.as_numpy_iterator()]


def _only_once(
    iterator: Iterable[Any], encoded: Callable[[Iterable[Any]], Iterator[tuple[bytes, bytes]]]
) -> Callable[[], Iterator[tuple[bytes, bytes]]]:
    """Raises on a second iteration, which would silently see an exhausted iterator."""
    started = False

    def start() -> Iterator[tuple[bytes, bytes]]:
        nonlocal started
        if started:
            raise ValueError(
                "These pairs come from an iterator, which can be read only once. To iterate again, "
                "pass from_pairs a list or a function that returns a new iterator."
            )
        started = True
        return encoded(iterator)

    return start
