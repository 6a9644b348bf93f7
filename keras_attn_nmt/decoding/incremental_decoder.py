"""Encode once, then decode step by step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.recurrence.cells import State
from keras_attn_nmt.recurrence.products import apply_2d
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD


class IncrementalDecoder:
    """A model as a search needs it: encode a source once, then take one target position at a time.

    Args:
        model: A translation model, from `build_model` or put together by hand, or its parts.
        output_kernel: `kernel` of a `TiedEmbedding`, of a model that has one and will not change.
        shortlist: What a search may choose from; the whole vocabulary without one.

    Raises:
        ValueError: The model is not one that can be cut into parts, or it has a shortlist and no
            output layer of which columns can be chosen.
    """

    def __init__(
        self,
        model: keras.Model | ModelParts,
        output_kernel: Any = None,
        shortlist: Shortlist | None = None,
    ):
        self.parts = model if isinstance(model, ModelParts) else ModelParts.of(model)
        self.decoder = self.parts.decoder
        self.output_kernel = output_kernel
        self.shortlist = shortlist
        if shortlist is not None and self.parts.output is None:
            raise ValueError(
                "A shortlist needs logits that are made by a Dense layer without activation, or by "
                "a TiedEmbedding, as the last layer of the model. Translate without a shortlist."
            )

    def check_steps(self, source_size: int) -> None:
        """Compares single steps with the whole model, on two sentences of which one is padded.

        Args:
            source_size: Size of the source vocabulary.

        Raises:
            ValueError: They differ: a layer on the target's side reads more than its own position.
        """
        first, last = EOS + 1, min(source_size, self.parts.vocabulary_size) - 1
        source = np.array([[first, last, first, EOS], [last, EOS, PAD, PAD]], "int32")
        target = np.array([[BOS, first, last], [BOS, last, first]], "int32")
        whole = self.parts.model({"source": source, "target": target}, training=False)["logits"]
        tolerance = 1e-3 if self.decoder.compute_dtype == "float32" else 0.05
        memory, state = self.encode(source)
        for position in range(target.shape[1]):
            logits, state, _ = self.step(target[:, position : position + 1], state, memory)
            step, expected = (
                ops.convert_to_numpy(ops.cast(each, "float32"))
                for each in (logits[:, 0], whole[:, position])
            )
            difference = np.abs(step - expected).max()
            if not difference <= tolerance * np.abs(expected).max():
                raise ValueError(
                    f"The model cannot be searched step by step: at target position {position} its "
                    f"logits differ by {difference:.3g} from those of single steps. Layers between "
                    "the target's ids and the decoder, and from the decoder to the logits, must "
                    "read their own position alone."
                )

    def encode(self, source: Any) -> tuple[EncodedSource, State]:
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

    def _read(self, source: Any) -> tuple[EncodedSource, Any]:
        annotations, sentence_vector, mask = self.parts.encode(source, training=False)
        return self.decoder.prepare(annotations, sentence_vector, mask), sentence_vector

    def output_weights(self, ids: Any) -> tuple[Any, Any]:
        """Kernel and bias of the logits: of the given target pieces, once for all steps.

        Args:
            ids: Target pieces, int32, `(columns,)`.

        Returns:
            `(features, columns)` and `(columns,)`.
        """
        output = self.parts.output
        if (tied := self.parts.tied_embedding) is not None:
            kernel = ops.transpose(ops.take(tied.embeddings, ids, axis=0))
            return kernel, ops.take(tied.bias, ids)
        kernel = ops.take(output.kernel, ids, axis=1)
        return kernel, 0.0 if output.bias is None else ops.take(output.bias, ids)

    def step(
        self, tokens: Any, state: State, memory: EncodedSource, weights: Any = None
    ) -> tuple[Any, State, Any]:
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
        embedded = self.parts.embed(tokens, training=False)
        gates = self.decoder.embed_gates(embedded)
        advanced, attention = self.decoder.step(gates, state, memory)
        context = self.decoder.context(attention, memory)
        features = self.parts.features([embedded, advanced[0], state[0], context], training=False)
        if weights is not None:
            kernel, bias = weights
            # By rows, TensorFlow also adds the bias inside of the product.
            logits = apply_2d(lambda rows: ops.matmul(rows, kernel) + bias, features)
        elif (tied := self.parts.tied_embedding) is not None:
            logits = tied(features, reverse=True, kernel=self.output_kernel)
        else:
            logits = features if self.parts.output is None else self.parts.output(features)
        return ops.cast(logits, "float32"), advanced, attention
