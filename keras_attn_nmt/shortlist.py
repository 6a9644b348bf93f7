"""A vocabulary shortlist: the few target pieces that a sentence can be translated with.

    scored training text -> learn_shortlist -> Shortlist: candidates of every source piece
    source -> Shortlist.choose -> Choice: the columns of the softmax that a batch needs

The softmax over the whole vocabulary is most of the work of a search, and nearly all of it is spent
on pieces that have nothing to do with the sentence (Jean et al. 2015, section 3.2). What a sentence
may choose from depends on its own source alone, never on what shares a batch with it.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attn_nmt.attention import MASKED
from keras_attn_nmt.special_ids import PAD, UNK
from keras_attn_nmt.translation import Translation, check_positive
from keras_attn_nmt.writing import replacing

# Columns come in groups of so many, for the search for the largest.
GROUP = 16
# Attention below it is no link: it would fill the candidates with what stands near.
LEAST_WEIGHT = 0.1


class Choice(NamedTuple):
    """The columns of the softmax for a batch: what any of its sentences may choose.

    Attributes:
        ids: The target piece of each column, int32, `(columns,)`; the first four are the special
            ids, and `PAD` fills up the last ones.
        allowed: Which of them each sentence may choose, bool, `(batch, columns)`.
    """

    ids: Any
    allowed: Any

    def mask(self, logits: Any) -> Any:
        """Logits `(batch, hypotheses, columns)` where they may be chosen, elsewhere `MASKED`."""
        return ops.where(ops.expand_dims(self.allowed, 1), logits, MASKED)


class Shortlist(NamedTuple):
    """Target pieces that each source piece may be translated with.

    Attributes:
        candidates: Target ids of each source piece, the likeliest first, then `PAD`, int32,
            `(source_vocabulary_size, candidates)`.
        common: Target ids that every sentence may choose, int32, `(common,)`.

    References:
        [Jean et al. 2015](https://arxiv.org/abs/1412.2007), section 3.2;
        [Junczys-Dowmunt et al. 2018](https://arxiv.org/abs/1804.00344) (Marian)
    """

    candidates: Any
    common: Any

    def choose(self, source: Any, vocabulary_size: int, hypotheses: int) -> Choice:
        """What a batch may choose from.

        Args:
            source: Ids, int32, `(batch, source_length)`.
            vocabulary_size: Of the target.
            hypotheses: For how many there have to be columns.
        """
        batch = ops.shape(source)[0]
        own = ops.take(self.candidates, source, axis=0)
        own = ops.where(ops.expand_dims(source != PAD, 2), own, PAD)
        own = ops.reshape(own, (batch, -1))
        common = ops.broadcast_to(ops.expand_dims(self.common, 0), (batch, len(self.common)))
        special = ops.broadcast_to(ops.arange(UNK + 1, dtype="int32"), (batch, UNK + 1))
        ids = ops.concatenate([special, common, own], axis=1)
        row = ops.expand_dims(ops.arange(batch, dtype="int32"), 1) * vocabulary_size
        places = ops.reshape(row + ids, (-1, 1))
        flat = ops.zeros((batch * vocabulary_size,), "bool")
        flat = ops.scatter_update(flat, places, ops.ones_like(places[:, 0], "bool"))
        allowed = ops.reshape(flat, (batch, vocabulary_size))

        chosen = ops.cast(ops.nonzero(ops.any(allowed, axis=0))[0], "int32")
        count = ops.shape(chosen)[0]
        # Whole groups, and enough of them for the largest columns to be in different ones.
        groups = ops.maximum(-(-count // GROUP), hypotheses + UNK)
        chosen = ops.concatenate([chosen, ops.full((groups * GROUP - count,), PAD, "int32")])
        real = ops.arange(groups * GROUP, dtype="int32") < count
        return Choice(chosen, ops.logical_and(ops.take(allowed, chosen, axis=1), real))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an `.npz` file, whole or not at all."""
        with replacing(path) as temporary:
            np.savez_compressed(temporary, **self._asdict())

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], source_vocabulary_size: int, target_vocabulary_size: int
    ) -> Shortlist:
        """Reads what `save` wrote.

        Raises:
            ValueError: It is damaged, or belongs to other vocabularies.
        """
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                found = cls(file["candidates"], file["common"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path} is damaged ({error}): learn it again with keras-attn-nmt shortlist."
            ) from error
        fits = (
            found.candidates.ndim == 2
            and found.common.ndim == 1
            and all(np.issubdtype(each.dtype, np.integer) for each in found)
            and len(found.candidates) == source_vocabulary_size
            and all(each.min(initial=0) >= 0 for each in found)
            and all(each.max(initial=0) < target_vocabulary_size for each in found)
        )
        if not fits:
            raise ValueError(
                f"{path} does not belong to this model of {source_vocabulary_size} source and "
                f"{target_vocabulary_size} target pieces: learn it with keras-attn-nmt shortlist."
            )
        return cls(*(each.astype("int32") for each in found))


def learn_shortlist(
    scored: Iterable[Translation],
    source_pieces: Sequence[str],
    target_pieces: Sequence[str],
    *,
    candidates: int = 50,
    common: int = 100,
) -> Shortlist:
    """Learns from the attention of given translations, those of the training text.

    A target piece is a candidate of the source pieces that its attention was on; those with the
    most weight over the whole text are kept. A piece that both languages have, such as a name or a
    byte, is always a candidate of itself.

    Args:
        scored: What `Translator.score` gave.
        source_pieces: The source vocabulary, in order of the ids.
        target_pieces: The target vocabulary, likewise.
        candidates: How many are kept for each source piece.
        common: How many of the most frequent target pieces every sentence may choose.

    Raises:
        ValueError: An option is out of its range, or the model has no attention.
    """
    check_positive("candidates", candidates)
    check_positive("common", common)
    source_ids = {piece: number for number, piece in enumerate(source_pieces)}
    target_ids = {piece: number for number, piece in enumerate(target_pieces)}
    frequencies = np.zeros(len(target_pieces), "int64")
    links, weights = [np.zeros(0, "int64")], [np.zeros(0, "float32")]
    for each in scored:
        sources = np.array([source_ids[piece] for piece in each.source_tokens], "int64")
        targets = np.array([target_ids[piece] for piece in each.target_tokens], "int64")
        np.add.at(frequencies, targets, 1)
        position, looked_at = np.nonzero(each.attention >= LEAST_WEIGHT)
        links.append(sources[looked_at] * len(target_pieces) + targets[position])
        weights.append(each.attention[position, looked_at])
    pairs, place = np.unique(np.concatenate(links), return_inverse=True)
    if not pairs.size:
        raise ValueError("There is no attention to learn a shortlist from.")
    total = np.bincount(place, np.concatenate(weights))

    table = np.full((len(source_pieces), candidates), PAD, "int32")
    source, target = np.divmod(pairs, len(target_pieces))
    order = np.lexsort((-total, source))
    begins = np.searchsorted(source[order], np.arange(len(source_pieces)))
    rank = np.arange(len(order)) - begins[source[order]]
    kept = order[rank < candidates]
    table[source[kept], rank[rank < candidates]] = target[kept]
    for piece in source_ids.keys() & target_ids.keys():
        row = table[source_ids[piece]]
        if target_ids[piece] not in row:
            row[1:] = row[:-1].copy()
            row[0] = target_ids[piece]
    return Shortlist(table, np.argsort(-frequencies, kind="stable")[:common].astype("int32"))


def check_shortlist(shortlist: Shortlist | None) -> Shortlist:
    """Returns the shortlist, or raises `ValueError` where there is none or it cannot be used."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"A shortlist needs Keras on TensorFlow, and it runs on {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow, or translate without it."
        )
    if shortlist is None:
        raise ValueError(
            "The model has no shortlist: let it learn one with keras-attn-nmt shortlist MODEL, or "
            "translate without it."
        )
    return shortlist
