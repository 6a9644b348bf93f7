"""A vocabulary shortlist: the few target pieces that a sentence can be translated with.

    scored training text -> learn_shortlist -> Shortlist: candidates of every source piece
    source -> Shortlist.choose -> Choice: the columns of the softmax that a batch needs

The softmax over the whole vocabulary is most of the work of a search, and nearly all of it is spent
on pieces that have nothing to do with the sentence (Jean et al. 2015, section 3.2). What a sentence
may choose from depends on its own source alone, never on what shares a batch with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.text.special_ids import EOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.writing import atomic_write

# Columns come in groups of so many, for the search for the largest.
GROUP = 16
# Attention below it is no link: it would fill the candidates with what stands near.
LEAST_ATTENTION = 0.1
# Links that are kept one by one until they are summed.
MOST_WAITING = 5_000_000


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
        candidates: Target ids of each source piece: the same piece, then the likeliest ones; `PAD`
            where there is none. int32, `(source_vocabulary_size, 1 + candidates)`.
        common: Target ids that every sentence may choose, int32, `(common,)`.

    References:
        [Jean et al. 2015](https://arxiv.org/abs/1412.2007), section 3.2;
        [Junczys-Dowmunt et al. 2018](https://arxiv.org/abs/1804.00344) (Marian)
    """

    candidates: Any
    common: Any

    def choose(self, source: Any, vocabulary_size: int, beam_size: int) -> Choice:
        """What a batch may choose from.

        Args:
            source: Ids, int32, `(batch, source_length)`.
            vocabulary_size: Of the target.
            beam_size: Of the search, which looks for as many in different groups of columns.

        Raises:
            ValueError: Keras runs on a backend that has to know the number of columns beforehand.
        """
        if keras.backend.backend() != "tensorflow":
            raise ValueError(
                f"A shortlist needs Keras on TensorFlow, and it runs on {keras.backend.backend()}: "
                "set KERAS_BACKEND=tensorflow, or translate without it."
            )
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
        # Whole groups, and as many as a search for the largest columns wants.
        groups = ops.maximum(-(-count // GROUP), beam_size + EOS)
        chosen = ops.concatenate([chosen, ops.full((groups * GROUP - count,), PAD, "int32")])
        real = ops.arange(groups * GROUP, dtype="int32") < count
        return Choice(chosen, ops.logical_and(ops.take(allowed, chosen, axis=1), real))

    def check(self, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer) -> None:
        """Raises `ValueError` where it cannot be of these vocabularies."""
        sizes = source_tokenizer.vocabulary_size, target_tokenizer.vocabulary_size
        ids = np.concatenate([np.ravel(each) for each in self])
        if len(self.candidates) != sizes[0] or not 0 <= ids.min() <= ids.max() < sizes[1]:
            raise ValueError(
                f"A shortlist of {len(self.candidates)} source pieces with target ids from "
                f"{ids.min()} to {ids.max()} does not fit vocabularies of {sizes[0]} and {sizes[1]}"
                " pieces: learn it with this model."
            )

    def save(
        self,
        path: str | os.PathLike[str],
        source_tokenizer: Tokenizer,
        target_tokenizer: Tokenizer,
    ) -> None:
        """Writes an `.npz` file, whole or not at all; it knows its vocabularies."""
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
        """Reads what `save` wrote.

        Raises:
            ValueError: There is none, it is damaged, or it belongs to other vocabularies.
        """
        if not Path(path).is_file():
            raise ValueError(
                f"There is no shortlist at {path}: let the model learn one with keras-attn-nmt "
                "shortlist MODEL, or translate without it."
            )
        try:
            with np.load(Path(path), allow_pickle=False) as file:
                found = cls(file["candidates"].astype("int32"), file["common"].astype("int32"))
                digests = file["vocabularies"].tolist()
        except Exception as error:  # NumPy, zipfile and zlib each raise their own.
            raise ValueError(
                f"{path} is damaged ({error}): learn it again with keras-attn-nmt shortlist MODEL."
            ) from error
        if digests != [source_tokenizer.digest, target_tokenizer.digest]:
            raise ValueError(
                f"{path} was learned for other vocabularies than this model has: learn it again "
                "with keras-attn-nmt shortlist MODEL."
            )
        return found


def learn_shortlist(
    scored: Iterable[Translation],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
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
        source_tokenizer: Tokenizer of the source language.
        target_tokenizer: Tokenizer of the target language.
        candidates: How many are learned for each source piece, at most.
        common: How many of the most frequent target pieces every sentence may choose.

    Returns:
        The shortlist, with at most `1 + candidates` columns and `common` ids.

    Raises:
        ValueError: An option is out of its range, or there is no attention.

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
        position, looked_at = np.nonzero(each.attention >= LEAST_ATTENTION)
        weights = each.attention[position, looked_at]
        links.append((sources[looked_at] * sizes[1] + targets[position], weights))
        waiting += len(weights)
        if waiting > MOST_WAITING:
            links, waiting = [_summed(links)], 0
    pairs, total = _summed(links)
    if not pairs.size:
        raise ValueError(
            "There is no attention to learn a shortlist from: the model has none, or there is no "
            "text."
        )

    source, target = np.divmod(pairs, sizes[1])
    order = np.lexsort((-total, source))
    rank = np.arange(len(order)) - np.searchsorted(source[order], source[order])
    table = np.full((sizes[0], min(candidates, rank.max() + 1)), PAD, "int32")
    kept = rank < candidates
    table[source[order][kept], rank[kept]] = target[order][kept]
    itself = np.array([target_ids.get(piece, PAD) for piece in source_ids], "int32")
    frequencies[: UNK + 1] = 0  # These are always allowed.
    most = np.argsort(-frequencies, kind="stable")[:common]
    return Shortlist(np.column_stack([itself, table]), most[frequencies[most] > 0].astype("int32"))


def _summed(links: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The distinct pairs, `(distinct,)`, and the sum of the weights of each, `(distinct,)`."""
    pairs, place = np.unique(np.concatenate([each for each, _ in links]), return_inverse=True)
    weights = np.concatenate([each for _, each in links])
    return pairs, np.bincount(place, weights, minlength=len(pairs))
