"""What a search needs of a model, or of several models that decode together."""

from __future__ import annotations

import abc
from typing import Any

from keras_attn_nmt.checks import check_attention
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.recurrence.cells import State


class Decoder(abc.ABC):
    """Encodes a source once, then decodes one target position per step.

    Attributes:
        shortlist: The vocabulary shortlist, or `None`.
    """

    shortlist: Shortlist | None

    @property
    @abc.abstractmethod
    def vocabulary_size(self) -> int:
        """Size of the target vocabulary."""

    @property
    @abc.abstractmethod
    def embedding_size(self) -> int:
        """Size of a sentence vector."""

    @property
    @abc.abstractmethod
    def variables(self) -> list[Any]:
        """The weights."""

    @property
    @abc.abstractmethod
    def has_attention(self) -> bool:
        """Whether the decoder has attention, i.e. not `attention="none"`."""

    def check_options(self, options: SearchOptions, copy: bool = False) -> None:
        """Raises `ValueError` for a coverage penalty or copies of a model without attention."""
        check_attention(self.has_attention, coverage_penalty=options.coverage_penalty, copy=copy)

    @abc.abstractmethod
    def encode(self, source: Any) -> tuple[Any, State]:
        """Encodes sentences.

        Args:
            source: Ids, int32, `(batch, source_length)`.

        Returns:
            What the steps read, tensors with the batch as first axis, and the initial state,
            `(batch, 1, units)` tensors.
        """

    @abc.abstractmethod
    def step(
        self, tokens: Any, state: State, memory: Any, weights: Any = None
    ) -> tuple[Any, State, Any]:
        """Decodes one target position of every hypothesis.

        Args:
            tokens: Previous tokens, int32, `(batch, hypotheses)`.
            state: Tensors `(batch, hypotheses, units)`.
            memory: From `encode`.
            weights: Output of `output_weights`, to restrict the logits to these pieces.

        Returns:
            `(logits, state, attention)`: float32 `(batch, hypotheses, vocabulary_size)` or
            `(batch, hypotheses, columns)`, the new state, and float32 `(batch, hypotheses,
            source_length)`.
        """

    @abc.abstractmethod
    def output_weights(self, ids: Any) -> Any:
        """Weights of the output layer for some target pieces, gathered once per batch.

        Args:
            ids: Target pieces, int32, `(columns,)`.
        """

    @abc.abstractmethod
    def source_mask(self, memory: Any) -> Any:
        """The source positions that are attended to, bool, `(batch, source_length)`."""

    @abc.abstractmethod
    def with_mask(self, memory: Any, mask: Any) -> Any:
        """What the steps read, with other source positions to attend to.

        Args:
            memory: From `encode`.
            mask: bool, `(batch, source_length)` or `(batch, hypotheses, source_length)`.
        """

    @abc.abstractmethod
    def embed(self, source: Any) -> Any:
        """Sentence vectors, `(batch, embedding_size)`, see `encode`."""

    @abc.abstractmethod
    def force(self, source: Any, target: Any) -> tuple[Any, Any]:
        """Decodes all positions at once, given the target (teacher forcing).

        Args:
            source: Ids, int32, `(batch, source_length)`.
            target: Ids, int32, `(batch, target_length)`, `BOS` first.

        Returns:
            Logits, `(batch, target_length, vocabulary_size)`, and attention, `(batch,
            target_length, source_length)`.
        """
