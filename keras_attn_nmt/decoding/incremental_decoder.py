"""Incremental decoding: encode once, then one target position per step."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.layers.dense import kernel_of
from keras_attn_nmt.recurrence import loop, scores
from keras_attn_nmt.recurrence.cells import State
from keras_attn_nmt.recurrence.products import apply_2d
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD


class IncrementalDecoder(Decoder):
    """Runs a model incrementally: encodes a source once, then decodes one position per step.

    Args:
        model: A translation model, from `build_model` or hand-built, or its `ModelParts`.
        output_kernel: Precomputed transposed `TiedEmbedding` for frozen weights.
        shortlist: Optional vocabulary shortlist.

    Raises:
        ValueError: The model cannot be split into parts, or a shortlist is given and the model has
            no suitable output layer.
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
                "A shortlist requires a Dense layer without activation, or a TiedEmbedding, as the "
                "last layer of the model. Omit the shortlist."
            )

    @property
    def vocabulary_size(self) -> int:
        """See `Decoder`."""
        return self.parts.vocabulary_size

    @property
    def embedding_size(self) -> int:
        """See `Decoder`."""
        return int(self.parts.encode.outputs[1].shape[-1])

    @property
    def variables(self) -> list[Any]:
        """See `Decoder`."""
        return self.parts.variables

    @property
    def has_attention(self) -> bool:
        """See `Decoder`."""
        return self.decoder.attention is not None

    @property
    def state_count(self) -> int:
        """Number of tensors of a state: 1 of a GRU, 2 of an LSTM."""
        return len(keras.tree.flatten(self.decoder.cell.state_size))

    def check_steps(self, source_size: int) -> None:
        """Checks that incremental decoding equals the full model, on a padded batch of two.

        Args:
            source_size: Size of the source vocabulary.

        Raises:
            ValueError: They differ, as a layer on the target side reads other positions, or the
                model's results depend on padding, or are probabilities instead of logits.
        """
        first, last = EOS + 1, min(source_size, self.parts.vocabulary_size) - 1
        source = np.array([[first, last, first, EOS], [last, EOS, PAD, PAD]], "int32")
        target = np.array([[BOS, first, last], [BOS, last, first]], "int32")

        def logits_of(source: np.ndarray, target: np.ndarray) -> np.ndarray:
            logits, _ = self.force(source, target)
            return ops.convert_to_numpy(ops.cast(logits, "float32"))

        whole = logits_of(source, target)
        if not np.isfinite(whole).all():
            raise ValueError("The logits of the model are not finite: its weights are damaged.")
        if (whole >= 0).all() and np.allclose(whole.sum(axis=-1), 1, atol=0.01):
            raise ValueError(
                "The model returns probabilities, expected logits: remove the softmax at its end, "
                "and train with MaskedCrossentropy, or with from_logits=True."
            )
        tolerance = 1e-3 if self.decoder.compute_dtype == "float32" else 0.05
        tolerance *= np.abs(whole).max()
        # The second sentence without its padding.
        alone = logits_of(source[1:, :2], target[1:])
        if np.abs(alone - whole[1:]).max() > tolerance:
            raise ValueError(
                "The logits of the model depend on padding: pass mask=source != 0 to the encoder "
                "and to AttentionDecoder. (The mask of Embedding(..., mask_zero=True) is lost in "
                "some layers.)"
            )
        memory, state = self.encode(source)
        for position in range(target.shape[1]):
            logits, state, _ = self.step(target[:, position : position + 1], state, memory)
            step = ops.convert_to_numpy(logits[:, 0])
            difference = np.abs(step - whole[:, position]).max()
            if difference > tolerance:
                raise ValueError(
                    f"The model cannot be decoded incrementally: at target position {position} its "
                    f"logits differ by {difference:.3g} from those of single steps. Layers between "
                    "the target ids and the decoder, and from the decoder to the logits, must "
                    "read only their own position."
                )

    def encode(self, source: Any) -> tuple[EncodedSource, State]:
        """Encodes sentences.

        Args:
            source: Ids, int32, `(batch, source_length)`.

        Returns:
            The `EncodedSource` and the initial state, `(batch, 1, units)` tensors.
        """
        annotations, sentence_vector, mask = self.parts.encode(source, training=False)
        memory = self.decoder.prepare(annotations, sentence_vector, mask)
        state = self.decoder.initial_state(sentence_vector)
        return memory, tuple(ops.expand_dims(each, 1) for each in state)

    def embed(self, source: Any) -> Any:
        """The sentence vector `[h_S-> ; h_1<-]`, `(batch, annotation_units)`, see `encode`."""
        return self.parts.encode(source, training=False)[1]

    def force(self, source: Any, target: Any) -> tuple[Any, Any]:
        """See `Decoder`."""
        outputs = self.parts.model({"source": source, "target": target})
        return ops.cast(outputs["logits"], "float32"), outputs["attention"]

    def source_mask(self, memory: EncodedSource) -> Any:
        """See `Decoder`."""
        return memory.mask

    def with_mask(self, memory: EncodedSource, mask: Any) -> EncodedSource:
        """See `Decoder`."""
        return memory._replace(mask=mask) if self.has_attention else memory

    def output_weights(self, ids: Any) -> Any:
        """Kernel and bias of the output layer for some target pieces, gathered once per batch.

        Args:
            ids: Target pieces, int32, `(columns,)`.

        Returns:
            `(features, columns)` and `(columns,)`.
        """
        output = self.parts.output
        if (tied := self.parts.tied_embedding) is not None:
            kernel = ops.transpose(ops.take(tied.embeddings, ids, axis=0))
            return kernel, ops.take(tied.bias, ids)
        kernel = ops.take(kernel_of(output), ids, axis=1)
        return kernel, 0.0 if output.bias is None else ops.take(output.bias, ids)

    def step(
        self, tokens: Any, state: State, memory: EncodedSource, weights: Any = None
    ) -> tuple[Any, State, Any]:
        """Decodes one target position of every hypothesis.

        Args:
            tokens: Previous tokens, int32, `(batch, hypotheses)`.
            state: Tensors `(batch, hypotheses, units)`.
            memory: The `EncodedSource` from `encode`.
            weights: Output of `output_weights`, to restrict the logits to these pieces.

        Returns:
            `(logits, state, attention)`: float32 `(batch, hypotheses, vocabulary_size)` or
            `(batch, hypotheses, columns)`, the new state, and float32 `(batch, hypotheses,
            source_length)`.
        """
        embedded = self.embed_tokens(tokens, weights)
        gates = self.decoder.embed_gates(embedded)
        advanced, attention, context = self.advance(gates, state, memory)
        features = self.parts.features([embedded, advanced[0], state[0], context])
        if weights is not None:
            logits = self.active_logits(features, weights)
        elif (tied := self.parts.tied_embedding) is not None:
            logits = tied(features, reverse=True, kernel=self.output_kernel)
        else:
            logits = features if self.parts.output is None else self.parts.output(features)
        return ops.cast(logits, "float32"), advanced, attention

    def embed_tokens(self, tokens: Any, weights: Any = None) -> Any:
        """The embeddings of tokens in `step`, `(batch, hypotheses, embedding_units)`."""
        return self.parts.embed(tokens, training=False)

    def active_logits(self, features: Any, weights: Any) -> Any:
        """The logits of the columns of `output_weights`: `(batch, hypotheses, columns)`."""
        kernel, bias = weights
        # 2-D, TensorFlow fuses the bias into the product.
        return apply_2d(lambda rows: ops.matmul(rows, kernel) + bias, features)

    def advance(self, gates: Any, state: State, memory: EncodedSource) -> tuple[State, Any, Any]:
        """The recurrent part of `step`: the new state, the attention weights and the context.

        Args:
            gates: Output of `AttentionDecoder.embed_gates`, `(batch, hypotheses, token_units)`.
            state: See `step`.
            memory: See `step`.
        """
        advanced, attention = self.decoder.step(gates, state, memory)
        return advanced, attention, self.decoder.context(attention, memory)

    def energies(self, tokens: Any, state: State, memory: EncodedSource) -> Any:
        """Attention energies e_ij of the position that `step` decodes, before the softmax.

        Args:
            tokens: Previous tokens, int32, `(batch, hypotheses)`.
            state: Tensors `(batch, hypotheses, units)`.
            memory: The `EncodedSource` from `encode`.

        Returns:
            float32, `(batch, hypotheses, source_length)`, at padding, too.

        Raises:
            ValueError: The model has no attention.
        """
        if self.decoder.attention is None:
            raise ValueError("The model has no attention, so it has no energies.")
        gates = self.decoder.embed_gates(self.parts.embed(tokens, training=False))
        _, query_shift = loop.split_gates(cells.recurrent_weights(self.decoder.cell), gates)
        weights = self.decoder.attention.weights_of_step()
        return scores.attention_energies(weights, memory.keys, state[0], query_shift)
