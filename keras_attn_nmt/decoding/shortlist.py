"""Vocabulary shortlists: restrict the softmax to likely target pieces of the source.

    scored training text -> learn_shortlist -> Shortlist: candidates of every source piece
    source -> Shortlist.choose -> ActiveVocabulary: the softmax columns of a batch

The softmax over the full vocabulary dominates the cost of a search, mostly for irrelevant pieces
(Jean et al. 2015, section 3.2). The allowed pieces of a sentence depend only on its own source, so
results are independent of batch composition.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.reading import check_archive
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.text.special_ids import EOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.writing import atomic_write

# Columns are padded to a multiple of this, for top-k by groups.
GROUP = 16
# Lower attention weights are ignored; they would add neighbouring words.
LEAST_ATTENTION = 0.1
# Number of links buffered before they are aggregated.
MOST_WAITING = 5_000_000


class ActiveVocabulary(NamedTuple):
    """The softmax columns of a batch: the union of the allowed pieces of its sentences.

    Attributes:
        ids: Target id of each column, int32, `(columns,)`; the first four are the special ids, and
            the end is padded with `PAD`.
        allowed: Whether a sentence may use a column, bool, `(batch, columns)`.
    """

    ids: Any
    allowed: Any

    def mask(self, logits: Any) -> Any:
        """Masks logits, `(batch, hypotheses, columns)`, with `MASKED` where not allowed."""
        return ops.where(ops.expand_dims(self.allowed, 1), logits, MASKED)


class Shortlist(NamedTuple):
    """The most likely target pieces of each source piece.

    Attributes:
        candidates: Target ids of each source piece: the identical piece, then the most likely
            ones, padded with `PAD`, int32, `(source_vocabulary_size, 1 + candidates)`.
        common: Target ids that are always allowed, int32, `(common,)`.

    References:
        [Jean et al. 2015](https://arxiv.org/abs/1412.2007), section 3.2;
        [Junczys-Dowmunt et al. 2018](https://arxiv.org/abs/1804.00344) (Marian)
    """

    candidates: Any
    common: Any

    def choose(
        self, source: Any, vocabulary_size: int, beam_size: int, more: Any = None
    ) -> ActiveVocabulary:
        """Determines the active vocabulary of a batch.

        Args:
            source: Ids, int32, `(batch, source_length)`.
            vocabulary_size: Size of the target vocabulary.
            beam_size: Beam size, a lower bound on the number of column groups.
            more: Other target ids that a sentence may use, int32, `(batch, ids)`.

        Raises:
            ValueError: The Keras backend requires static shapes.
        """
        check_backend()
        batch = ops.shape(source)[0]
        own = ops.take(self.candidates, source, axis=0)
        own = ops.where(ops.expand_dims(source != PAD, 2), own, PAD)
        own = ops.reshape(own, (batch, -1))
        common = ops.broadcast_to(ops.expand_dims(self.common, 0), (batch, len(self.common)))
        special = ops.broadcast_to(ops.arange(UNK + 1, dtype="int32"), (batch, UNK + 1))
        ids = ops.concatenate([special, common, own, *([] if more is None else [more])], axis=1)
        row = ops.expand_dims(ops.arange(batch, dtype="int32"), 1) * vocabulary_size
        places = ops.reshape(row + ids, (-1, 1))
        flat = ops.zeros((batch * vocabulary_size,), "bool")
        flat = ops.scatter_update(flat, places, ops.ones_like(places[:, 0], "bool"))
        allowed = ops.reshape(flat, (batch, vocabulary_size))

        chosen = ops.cast(ops.nonzero(ops.any(allowed, axis=0))[0], "int32")
        count = ops.shape(chosen)[0]
        # Complete groups, and enough of them for top-k.
        groups = ops.maximum(-(-count // GROUP), beam_size + EOS)
        chosen = ops.concatenate([chosen, ops.full((groups * GROUP - count,), PAD, "int32")])
        mask = ops.arange(groups * GROUP, dtype="int32") < count
        return ActiveVocabulary(chosen, ops.logical_and(ops.take(allowed, chosen, axis=1), mask))

    def check(self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer) -> None:
        """Raises `ValueError` if the shortlist does not match the vocabularies."""
        sizes = source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size
        ids = np.concatenate([[PAD], *map(np.ravel, self)])
        if len(self.candidates) != sizes[0] or not 0 <= ids.min() <= ids.max() < sizes[1]:
            raise ValueError(
                f"A shortlist of {len(self.candidates)} source pieces with target ids from "
                f"{ids.min()} to {ids.max()} does not match vocabularies of {sizes[0]} and "
                f"{sizes[1]} pieces: learn it with this model."
            )

    def save(
        self,
        path: str | os.PathLike[str],
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
    ) -> None:
        """Writes an `.npz` file with the digests of its vocabularies, atomically."""
        digests = np.array([source_tokenizer.digest, target_tokenizer.digest])
        with atomic_write(path) as temporary:
            np.savez_compressed(temporary, **self._asdict(), vocabularies=digests)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
    ) -> Shortlist:
        """Loads a file written by `save`.

        Raises:
            ValueError: The file is missing, damaged or belongs to other vocabularies.
        """
        check_learned(path)
        try:
            check_archive(path, (f"{name}.npy" for name in (*cls._fields, "vocabularies")))
            with np.load(Path(path), allow_pickle=False) as file:
                found = cls(_array(file, "candidates", "i4", 2), _array(file, "common", "i4", 1))
                digests = _array(file, "vocabularies", "U64", 1).tolist()
        except Exception as error:  # NumPy, zipfile and zlib each raise their own.
            raise ValueError(
                f"{path} is damaged ({error}): learn it again with keras-attn-nmt shortlist MODEL."
            ) from error
        if digests != [source_tokenizer.digest, target_tokenizer.digest]:
            raise ValueError(
                f"{path} was learned for vocabularies other than those of this model: learn it "
                "again with keras-attn-nmt shortlist MODEL."
            )
        return found


def check_backend() -> None:
    """Raises `ValueError` for a backend that requires static shapes."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A shortlist requires Keras on TensorFlow, but the backend is "
            f"{keras.backend.backend()}: set KERAS_BACKEND=tensorflow, or translate without it."
        )


def _array(file: Any, name: str, kind: str, rank: int) -> np.ndarray:
    """An array of an `.npz` file, for which NumPy would allocate whatever its header says."""
    with file.zip.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, _, dtype = read[version](member)
        stored = file.zip.getinfo(member.name).file_size
    if dtype.str[1:] != kind or len(shape) != rank or math.prod(shape) * dtype.itemsize > stored:
        raise ValueError(f"{name} is an array of {dtype} and shape {shape}")
    return file[name]


def check_learned(path: str | os.PathLike[str]) -> None:
    """Raises `ValueError` if there is no shortlist at a path."""
    if not Path(path).is_file():
        raise ValueError(
            f"The shortlist {path} does not exist: learn one with keras-attn-nmt shortlist "
            "MODEL, or omit --shortlist (in Python, shortlist=True)."
        )


def learn_shortlist(
    scored: Iterable[Translation],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    *,
    candidates: int = 50,
    common: int = 100,
) -> Shortlist:
    """Learns a shortlist from the attention on the training data.

    Target pieces are candidates of the source pieces they attend to; those with the highest total
    weight are kept. A piece in both vocabularies, such as a name or a byte, is always a candidate
    of itself.

    Args:
        scored: Translations from `Translator.score`.
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language.
        candidates: Maximum number of candidates per source piece.
        common: Number of most frequent target pieces that are always allowed.

    Returns:
        The shortlist, with at most `1 + candidates` columns and `common` ids.

    Raises:
        ValueError: An option is out of range, or there is no attention.

    Example:
        translator = Translator.load("model")
        vocabularies = translator.source_tokenizer, translator.target_tokenizer
        shortlist = learn_shortlist(translator.score(texts, references), *vocabularies)
        Translator(translator.model, *vocabularies, shortlist)(["Ein Haus."], shortlist=True)
    """
    check_whole("candidates", candidates)
    check_whole("common", common)
    sizes = source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size
    source_ids, target_ids = (
        {piece: number for number, piece in enumerate(tokenizer.pieces(range(size)))}
        for tokenizer, size in zip((source_tokenizer, target_tokenizer), sizes, strict=True)
    )
    frequencies = np.zeros(sizes[1], "int64")
    links = [(np.zeros(0, "int64"), np.zeros(0))]
    waiting = 0
    for each in scored:
        sources = np.array([source_ids[piece] for piece in each.source_tokens], "int64")
        targets = np.array([target_ids[piece] for piece in each.target_tokens], "int64")
        np.add.at(frequencies, targets, 1)
        position, attended = np.nonzero(each.attention >= LEAST_ATTENTION)
        weights = each.attention[position, attended]
        links.append((sources[attended] * sizes[1] + targets[position], weights))
        waiting += len(weights)
        if waiting > MOST_WAITING:
            links, waiting = [_summed(links)], 0
    pairs, total = _summed(links)
    if not pairs.size:
        raise ValueError(
            "There is no attention to learn a shortlist from: the model has no attention, or the "
            "text is empty."
        )

    source, target = np.divmod(pairs, sizes[1])
    order = np.lexsort((-total, source))
    rank = np.arange(len(order)) - np.searchsorted(source[order], source[order])
    table = np.full((sizes[0], min(candidates, int(rank.max()) + 1)), PAD, "int32")
    kept = rank < candidates
    table[source[order][kept], rank[kept]] = target[order][kept]
    itself = np.array([target_ids.get(piece, PAD) for piece in source_ids], "int32")
    frequencies[: UNK + 1] = 0  # These are always allowed.
    most = np.argsort(-frequencies, kind="stable")[:common]
    return Shortlist(np.column_stack([itself, table]), most[frequencies[most] > 0].astype("int32"))


def _summed(links: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Aggregates links: distinct pairs and the sum of their weights, each `(distinct,)`."""
    pairs, place = np.unique(np.concatenate([each for each, _ in links]), return_inverse=True)
    weights = np.concatenate([each for _, each in links])
    return pairs, np.bincount(place, weights, minlength=len(pairs))
