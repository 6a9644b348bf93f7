"""Corpora of any size, which are read in blocks and never held in memory.

Each epoch of `StreamedPairs` reads blocks in an order of its own, from anywhere in the corpus, so a
run resumes without reading what came before.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_attn_nmt.training.line_blocks import BLOCK_LINES, IndexedFile, index_lines
from keras_attn_nmt.training.tfds_corpora import as_dataset, open_builder

_logger = logging.getLogger(__name__)

# Sources and targets of consecutive pairs.
Texts = tuple[Sequence[bytes], Sequence[bytes]]
_Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Part(Protocol):
    """A part of a corpus, such as two line-aligned files.

    Attributes:
        name: Its name in messages.
        block_sizes: Number of pairs in each block, the smallest part that can be read without
            reading what comes before it.
    """

    name: str
    block_sizes: npt.NDArray[np.int64]

    def read(self, first: int, count: int) -> Iterator[Texts]:
        """Yields pairs `first` to `first + count - 1`, about a thousand at a time."""


class LargeCorpus:
    """A parallel corpus in blocks, from `open_line_files` or `open_tfds`.

    Args:
        parts: The parts of the corpus, one after the other.
        blocks: Rows `(part, first pair in the part, pairs)`, int64, shape `(blocks, 3)`; default:
            all blocks of all parts.

    Attributes:
        pairs: Number of pairs, empty and too long ones included.
    """

    def __init__(self, parts: Sequence[Part], blocks: npt.NDArray[np.int64] | None = None) -> None:
        self._parts = parts
        self._blocks = _blocks_of(parts) if blocks is None else blocks
        self._ends = np.cumsum(self._blocks[:, 2])
        self.pairs = int(self._ends[-1]) if len(self._ends) else 0

    def first(self, count: int) -> LargeCorpus:
        """The first `count` pairs as a corpus."""
        return self._between(0, count)

    def without_first(self, count: int) -> LargeCorpus:
        """All pairs but the first `count` as a corpus."""
        return self._between(count, self.pairs)

    def sample(self, count: int) -> LargeCorpus:
        """About `count` pairs, in blocks that are spread evenly over the corpus.

        Of large blocks, such as compressed files, only the beginning is taken.
        """
        if count >= self.pairs:
            return self
        places = -(-count // BLOCK_LINES)
        pairs = (np.arange(places) + 0.5) * self.pairs / places
        chosen, hits = np.unique(
            np.searchsorted(self._ends, pairs, side="right"), return_counts=True
        )
        blocks = self._blocks[chosen]
        blocks[:, 2] = np.minimum(blocks[:, 2], -(-hits * count // places))
        return LargeCorpus(self._parts, blocks)

    def stream(
        self, start: int = 0, count: int | None = None, seed: int | None = None
    ) -> Iterator[Texts]:
        """Yields the pairs of a corpus that repeats without end, from `start` on.

        Args:
            start: Number of the first pair; the corpus begins again at each multiple of `pairs`.
            count: Number of pairs; default: without end.
            seed: Seed of the order of the blocks, which differs in each repetition; default: the
                order of the corpus.
        """
        repetition, skip = divmod(start, self.pairs)
        while True:
            blocks = self._blocks
            if seed is not None:
                blocks = blocks[np.random.default_rng([seed, repetition]).permutation(len(blocks))]
            ends = np.cumsum(blocks[:, 2])
            begin = int(np.searchsorted(ends, skip, side="right"))
            skip -= int(ends[begin - 1]) if begin else 0
            for part, first, pairs in blocks[begin:].tolist():
                taken = pairs - skip if count is None else min(pairs - skip, count)
                yield from self._parts[part].read(first + skip, taken)
                skip = 0
                if count is not None:
                    count -= taken
                    if not count:
                        return
            repetition += 1

    def dataset(self) -> tf.data.Dataset:
        """Each pair once, in the order of the corpus: a dataset of `(source, target)`."""
        return texts_dataset(lambda: self.stream(count=self.pairs)).unbatch()

    def _between(self, start: int, end: int) -> LargeCorpus:
        """The pairs from `start` to `end - 1`."""
        begins = np.clip(self._ends - self._blocks[:, 2], start, end)
        ends = np.clip(self._ends, start, end)
        blocks = self._blocks.copy()
        blocks[:, 1] += begins - (self._ends - self._blocks[:, 2])
        blocks[:, 2] = ends - begins
        return LargeCorpus(self._parts, blocks[blocks[:, 2] > 0])


def texts_dataset(texts: Callable[..., Iterator[Texts]], *arguments: Any) -> tf.data.Dataset:
    """A dataset of `(sources, targets)`, tf.string of shape `(pairs,)`, from a generator."""
    side = tf.TensorSpec((None,), tf.string)
    return tf.data.Dataset.from_generator(
        functools.partial(_arrays, texts), output_signature=(side, side), args=arguments or None
    )


def _arrays(
    texts: Callable[..., Iterator[Texts]], *arguments: Any
) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    for sides in texts(*arguments):
        yield tuple(np.array(side, dtype=object) for side in sides)


def open_line_files(source_paths: _Paths, target_paths: _Paths) -> LargeCorpus:
    """Opens line-aligned UTF-8 files, in any number of parts, plain or gzip.

    Reads all files once, to validate them and to find the blocks. Plain files are read in blocks of
    1,024 lines. A gzip file can be read from the beginning only, so it is one block; its pairs are
    only shuffled in the buffer of `StreamedPairs`.

    Args:
        source_paths: One file or a list of files, source sentences, one per line.
        target_paths: The files with their translations, in the same order.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: The numbers of files, or of lines of two files, differ; a file is empty, damaged
            or not UTF-8.

    Example:
        corpus = open_line_files(["news.de", "web.de"], ["news.en", "web.en"])
    """
    sources, targets = _listed(source_paths), _listed(target_paths)
    if not sources or len(sources) != len(targets):
        raise ValueError(
            f"{len(sources)} source and {len(targets)} target files: expected as many of one "
            "language as of the other, at least one."
        )
    parts = []
    for source, target in zip(sources, targets, strict=True):
        parts.append(_LinePart(index_lines(source), index_lines(target)))
        read = sum(int(part.block_sizes.sum()) for part in parts)
        _logger.info("%s indexed, %s sentence pairs so far", parts[-1].name, f"{read:,}")
    return LargeCorpus(parts)


def open_tfds(
    name: str,
    split: str,
    source_language: str,
    target_language: str,
    data_dir: str | os.PathLike[str] | None = None,
) -> LargeCorpus:
    """Opens a translation data set of TensorFlow Datasets, preparing it on first use.

    A file of the data set is one block. TFDS shuffles most data sets when it prepares them.

    Args:
        name: See `read_tfds`.
        split: See `read_tfds`.
        source_language: See `read_tfds`.
        target_language: See `read_tfds`.
        data_dir: See `read_tfds`.

    Raises:
        ValueError: See `read_tfds`; or examples may lack one of the languages, so that the number
            of pairs is not known.

    Example:
        corpus = open_tfds("wmt14_translate/fr-en", "train", "en", "fr")
    """
    builder, read = open_builder(name, source_language, target_language, data_dir)
    if read(as_dataset(builder, split)).cardinality() < 0:
        raise ValueError(
            f"{name} has examples without {source_language!r} or {target_language!r}, so the "
            "number of its pairs is not known and it cannot be streamed: set data.sample=0, or "
            "write its pairs to line-aligned files."
        )
    return LargeCorpus([_TfdsPart(builder, split, read)])


class _TfdsPart:
    """A split of a TFDS data set, whose files are the blocks."""

    def __init__(
        self, builder: Any, split: str, read: Callable[[tf.data.Dataset], tf.data.Dataset]
    ) -> None:
        self.name = f"{builder.info.full_name}, {split}"
        self._builder = builder
        self._read = read
        files = builder.info.splits[split].file_instructions
        # Name and first example of the split that the part of a file belongs to.
        self._places = [_place(builder, file) for file in files]
        self.block_sizes = np.array([file.take for file in files], np.int64)
        self._firsts = np.cumsum(self.block_sizes) - self.block_sizes

    def read(self, first: int, count: int) -> Iterator[Texts]:
        while count > 0:
            block = int(np.searchsorted(self._firsts, first, side="right")) - 1
            skip = first - int(self._firsts[block])
            taken = min(count, int(self.block_sizes[block]) - skip)
            split, start = self._places[block]
            examples = tfds.core.ReadInstruction(
                split, start + skip, start + skip + taken, unit="abs"
            )
            texts = self._read(as_dataset(self._builder, examples)).batch(BLOCK_LINES)
            yield from texts.as_numpy_iterator()
            first += taken
            count -= taken


def _place(builder: Any, file: Any) -> tuple[str, int]:
    """The split of (a part of) a file of a TFDS data set, and the number of its first example."""
    for name, info in builder.info.splits.items():
        firsts = itertools.accumulate(info.shard_lengths, initial=0)
        for path, first in zip(info.filepaths, firsts, strict=False):
            if Path(path) == Path(file.filename):
                return name, first + file.skip
    raise ValueError(f"{builder.info.full_name} has no file {file.filename}")


class _LinePart:
    """Two line-aligned files."""

    def __init__(self, source: IndexedFile, target: IndexedFile) -> None:
        if source.lines != target.lines:
            raise ValueError(
                f"{source.path} has {source.lines:,} lines and {target.path} has "
                f"{target.lines:,}. Line n of one must be the translation of line n of the other."
            )
        self.name = f"{source.path} and {target.path.name}"
        self._sides = source, target
        self._seekable = source.seekable and target.seekable
        size = BLOCK_LINES if self._seekable else source.lines
        starts = np.arange(0, source.lines, size)
        self.block_sizes = np.minimum(source.lines - starts, size)

    def read(self, first: int, count: int) -> Iterator[Texts]:
        chunks: list[Iterator[Sequence[bytes]]] = [side.read(first, count) for side in self._sides]
        if not self._seekable:
            # Parts of a plain and a gzip file may have different sizes.
            chunks = [_rechunked(side) for side in chunks]
        yield from zip(*chunks, strict=True)


def _rechunked(chunks: Iterator[Sequence[bytes]]) -> Iterator[Sequence[bytes]]:
    lines = itertools.chain.from_iterable(chunks)
    while chunk := list(itertools.islice(lines, BLOCK_LINES)):
        yield chunk


def _blocks_of(parts: Sequence[Part]) -> npt.NDArray[np.int64]:
    blocks = []
    for number, part in enumerate(parts):
        sizes = np.asarray(part.block_sizes, np.int64)
        firsts = np.cumsum(sizes) - sizes
        blocks.append(np.stack([np.full_like(sizes, number), firsts, sizes], axis=1))
    return np.concatenate(blocks)


def _listed(paths: _Paths) -> list[Path]:
    if isinstance(paths, str | os.PathLike):
        return [Path(paths)]
    return [Path(path) for path in paths]
