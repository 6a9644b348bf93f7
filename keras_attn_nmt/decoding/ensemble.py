"""Several models that decode together, with the steps of one.

    log p(y_i | y_<i, x) = mean_m log p_m(y_i | y_<i, x) - log Z_i

The probabilities are the geometric mean of those of the members, normalised to sum to 1 (the
logarithmic opinion pool of Heskes 1998): the softmax of the mean of the members' logits. Excluding
tokens, by a shortlist or a constraint, commutes with it, and an ensemble of equal models is that
model. The attention is the arithmetic mean.

References:
    [Heskes 1998](https://papers.nips.cc/paper/1413)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.recurrence.cells import State

# The encoded source of each member.
Memories = tuple[EncodedSource, ...]


def decoder_of(members: Sequence[IncrementalDecoder]) -> Decoder:
    """The only member, or the ensemble of several."""
    return members[0] if len(members) == 1 else EnsembleDecoder(members)


class EnsembleDecoder(Decoder):
    """Decodes with the mean of several models; see `Decoder`.

    A state has the tensors of all members, one after the other.

    Args:
        members: The models, with the same vocabularies and the same shortlist, if any.
    """

    def __init__(self, members: Sequence[IncrementalDecoder]):
        self.members = tuple(members)
        self.shortlist = self.members[0].shortlist

    @property
    def vocabulary_size(self) -> int:
        """See `Decoder`."""
        return self.members[0].vocabulary_size

    @property
    def embedding_size(self) -> int:
        """See `Decoder`."""
        return sum(each.embedding_size for each in self.members)

    @property
    def variables(self) -> list[Any]:
        """See `Decoder`."""
        return [variable for each in self.members for variable in each.variables]

    @property
    def has_attention(self) -> bool:
        """See `Decoder`."""
        return any(each.has_attention for each in self.members)

    def encode(self, source: Any) -> tuple[Memories, State]:
        """See `Decoder`."""
        memories, states = zip(*(each.encode(source) for each in self.members), strict=True)
        return memories, sum(states, ())

    def step(
        self, tokens: Any, state: State, memory: Memories, weights: Any = None
    ) -> tuple[Any, State, Any]:
        """See `Decoder`."""
        weights = [None] * len(self.members) if weights is None else weights
        logits, attention = [], []
        advanced: list[Any] = []
        for member, encoded, columns in zip(self.members, memory, weights, strict=True):
            own, state = state[: member.state_count], state[member.state_count :]
            found, after, attended = member.step(tokens, own, encoded, columns)
            logits.append(found)
            advanced.extend(after)
            attention.append(attended)
        return _mean(logits), tuple(advanced), self._mean_attention(attention)

    def output_weights(self, ids: Any) -> Any:
        """See `Decoder`."""
        return tuple(each.output_weights(ids) for each in self.members)

    def source_mask(self, memory: Memories) -> Any:
        """See `Decoder`."""
        return self.members[0].source_mask(memory[0])

    def with_mask(self, memory: Memories, mask: Any) -> Memories:
        """See `Decoder`."""
        pairs = zip(self.members, memory, strict=True)
        return tuple(each.with_mask(encoded, mask) for each, encoded in pairs)

    def embed(self, source: Any) -> Any:
        """See `Decoder`: the sentence vectors of all members, one after the other."""
        return ops.concatenate([each.embed(source) for each in self.members], axis=-1)

    def force(self, source: Any, target: Any) -> tuple[Any, Any]:
        """See `Decoder`."""
        logits, attention = zip(*(each.force(source, target) for each in self.members), strict=True)
        return _mean(logits), self._mean_attention(attention)

    def _mean_attention(self, attention: Sequence[Any]) -> Any:
        """The mean over the members that have attention."""
        members = zip(self.members, attention, strict=True)
        return _mean([each for member, each in members if member.has_attention] or attention)


def _mean(tensors: Sequence[Any]) -> Any:
    return sum(tensors[1:], tensors[0]) / len(tensors)
