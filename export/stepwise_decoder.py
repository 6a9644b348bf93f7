"""A decoder that multiplies contexts by the weights of the gates at every step."""

from __future__ import annotations

from typing import Any

from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.recurrence import loop
from keras_attn_nmt.recurrence.cells import State, cell_step
from keras_attn_nmt.recurrence.products import matmul_2d


class StepwiseDecoder(IncrementalDecoder):
    """Multiplies contexts by the weights of the gates at every step.

    A batch of single hypotheses has fewer contexts than annotations, and sums of annotations that
    were multiplied cost as much again. For a beam it is the other way round.
    """

    def by_step(self, rows: int | None) -> bool:
        """Whether contexts of a batch are multiplied at every step."""
        return self.decoder.attention is not None

    def encode(self, source: Any) -> tuple[EncodedSource, State]:
        """See `IncrementalDecoder.encode`."""
        memory, state = super().encode(source)
        if self.by_step(source.shape[0]):
            # The gates that `super` computed are pruned from the graph.
            memory = memory._replace(gates=memory.annotations)
        return memory, state

    def advance(self, gates: Any, state: State, memory: EncodedSource) -> tuple[State, Any, Any]:
        """See `IncrementalDecoder.advance`."""
        if not self.by_step(gates.shape[0]):
            return super().advance(gates, state, memory)
        weights = cells.recurrent_weights(self.decoder.cell)
        gates, query_shift = loop.split_gates(weights, gates)
        context, attention = self.attend(state[0], memory, query_shift)
        kernel = cells.input_kernel(self.decoder.cell)[self.decoder.embedding_units :]
        advanced, _ = cell_step(weights, gates + matmul_2d(context, kernel), state)
        return advanced, attention, context

    def attend(self, state: Any, memory: EncodedSource, query_shift: Any) -> tuple[Any, Any]:
        """Contexts, `(batch, hypotheses, annotation_units)`, and attention weights."""
        layer = self.decoder.attention
        assert layer is not None
        return layer(
            *(state, memory.annotations),
            mask=memory.mask,
            keys=memory.keys,
            query_shift=query_shift,
        )
