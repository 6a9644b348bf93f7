"""Lexical constraints of a search: phrases that a translation must contain, in `keras.ops`.

    Constraints (of the sentences) -> start -> advance, once per step and candidate -> Progress

Every phrase is matched by the Shift-And algorithm (Baeza-Yates & Gonnet 1992): one bit per prefix,
`True` where the last tokens of the hypothesis equal it. Unlike a pointer into one phrase at a time,
this follows all phrases at once, and a phrase that breaks unwinds to its longest prefix that still
matches, without tables.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_attn_nmt.text.special_ids import BOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.text.word_boundaries import (
    begins_unspaced,
    begins_with_mark,
    continues_word,
    ends_in_word,
    without_space,
)

# Longer than any phrase.
NEVER = 1 << 20
# In `PieceTables.inner`.
DROP = -1


class PieceTables(NamedTuple):
    """What the search must know about the target pieces, arrays `(vocabulary_size,)`.

    Attributes:
        ends: Whether the text after the piece may continue its word, bool.
        continues: Whether the piece continues a word before it, bool.
        marks: Whether it begins with a combining mark, bool.
        unspaced: Whether it begins with a character of a script without spaces, bool.
        inner: For such scripts, the id of the piece without the space before it; `PAD` where there
            is none, and `DROP` for a space alone, int32.
    """

    ends: np.ndarray
    continues: np.ndarray
    marks: np.ndarray
    unspaced: np.ndarray
    inner: np.ndarray

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> PieceTables:
        """The tables of a target vocabulary."""
        pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
        ids: dict[str | None, int] = {piece: number for number, piece in enumerate(pieces)}
        ids |= {"": DROP, None: PAD}
        special = np.arange(len(pieces)) <= UNK
        return cls(
            np.array([ends_in_word(piece) for piece in pieces]) & ~special,
            np.array([continues_word(piece) for piece in pieces]) & ~special,
            np.array([begins_with_mark(piece) for piece in pieces]) & ~special,
            np.array([begins_unspaced(piece) for piece in pieces]) & ~special,
            np.array([ids.get(without_space(piece), PAD) for piece in pieces], "int32"),
        )

    def joined(self, previous: Any, tokens: Any) -> Any:
        """Whether tokens belong to the word at the end of the tokens before them, bool."""
        word = ops.logical_and(ops.take(self.ends, previous), ops.take(self.continues, tokens))
        return ops.logical_or(word, ops.take(self.marks, tokens))


class Constraints(NamedTuple):
    """The constraints of a batch. A constraint is met by any one of its phrases.

    Attributes:
        phrases: Target ids, int32, `(batch, constraints, variants, length)`, padded with `PAD`. A
            phrase that begins with `BOS` stands at the beginning of the translation.
        terms: Source ids of the term that a constraint translates, int32, `(batch, constraints,
            term_length)`, padded with `PAD`; all padding if it is unknown.
    """

    phrases: Any
    terms: Any


class Progress(NamedTuple):
    """How far hypotheses have met their constraints.

    Attributes:
        matched: Whether the last tokens equal a prefix of the phrase: `[..., n]` is the prefix of
            n + 1 tokens, bool, `(batch, ..., constraints, variants, length)`.
        met: bool, `(batch, ..., constraints)`.
        age: Steps since the constraint was met, int32, `(batch, ..., constraints)`.
    """

    matched: Any
    met: Any
    age: Any


class Matcher:
    """Follows the constraints of a batch.

    Args:
        constraints: The constraints.
        tables: Of the target vocabulary.
        limits: Maximum target lengths without constraints, int32, `(batch, 1)`.
        max_length: Maximum target length. Constraints beyond it are dropped, the last ones first.

    Attributes:
        phrases: int32, `(batch, constraints, variants, length)`.
        dropped: bool, `(batch, constraints)`.
        total: Number of tokens needed for all constraints, int32, `(batch,)`.
        limits: Maximum target lengths, int32, `(batch, 1)`.
    """

    def __init__(self, constraints: Constraints, tables: PieceTables, limits: Any, max_length: int):
        self.tables = tables
        phrases = ops.convert_to_tensor(constraints.phrases)
        if tables.unspaced.any():
            phrases = ops.concatenate([phrases, _inside_text(phrases, tables)], axis=2)
        lengths = ops.sum(ops.cast(phrases != PAD, "int32"), axis=3)
        shortest = ops.min(ops.where(lengths > 0, lengths, NEVER), axis=2)
        shortest = ops.where(shortest == NEVER, 0, shortest)
        # One more for the end of the sentence.
        self.dropped = ops.logical_and(ops.cumsum(shortest, axis=1) + 1 > max_length, shortest > 0)
        self.phrases = ops.where(self.dropped[:, :, None, None], PAD, phrases)
        self._lengths = ops.where(self.dropped[:, :, None], 0, lengths)
        self._shortest = ops.where(self.dropped, 0, shortest)
        self._initial = ops.cast(ops.equal(self.phrases[..., 0], BOS), "int32")
        place = ops.arange(ops.shape(phrases)[3], dtype="int32") + 1
        self._place = place
        self._last = ops.equal(place, ops.expand_dims(self._lengths, 3))
        self.total = ops.sum(self._shortest, axis=1)
        self.limits = ops.minimum(limits + ops.expand_dims(self.total, 1), max_length)

    def start(self, beam: int) -> Progress:
        """The state of `beam` empty hypotheses per sentence."""
        batch, constraints = ops.shape(self.phrases)[:2]
        absent = ops.expand_dims(ops.equal(self._shortest, 0), 1)
        initial = ops.logical_and(ops.equal(self.phrases, BOS), ops.equal(self._place, 1))
        shape = ops.shape(self.phrases)
        return Progress(
            ops.broadcast_to(ops.expand_dims(initial, 1), (batch, beam, *shape[1:])),
            ops.broadcast_to(absent, (batch, beam, constraints)),
            ops.full((batch, beam, constraints), NEVER, "int32"),
        )

    def next_tokens(self, progress: Progress) -> Any:
        """The token that extends each phrase, or `PAD` if its constraint is met.

        Args:
            progress: Of the hypotheses, `(batch, beam, ...)`.

        Returns:
            int32, `(batch, beam, constraints, variants)`.
        """
        longest = self._matching(progress)
        here = ops.equal(self._place - 1, ops.expand_dims(longest, -1))
        tokens = ops.sum(ops.where(here, self.phrases[:, None], 0), axis=-1)
        useless = ops.logical_or(ops.expand_dims(progress.met, -1), ops.equal(tokens, BOS))
        return ops.where(useless, PAD, tokens)

    def advance(self, progress: Progress, previous: Any, tokens: Any) -> Progress:
        """The state after each candidate token.

        A phrase that is complete meets its constraint; of several, the longest. A token that
        continues the word at its end revokes that, as does a longer phrase around it.

        Args:
            progress: Of the hypotheses, `(batch, beam, ...)`.
            previous: Their last tokens, int32, `(batch, beam)`.
            tokens: Candidates, int32, `(batch, beam, candidates)`.

        Returns:
            `(batch, beam, candidates, ...)`.
        """
        phrases = self.phrases[:, None, None]
        before = ops.concatenate(
            [ops.ones_like(progress.matched[..., :1]), progress.matched[..., :-1]], axis=-1
        )
        matched = ops.logical_and(
            ops.expand_dims(before, 2), ops.equal(phrases, tokens[..., None, None, None])
        )
        matched = ops.logical_and(matched, phrases != PAD)
        age = ops.expand_dims(progress.age, 2) + 1
        joined = self.tables.joined(ops.expand_dims(previous, 2), tokens)
        revoked = ops.logical_and(ops.expand_dims(joined, 3), ops.equal(age, 1))
        met = ops.logical_and(ops.expand_dims(progress.met, 2), ops.logical_not(revoked))

        complete = ops.any(ops.logical_and(matched, self._last[:, None, None]), axis=-1)
        lengths = ops.max(ops.where(complete, self._lengths[:, None, None], 0), axis=-1)
        lengths = ops.where(met, 0, lengths)
        longest = ops.max(lengths, axis=-1, keepdims=True)
        # Of equally long ones, the first: each occurrence meets one constraint.
        first = ops.expand_dims(ops.argmax(lengths, axis=-1), -1)
        order = ops.arange(ops.shape(lengths)[-1], dtype="int32")
        now = ops.logical_and(ops.equal(order, ops.cast(first, "int32")), longest > 0)
        met = ops.logical_or(ops.logical_and(met, age >= longest), now)
        age = ops.where(now, 0, ops.minimum(age, NEVER))
        # Phrases that began inside of this one are over.
        matched = ops.logical_and(matched, self._place >= longest[..., None, None])
        return Progress(matched, met, age)

    def remaining(self, progress: Progress) -> Any:
        """The least number of tokens that meets the other constraints, int32, `(batch, ...)`."""
        lengths = self._of(self._lengths, progress)
        shortest = self._of(self._shortest, progress)
        left = ops.where(lengths > 0, lengths - self._matching(progress), NEVER)
        shortest = ops.where(progress.met, 0, shortest)
        # Phrases share no tokens: only one can be in progress.
        saved = ops.where(progress.met, 0, shortest - ops.min(left, axis=-1))
        return ops.sum(shortest, axis=-1) - ops.maximum(ops.max(saved, axis=-1), 0)

    def within(self, progress: Progress) -> Any:
        """Whether a phrase of an unmet constraint is in progress, bool, `(batch, beam)`."""
        begun = ops.any(self.longest(progress) > 0, axis=3)
        return ops.any(ops.logical_and(begun, ops.logical_not(progress.met)), axis=2)

    def longest(self, progress: Progress) -> Any:
        """Tokens of the longest matching prefix, int32, `(batch, ..., constraints, variants)`.

        0 if it is the whole phrase, which is over. `BOS` does not count.
        """
        return ops.maximum(self._matching(progress) - self._of(self._initial, progress), 0)

    def _matching(self, progress: Progress) -> Any:
        """As `longest`, with `BOS`."""
        longest = ops.max(ops.where(progress.matched, self._place, 0), axis=-1)
        return ops.where(longest < self._of(self._lengths, progress), longest, 0)

    def _of(self, tensor: Any, progress: Progress) -> Any:
        """Adds the axes of hypotheses to `(batch, constraints, ...)`, after the first."""
        shape = ops.shape(tensor)
        return ops.reshape(tensor, (shape[0], *(1,) * (len(progress.met.shape) - 2), *shape[1:]))


def _inside_text(phrases: Any, tables: PieceTables) -> Any:
    """Phrases of scripts without spaces as inside of a text; all `PAD` for other phrases."""
    first = ops.take(tables.inner, phrases[..., :1])
    replaced = ops.concatenate([first, phrases[..., 1:]], axis=-1)
    replaced = ops.where(first > PAD, replaced, PAD)
    dropped = ops.concatenate([phrases[..., 1:], ops.zeros_like(phrases[..., :1])], axis=-1)
    dropped = ops.where(ops.take(tables.unspaced, dropped[..., :1]), dropped, PAD)
    return ops.where(ops.equal(first, DROP), dropped, replaced)


def source_positions(source: Any, terms: Any) -> Any:
    """Where the source has a term: every occurrence of its ids.

    Args:
        source: Ids, int32, `(batch, source_length)`.
        terms: See `Constraints`.

    Returns:
        float32, `(batch, constraints, source_length)`, 1 at its tokens.
    """
    batch, constraints, width = ops.shape(terms)
    length = ops.shape(source)[1]
    place = ops.arange(length, dtype="int32")
    offset = ops.arange(width, dtype="int32")
    # `window[i, j]` is the position of the j-th token of a term that begins at i.
    window = ops.expand_dims(place, 1) + ops.expand_dims(offset, 0)
    tokens = ops.take(source, ops.minimum(window, length - 1), axis=1)
    tokens = ops.where(window < length, tokens, PAD)
    wanted = ops.expand_dims(terms, 2)
    equal = ops.logical_or(ops.equal(wanted, PAD), ops.equal(wanted, ops.expand_dims(tokens, 1)))
    begins = ops.logical_and(ops.all(equal, axis=3), ops.any(wanted != PAD, axis=3))
    lengths = ops.sum(ops.cast(terms != PAD, "int32"), axis=2)
    # Position s belongs to a term that begins at i if i <= s < i + its length.
    distance = ops.expand_dims(place, 0) - ops.expand_dims(place, 1)
    inside = ops.logical_and(distance >= 0, distance < lengths[:, :, None, None])
    found = ops.any(ops.logical_and(ops.expand_dims(begins, 3), inside), axis=2)
    return ops.cast(ops.reshape(found, (batch, constraints, length)), "float32")
