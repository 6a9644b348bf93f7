"""A trained model, seen as what a search needs."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt import cells
from keras_attn_nmt.decoder import Memory
from keras_attn_nmt.readout import TiedEmbedding
from keras_attn_nmt.rows import by_rows
from keras_attn_nmt.shortlist import Shortlist
from keras_attn_nmt.special_ids import PAD


class Stepper:
    """A model from `build_model`, seen as what a search needs: encode once, then step by step.

    Args:
        model: The model. Its layers are used as they are, nothing is copied.
        output_kernel: `kernel` of a `TiedEmbedding`, of a model that has one and will not change.
        shortlist: What a search may choose from; the whole vocabulary without one.
    """

    def __init__(
        self,
        model: keras.Model,
        output_kernel: Any = None,
        shortlist: Shortlist | None = None,
    ):
        self.model = model
        self.output_kernel = output_kernel
        self.shortlist = shortlist
        self.source_order = model.get_layer("source_order")
        self.source_embedding = model.get_layer("source_embedding")
        self.encoder = model.get_layer("encoder")
        self.target_embedding = model.get_layer("target_embedding")
        self.decoder = model.get_layer("decoder")
        self.readout = model.get_layer("readout")
        self.output = (
            None if isinstance(self.target_embedding, TiedEmbedding) else model.get_layer("output")
        )

    def encode(self, source: Any) -> tuple[Memory, cells.State]:
        """Reads sentences.

        Args:
            source: Ids, int32, `(batch, source_length)`.

        Returns:
            What the decoder remembers of them, and its first state, `(batch, 1, units)` tensors.
        """
        memory, sentence_vector = self._read(source)
        state = self.decoder.initial_state(sentence_vector)
        return memory, tuple(ops.expand_dims(each, 1) for each in state)

    def embed(self, source: Any) -> Any:
        """The sentence vector `[h_S-> ; h_1<-]`.

        Args:
            source: Ids, int32, `(batch, source_length)`.

        Returns:
            `(batch, annotation_units)`.
        """
        return self._read(source)[1]

    def _read(self, source: Any) -> tuple[Memory, Any]:
        read = self.source_order(source)
        annotations, sentence_vector = self.encoder(self.source_embedding(read), mask=read != PAD)
        memory = self.decoder.prepare(annotations, sentence_vector, source != PAD)
        return memory, sentence_vector

    def output_weights(self, ids: Any) -> tuple[Any, Any]:
        """Kernel and bias of the logits: of the given target pieces, once for all steps.

        Args:
            ids: Target pieces, int32, `(columns,)`.

        Returns:
            `(features, columns)` and `(columns,)`.
        """
        if self.output is None:
            kernel = ops.transpose(ops.take(self.target_embedding.embeddings, ids, axis=0))
            return kernel, ops.take(self.target_embedding.bias, ids)
        return ops.take(self.output.kernel, ids, axis=1), ops.take(self.output.bias, ids)

    def step(
        self, tokens: Any, state: cells.State, memory: Memory, weights: Any = None
    ) -> tuple[Any, cells.State, Any]:
        """One target position of every hypothesis.

        Args:
            tokens: Previous tokens, int32, `(batch, hypotheses)`.
            state: Tensors `(batch, hypotheses, units)`.
            memory: What `encode` gave.
            weights: What `output_weights` gave; logits are of the whole vocabulary without.

        Returns:
            `(logits, state, attention)`: float32 `(batch, hypotheses, vocabulary_size)` or
            `(batch, hypotheses, columns)`, the new state, and float32 `(batch, hypotheses,
            source_length)`.
        """
        embedded = self.target_embedding(tokens)
        gates = self.decoder.embed_gates(embedded)
        advanced, attention, _ = self.decoder.step(gates, state, memory)
        context = self.decoder.context(attention, memory)
        features = self.readout(embedded, advanced[0], state[0], context)
        if weights is not None:
            kernel, bias = weights
            logits = by_rows(lambda rows: ops.matmul(rows, kernel) + bias, features)
        elif self.output is None:
            logits = self.target_embedding(features, reverse=True, kernel=self.output_kernel)
        else:
            logits = self.output(features)
        return ops.cast(logits, "float32"), advanced, attention
