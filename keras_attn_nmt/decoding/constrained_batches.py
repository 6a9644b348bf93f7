"""Constraints of texts as the ids of a batch, and the search with them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_attn_nmt.decoding.batches import IDS, compiled, to_numpy
from keras_attn_nmt.decoding.constrained_search import constrained_search
from keras_attn_nmt.decoding.constraints import Constraints, PieceTables
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.glossary import Constraint, capitalized
from keras_attn_nmt.text.special_ids import BOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer

# A constraint as ids: its phrases, and the term of the source.
ConstraintIds = tuple[list[list[int]], list[int]]

logger = logging.getLogger(__name__)


class ConstrainedSearch:
    """The compiled `constrained_search` of a model.

    Args:
        decoder: The model.
        target_tokenizer: Tokenizer of the target language.
        options: The search options.
    """

    def __init__(
        self,
        decoder: Decoder,
        target_tokenizer: Tokenizer,
        options: SearchOptions,
    ):
        tables = PieceTables.of(target_tokenizer)

        def search(source: Any, phrases: Any, terms: Any) -> Any:
            return constrained_search(decoder, source, Constraints(phrases, terms), tables, options)

        shapes = (("int32", (None,) * 4), ("int32", (None,) * 3))
        self._search = compiled(search, decoder.variables, IDS, *shapes)

    def __call__(self, source: np.ndarray, rows: Sequence[Sequence[ConstraintIds]]) -> Hypotheses:
        """The hypotheses of a batch; warns of phrases that are missing in the best ones.

        Args:
            source: Padded ids, int32, `(batch, source_length)`.
            rows: Constraints of each text; there may be fewer texts than rows of ids.
        """
        fixed = keras.backend.backend() != "tensorflow"
        found, met = self._search(source, *padded_constraints(rows, len(source), fixed))
        missing = int((~keras.ops.convert_to_numpy(met)[: len(rows), 0]).sum())
        if missing:
            logger.warning("%d phrases are missing in the translations", missing)
        return to_numpy(found)


def constraint_ids(
    rows: Sequence[Sequence[Constraint]],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    max_length: int,
) -> list[list[ConstraintIds]]:
    """Encodes the constraints of texts.

    Args:
        rows: Constraints of each text.
        source_tokenizer: Of the terms.
        target_tokenizer: Of the phrases.
        max_length: Maximum target length.

    Raises:
        ValueError: The target vocabulary has no pieces for a phrase, or the phrases of a text
            exceed the maximum length.
    """
    every = (each for row in rows for each in row)
    known = encode_constraints(every, source_tokenizer, target_tokenizer)
    for index, row in enumerate(rows):
        needed = tokens_needed(row, known)
        if needed > max_length:
            raise ValueError(
                f"The constraints of text {index + 1} need {needed} target tokens, but the maximum "
                f"length is {max_length}: raise max_length, or split the text."
            )
    return [[known[each] for each in row] for row in rows]


def encode_constraints(
    constraints: Iterable[Constraint], source_tokenizer: Tokenizer, target_tokenizer: Tokenizer
) -> dict[Constraint, ConstraintIds]:
    """Encodes each different constraint.

    Raises:
        ValueError: The target vocabulary has no pieces for a phrase.
    """
    known: dict[Constraint, ConstraintIds] = {}
    for each in dict.fromkeys(constraints):
        phrases = target_tokenizer.encode(each.targets)
        for phrase, ids in zip(each.targets, phrases, strict=True):
            if not ids or UNK in ids:
                raise ValueError(
                    f"The target vocabulary has no pieces for {phrase!r}: change this term of the "
                    "glossary, or train a vocabulary that has its characters."
                )
        # `BOS` is before the first token of a translation only.
        capitals = [capitalized(phrase) for phrase in each.targets]
        capitals = [new for new, old in zip(capitals, each.targets, strict=True) if new != old]
        phrases += [[BOS, *ids] for ids in target_tokenizer.encode(capitals) if UNK not in ids]
        known[each] = phrases, source_tokenizer.encode([each.source])[0] if each.source else []
    return known


def tokens_needed(row: Sequence[Constraint], known: Mapping[Constraint, ConstraintIds]) -> int:
    """Number of target tokens that the constraints of a text need, `</s>` included."""
    return 1 + sum(min(map(len, known[each][0])) for each in row)


def padded_constraints(
    rows: Sequence[Sequence[ConstraintIds]], height: int, fixed_shapes: bool
) -> Constraints:
    """The constraints of a batch, padded.

    Args:
        rows: Constraints of each text.
        height: Number of rows, at least one for each text.
        fixed_shapes: Round all other sizes up to powers of two, for few distinct shapes.
    """

    def size(numbers: list[int]) -> int:
        most = max(1, *numbers)
        return 1 << (most - 1).bit_length() if fixed_shapes else most

    every = [each for row in rows for each in row]
    count = size([0, *map(len, rows)])
    variants = size([0, *(len(phrases) for phrases, _ in every)])
    length = size([0, *(len(ids) for phrases, _ in every for ids in phrases)])
    width = size([0, *(len(term) for _, term in every)])
    phrases = np.full((height, count, variants, length), PAD, "int32")
    terms = np.full((height, count, width), PAD, "int32")
    for row, constraints in enumerate(rows):
        for place, (of_constraint, term) in enumerate(constraints):
            terms[row, place, : len(term)] = term
            for variant, ids in enumerate(of_constraint):
                phrases[row, place, variant, : len(ids)] = ids
    return Constraints(phrases, terms)
