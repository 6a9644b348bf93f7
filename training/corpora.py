"""Where sentence pairs come from: line-aligned files, TSV, TFDS and Python iterables.

Every source is a `tf.data.Dataset` of `(source, target)`, two scalar `tf.string` tensors in UTF-8.
It streams, so memory does not grow with the corpus, and keeps the order and every line, empty ones
included. Files are checked from end to end before the function returns.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import itertools
import logging
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_attn_nmt.text.alignment import check_links, parse_pharaoh
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training.textfiles import count_aligned_lines, iterate_lines

logger = logging.getLogger(__name__)

Pair = tuple[str, str] | tuple[bytes, bytes]

# From Python into tf.data, single lines cost 60 times as much as lines in chunks of this size.
_CHUNK = 1024


def read_lines(
    source_path: str | os.PathLike[str],
    target_path: str | os.PathLike[str],
    alignment_path: str | os.PathLike[str] | None = None,
) -> tf.data.Dataset:
    """Two line-aligned UTF-8 files, plain or gzip: line n of one translates line n of the other.

    Args:
        source_path: Sentences.
        target_path: Their translations.
        alignment_path: Links between their words in the Pharaoh format, if there are some.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`,
        with known cardinality.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the files have different numbers of lines (says both), or one is empty, damaged
            or not UTF-8 (says the line), or the alignment has something that is no link, or a link
            to a word that its pair does not have (says the line).
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
    return _stream(lambda: zip(*map(iterate_lines, paths), strict=True), count, len(paths))


def read_tsv(
    path: str | os.PathLike[str],
    source_column: int = 0,
    target_column: int = 1,
    *,
    header: bool = False,
) -> tf.data.Dataset:
    """A UTF-8 file of tab-separated columns, plain or gzip, without quoting.

    Args:
        path: The file.
        source_column: Column of the source text, counted from 0.
        target_column: Column of the target text, counted from 0.
        header: Whether the first line names the columns and is no pair.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`, with known cardinality.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: a row has too few columns, the file is not UTF-8 (both say the line), damaged or
            empty, or a column number is negative.
    """
    if source_column < 0 or target_column < 0:
        raise ValueError(
            f"Columns are counted from 0: source_column={source_column} and "
            f"target_column={target_column} must not be negative."
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
    return _stream(rows, count)


def header_columns(
    path: str | os.PathLike[str], source_language: str, target_language: str
) -> tuple[int, int] | None:
    """The columns, counted from 0, that the first line of a TSV file names by their languages.

    Returns:
        Source and target column, or `None` where the first line does not hold both languages as
        cells of their own (case is ignored): then it is a pair as all others.
    """
    first = next(iterate_lines(path), b"").decode("utf-8")
    cells = [cell.strip().lower() for cell in first.split("\t")]
    languages = source_language.lower(), target_language.lower()
    if not set(languages) <= set(cells):
        return None
    return cells.index(languages[0]), cells.index(languages[1])


def from_pairs(
    pairs: Iterable[Pair] | Callable[[], Iterable[Pair]], count: int | None = None
) -> tf.data.Dataset:
    """Pairs of Python strings.

    Args:
        pairs: A list or other collection of `(source, target)`; a function that returns a new
            iterator each time it is called, such as `lambda: book.pairs("train", 5_000_000)`; or
            an iterator, which can be read only once.
        count: How many pairs there are, where known; a collection with a length knows it itself.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`, with known cardinality where the
        count is known; an iterator that yields another number then raises an error.

    Raises:
        ValueError: the collection is empty or an element is not a pair of strings. Elements of
            functions and iterators are checked while they are read.
    """
    if callable(pairs):
        return _stream(lambda: _encoded(pairs()), count)
    if iter(pairs) is pairs:
        return _stream(_only_once(pairs), count)
    length = sum(1 for _ in _encoded(pairs))
    if length == 0:
        raise ValueError("There are no sentence pairs: the collection is empty.")
    if count not in (None, length):
        raise ValueError(f"count={count}, but the collection has {length} pairs.")
    return _stream(lambda: _encoded(pairs), length)


def concatenated(pairs: tf.data.Dataset, most_words: int, seed: int = 0) -> tf.data.Dataset:
    """Consecutive pairs put together, to train on or to test with long sentences.

    Each has a length drawn from 1 to `most_words`, and gets pairs as long as its source has not
    more words than that, one pair at least. Every pair occurs once; one with an empty side stays
    alone, to be left out later.

    Args:
        pairs: Dataset of `(source, target)`, tf.string of shape `()`.
        most_words: Most words of a source, that is what stands between spaces.
        seed: Seed of the lengths, the same at each iteration.

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

    return _stream(rows, sum(1 for _ in rows()))


def _joined(pairs: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    sources, targets = zip(*pairs, strict=True)
    return b" ".join(sources), b" ".join(targets)


def decoded(pairs: tf.data.Dataset) -> list[list[str]]:
    """The texts of each pair: source, target and, where there are some, links."""
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
    """A translation data set of TensorFlow Datasets, prepared on first use.

    Args:
        name: As in `tfds.load`: `"wmt14_translate/fr-en"`, `"multi30k/de-en"`,
            `"phrases/de-en.50000-1000-1000.seed0"`.
        split: As in `tfds.load`: `"train"`, `"validation[:10%]"`.
        source_language: The data set's own name of the source language, such as `"de"`.
        target_language: The data set's own name of the target language.
        data_dir: Where prepared data are kept; TFDS's own folder if not given.
        manual_dir: Folder of files that you downloaded yourself, for data sets that read one.
        alignment: The data set's name of a third text, links between words, if it is wanted too.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`, in
        the data set's order, with known cardinality, except where examples that lack one of the
        languages are left out (logged).

    Raises:
        FileNotFoundError: `manual_dir` is missing.
        ValueError: unknown data set, config or split, or the data set has no such language.
    """
    from keras_attn_nmt.training import datasets  # noqa: F401  registers them

    if manual_dir is not None and not Path(manual_dir).is_dir():
        raise FileNotFoundError(f"There is no folder {manual_dir} (manual_dir).")
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"TFDS has no data set {name!r}.{_close_name(name)}") from None
    wanted = (source_language, target_language, *([] if alignment is None else [alignment]))
    read = _reads_texts(name, builder.info.features, wanted)
    _prepare(builder, manual_dir)
    dataset = builder.as_dataset(
        split=split,
        shuffle_files=False,
        # TFDS would keep small data sets in memory; whoever trains decides what is cached.
        read_config=tfds.ReadConfig(try_autocache=False),
    )
    return read(dataset)


def _stream(
    rows: Callable[[], Iterator[tuple[bytes, ...]]], count: int | None, columns: int = 2
) -> tf.data.Dataset:
    def chunks() -> Iterator[tuple[np.ndarray, ...]]:
        iterator = rows()
        while chunk := list(itertools.islice(iterator, _CHUNK)):
            yield tuple(np.array(texts, dtype=object) for texts in zip(*chunk, strict=True))

    texts = tf.TensorSpec((None,), tf.string)
    dataset = tf.data.Dataset.from_generator(chunks, output_signature=(texts,) * columns).unbatch()
    if count is not None:
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(count))
    return dataset


def _encoded(pairs: Iterable[Pair]) -> Iterator[tuple[bytes, bytes]]:
    for index, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"Pair {index} is {pair!r}; (source, target) was expected.")
        try:
            encoded = _utf8(pair[0]), _utf8(pair[1])
        except (TypeError, UnicodeError) as error:
            raise ValueError(
                f"Pair {index} is {pair!r}; two texts were expected: {error}."
            ) from error
        yield encoded


def _utf8(text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        text.decode("utf-8")
        return text
    if not isinstance(text, str):
        raise TypeError(f"{type(text).__name__} is not text")
    return text.encode("utf-8")


def _only_once(iterator: Iterable[Pair]) -> Callable[[], Iterator[tuple[bytes, bytes]]]:
    """Guards against a second epoch that would find the iterator empty and pass for a short one."""
    started = False

    def start() -> Iterator[tuple[bytes, bytes]]:
        nonlocal started
        if started:
            raise ValueError(
                "These pairs came from an iterator, which can be read only once. To read them "
                "again, give from_pairs a list or a function that returns a new iterator."
            )
        started = True
        return _encoded(iterator)

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
    # TFDS prints to stdout, where a command's results belong.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            builder.download_and_prepare(download_config=config)
        except (ValueError, OSError):
            raise
        except Exception as error:  # TFDS and its downloader have many of their own.
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
    """Finds the texts in the examples of a TFDS data set, at the top or one level below."""
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

    logger.warning("examples that lack a text in %s are left out", " or ".join(wanted))
    return dataset.flat_map(pick)
