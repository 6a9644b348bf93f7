"""Corpus readers: line-aligned files, TSV, TFDS and Python iterables.

Each reader returns a `tf.data.Dataset` of `(source, target)`, two scalar `tf.string` tensors in
UTF-8. It streams in constant memory and preserves order and every line, including empty ones.
Files are validated completely before the function returns.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import logging
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_attn_nmt.text.alignment import check_links, parse_pharaoh
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training.rows import check_arguments, encoded_pairs
from keras_attn_nmt.training.streaming import stream
from keras_attn_nmt.training.textfiles import count_aligned_lines, iterate_lines

logger = logging.getLogger(__name__)


def read_lines(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    alignment_path: str | os.PathLike[str] | None = None,
) -> tf.data.Dataset:
    """Reads two line-aligned UTF-8 files, plain or gzip.

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
    paths = [source_path, target_path]
    count = count_aligned_lines(source_path, target_path)
    if alignment_path is not None:
        paths.append(alignment_path)
        count_aligned_lines(source_path, alignment_path, "align")
        for number, lines in enumerate(zip(*map(iterate_lines, paths), strict=True), 1):
            source, target, links = (line.decode("utf-8") for line in lines)
            where = f"{alignment_path}, line {number}"
            check_links(parse_pharaoh(links, where), source, target, where)
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
    path: str | os.PathLike[str], source_language: str, target_language: str
) -> tuple[int, int] | None:
    """Finds the columns of both languages in the header of a TSV file.

    Returns:
        0-based source and target column, or `None` if the first line does not contain both
        languages as cells (case-insensitive), i.e. is not a header.
    """
    first = next(iterate_lines(path), b"").decode("utf-8")
    cells = [cell.strip().lower() for cell in first.split("\t")]
    languages = source_language.lower(), target_language.lower()
    if not set(languages) <= set(cells):
        return None
    return cells.index(languages[0]), cells.index(languages[1])


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
    check_arguments(pairs, columns, missing)

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


def read_tfds(
    name: str,
    split: str,
    source_language: str,
    target_language: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    manual_dir: str | os.PathLike[str] | None = None,
    alignment: str | None = None,
) -> tf.data.Dataset:
    """Loads a translation data set from TensorFlow Datasets, preparing it on first use.

    Args:
        name: As in `tfds.load`: `"wmt14_translate/fr-en"`, `"multi30k/de-en"`,
            `"phrases/de-en.50000-1000-1000.seed0"`.
        split: As in `tfds.load`: `"train"`, `"validation[:10%]"`.
        source_language: Source language as named in the data set, such as `"de"`.
        target_language: Target language as named in the data set.
        data_dir: Directory of prepared data; defaults to that of TFDS.
        manual_dir: Directory of manually downloaded files, for data sets that require it.
        alignment: Optional name of the word alignment feature in the data set.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`, in
        the data set's order. The cardinality is known unless examples without one of the languages
        are dropped (logged).

    Raises:
        FileNotFoundError: `manual_dir` is missing.
        ValueError: unknown data set, config, split or language.
    """
    from keras_attn_nmt.training import datasets  # noqa: F401  registers them

    if manual_dir is not None and not Path(manual_dir).is_dir():
        raise FileNotFoundError(f"The folder {manual_dir} (manual_dir) does not exist.")
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"Unknown TFDS data set {name!r}.{_close_name(name)}") from None
    wanted = (source_language, target_language, *([] if alignment is None else [alignment]))
    read = _reads_texts(name, builder.info.features, wanted)
    _prepare(builder, manual_dir)
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Caching is up to the caller; TFDS would cache small data sets in memory.
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    return read(dataset)


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


def _prepare(builder: Any, manual_dir: str | os.PathLike[str] | None) -> None:
    if builder.data_path.exists():
        return
    logger.info("preparing %s in %s", builder.info.full_name, builder.data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else os.fspath(manual_dir), try_download_gcs=False
    )
    # TFDS prints to stdout, which is reserved for the results of commands.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            builder.download_and_prepare(download_config=config)
        except (ValueError, OSError):
            raise
        except Exception as error:  # TFDS and its downloader raise many types.
            raise OSError(
                f"Could not prepare {builder.info.full_name}: {type(error).__name__}: {error}"
            ) from error


def _close_name(name: str) -> str:
    known = tfds.list_builders(with_community_datasets=False)
    close = difflib.get_close_matches(name.split("/")[0], known)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _reads_texts(
    name: str, features: Mapping[str, Any], wanted: tuple[str, ...]
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Locates the text features of a TFDS data set, at the top level or one level below."""
    known: set[str] = set()
    for place, feature in [(None, features), *features.items()]:
        languages = _languages(feature, default=set(wanted))
        known |= languages
        if set(wanted) <= languages:
            several = isinstance(feature, tfds.features.TranslationVariableLanguages)
            read = _read_variable_languages if several else _read_fixed_languages
            return functools.partial(read, place=place, wanted=wanted)
    raise ValueError(
        f"{name} has no texts {' and '.join(map(repr, wanted))}. "
        f"It has: {', '.join(sorted(known)) or 'no texts'}."
    )


def _languages(feature: Any, default: set[str]) -> set[str]:
    if isinstance(feature, tfds.features.TranslationVariableLanguages):
        return set(feature.languages or default)
    if isinstance(feature, tfds.features.FeaturesDict):
        return {key for key, value in feature.items() if isinstance(value, tfds.features.Text)}
    return set()


def _read_fixed_languages(
    dataset: tf.data.Dataset, place: str | None, wanted: tuple[str, ...]
) -> tf.data.Dataset:
    def pick(example: Any) -> tuple[tf.Tensor, ...]:
        texts = example if place is None else example[place]
        return tuple(texts[name] for name in wanted)

    return dataset.map(pick)


def _read_variable_languages(
    dataset: tf.data.Dataset, place: str | None, wanted: tuple[str, ...]
) -> tf.data.Dataset:
    def pick(example: Any) -> tf.data.Dataset:
        texts = example if place is None else example[place]
        found = [texts["translation"][texts["language"] == name][:1] for name in wanted]
        all_of_them = tf.reduce_prod([tf.size(each) for each in found])
        return tf.data.Dataset.from_tensor_slices(tuple(each[:all_of_them] for each in found))

    logger.warning("dropping examples without a text in %s", " or ".join(wanted))
    return dataset.flat_map(pick)
