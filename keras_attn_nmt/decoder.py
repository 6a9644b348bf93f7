"""The decoder: one step used by training and search alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt import cells
from keras_attn_nmt.attention import Attention, BahdanauAttention, LuongAttention
from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.config import check_choice, check_query
from keras_attn_nmt.rows import batch_product, by_rows
from keras_attn_nmt.teacher_forcing import decode


class Memory(NamedTuple):
    """All that a decoder needs of a source sentence, computed once (`AttentionDecoder.prepare`).

    Attributes:
        annotations: h, `(batch, source_length, annotation_units)`; the sentence vector in place of
            them, `(batch, 1, annotation_units)`, where there is no attention.
        keys: What states are compared with, `(batch, source_length, key_units)`; empty without
            attention.
        gates: The annotations' share of the recurrent gates, `(batch, source_length, gate_units)`.
        mask: `True` at real source positions, bool, `(batch, source_length)`.
    """

    annotations: Any
    keys: Any
    gates: Any
    mask: Any


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class AttentionDecoder(keras.layers.Layer):
    """Recurrent decoder with attention (Bahdanau et al. 2015, section 3.1 and A.2.2).

        s_0 = tanh(W_s h_1<-),   s_i = RNN(s_{i-1}, [E y_{i-1} ; c_i]),   c_i from s_{i-1}

    Args:
        units: State size.
        cell: `"gru"` or `"lstm"`.
        reset_after: GRU only, see `ModelConfig`.
        attention: `"bahdanau"`, `"luong"` or `"none"` (every c_i is the sentence vector).
        attention_units: Hidden layer of Bahdanau's alignment model.
        query_previous_token: Whether attention is asked with the previous token, too: a product of
            E y_{i-1} is added to `W_a s_{i-1}` (to `s_{i-1}`, if multiplicative). Not in the
            paper, where s_{i-1} knows y_{i-2} at best; the conditional GRU of Nematus (Sennrich
            et al. 2017) has a query that knows y_{i-1} by a second recurrent step.
        layer_normalization: Normalise attention queries and keys.
        initial_units: How many of the last columns of the sentence vector W_s reads: the units of
            the backward encoder, to begin from h_1<- as in the paper.
        initializer: `"glorot"` or `"paper"` (B.1).
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        embedded: E y_{i-1}, the embeddings of the target moved right by one,
            `(batch, target_length, embedding_units)`.
        annotations: `(batch, source_length, annotation_units)`.
        sentence_vector: `(batch, annotation_units)`, as `BidirectionalEncoder` gives it.
        mask: `True` at real source positions, bool, `(batch, source_length)`. By default
            `annotations_mask`, else all are real.
        annotations_mask: The mask that Keras attached to the annotations; Keras passes it.

    Returns:
        `(states, previous_states, contexts, attention)`: s_i and s_{i-1}, both
        `(batch, target_length, units)`; c_i, `(batch, target_length, annotation_units)`; alpha,
        float32, `(batch, target_length, source_length)`, all zeros where there is no attention.

    Example:
        >>> decoder = AttentionDecoder(8, attention_units=8, initial_units=3)
        >>> annotations, vector = keras.ops.ones((2, 5, 6)), keras.ops.ones((2, 6))
        >>> *_, attention = decoder(keras.ops.ones((2, 7, 4)), annotations, vector)
        >>> attention.shape
        (2, 7, 5)

    References:
        [Bahdanau, Cho & Bengio 2015](https://arxiv.org/abs/1409.0473)
    """

    def __init__(
        self,
        units: int,
        cell: str = "gru",
        reset_after: bool = True,
        attention: str = "bahdanau",
        attention_units: int = 512,
        query_previous_token: bool = False,
        layer_normalization: bool = False,
        initial_units: int | None = None,
        initializer: str = "glorot",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_query(query_previous_token, attention)
        self.supports_masking = True
        # XLA compiles anew for every shape of a batch, for half a minute on TensorFlow, and what it
        # makes is slower on a CPU; where layers support it, Keras turns it on unasked.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.units = check_whole("units", units)
        self.cell_kind = check_choice("cell", cell)
        self.reset_after = reset_after
        self.attention_kind = check_choice("attention", attention)
        self.attention_units = check_whole("attention_units", attention_units)
        self.query_previous_token = query_previous_token
        self.layer_normalization = layer_normalization
        if initial_units is not None:
            initial_units = check_whole("initial_units", initial_units)
        self.initial_units = initial_units
        self.initializer = check_choice("initializer", initializer)

    def build(
        self,
        embedded_shape: tuple,
        annotations_shape: tuple,
        sentence_vector_shape: tuple,
        **_: Any,
    ) -> None:
        annotation_units = annotations_shape[-1]
        self.embedding_units = embedded_shape[-1]
        self.cell = cells.make_cell(
            self.cell_kind,
            self.units,
            reset_after=self.reset_after,
            initializer=self.initializer,
            dtype=self.dtype_policy,
            name="cell",
        )
        self.cell.build((None, self.embedding_units + annotation_units))
        kernel_initializer = cells.recurrent_initializers(self.initializer)["kernel_initializer"]
        # s_0 of a GRU; s_0 and the memory cell of an LSTM.
        self.initial_projection = keras.layers.Dense(
            self.units * (2 if self.cell_kind == "lstm" else 1),
            activation="tanh",
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="initial",
        )
        self.initial_projection.build((None, self.initial_units or sentence_vector_shape[-1]))
        self.attention = self._make_attention()
        if self.attention is not None:
            self.attention.build((None, 1, self.units), (None, None, annotation_units))
        self.token_query = None
        if self.query_previous_token and self.attention is not None:
            bahdanau = self.attention_kind == "bahdanau"
            self.token_query = keras.layers.Dense(
                self.attention_units if bahdanau else self.units,
                use_bias=False,
                # A clone, as one initialiser would give several weights the same numbers.
                kernel_initializer=self.attention.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name="token_query",
            )
            self.token_query.build((None, self.embedding_units))

    def _make_attention(self) -> Attention | None:
        if self.attention_kind == "none":
            return None
        common: dict[str, Any] = {
            "layer_normalization": self.layer_normalization,
            "dtype": self.dtype_policy,
            "name": "attention",
        }
        paper = self.initializer == "paper"
        if paper:
            common["kernel_initializer"] = keras.initializers.RandomNormal(stddev=0.001)
        if self.attention_kind == "luong":
            return LuongAttention(**common)
        return BahdanauAttention(
            self.attention_units, score_initializer="zeros" if paper else "glorot_uniform", **common
        )

    def prepare(self, annotations: Any, sentence_vector: Any, mask: Any) -> Memory:
        """What every step reads of the source, computed once a sentence. Shapes as in the call."""
        if self.attention is None:
            annotations = ops.expand_dims(sentence_vector, 1)
            keys = annotations[:, :, :0]
        else:
            keys = self.attention.project(annotations)
        # c_i enters the gates linearly, so the product with its weights is taken of the
        # annotations, once a sentence, in place of the contexts, once a step.
        gates = ops.matmul(annotations, self._input_kernels()[1])
        return Memory(annotations, keys, gates, mask)

    def initial_state(self, sentence_vector: Any) -> cells.State:
        """s_0 = tanh(W_s h_1<-).

        Args:
            sentence_vector: `(batch, annotation_units)`.

        Returns:
            A tuple of `(batch, units)` tensors, one for GRU, two for LSTM.
        """
        if self.initial_units is not None:
            sentence_vector = sentence_vector[..., -self.initial_units :]
        initial = self.initial_projection(sentence_vector)
        return tuple(ops.split(initial, 2, axis=-1)) if self.cell_kind == "lstm" else (initial,)

    def embed_gates(self, embedded: Any) -> Any:
        """All that a step reads of the previous token.

        Args:
            embedded: E y_{i-1}, `(..., embedding_units)`.

        Returns:
            Its share of the gates and, with `query_previous_token`, that of the query behind it,
            `(..., token_units)`: `gate_units`, or `gate_units + query_units`.
        """
        kernel, bias = self._input_kernels()[0], cells.input_bias(self.cell)
        gates = by_rows(lambda rows: ops.matmul(rows, kernel) + bias, embedded)
        if self.token_query is None:
            return gates
        return ops.concatenate([gates, by_rows(self.token_query, embedded)], axis=-1)

    def split_query(self, gates: Any) -> tuple[Any, Any]:
        """Takes apart what `embed_gates` gave.

        Args:
            gates: `(..., token_units)`.

        Returns:
            The share of the gates, `(..., gate_units)`, and that of the query, `(...,
            query_units)`, or `None` where it has none.
        """
        if self.token_query is None:
            return gates, None
        return tuple(ops.split(gates, [gates.shape[-1] - self.token_query.units], axis=-1))

    def _input_kernels(self) -> list[Any]:
        """The rows of the input weights that read the embedding, and those for the context."""
        return ops.split(cells.input_kernel(self.cell), [self.embedding_units], axis=0)

    def step(self, gates: Any, state: cells.State, memory: Memory) -> tuple[cells.State, Any, Any]:
        """One target position.

        Args:
            gates: `embed_gates` of the previous token's embedding, `(batch, token_units)`, or
                `(batch, queries, token_units)` where several hypotheses look at one source.
            state: s_{i-1}, a tuple of `(batch, units)` or `(batch, queries, units)`.
            memory: What `prepare` made of the source.

        Returns:
            `(state, attention, activations)`: s_i; alpha_i, `(batch, source_length)` or
            `(batch, queries, source_length)`; what the gradient needs (`cells.advance`).
        """
        gates, query_shift = self.split_query(gates)
        if self.attention is None:
            context_gates = memory.gates if len(gates.shape) == 3 else memory.gates[:, 0]
            # One row of zeros a query: nothing was looked at.
            looked = ops.zeros_like(memory.mask, dtype="float32")
            if len(gates.shape) == 3:
                looked = ops.expand_dims(looked, 1) + ops.zeros_like(gates[..., :1], "float32")
        else:
            context_gates, looked = self.attention(
                state[0], memory.gates, mask=memory.mask, keys=memory.keys, query_shift=query_shift
            )
        weights = cells.recurrence(self.cell)
        state, activations = cells.advance(weights, gates + context_gates, state)
        return state, looked, activations

    def step_weights(self) -> list[keras.Variable]:
        """The weights that `step` reads: those of the cell, then those of attention."""
        own = [self.cell.recurrent_kernel]
        if cells.recurrence(self.cell).bias is not None:
            own.append(self.cell.bias)
        return own if self.attention is None else [*own, *self.attention.step_weights()]

    def context(self, attention: Any, memory: Memory) -> Any:
        """c_i of given weights.

        Args:
            attention: `(batch, queries, source_length)`.
            memory: What `prepare` made of the source.

        Returns:
            `(batch, queries, annotation_units)`.
        """
        if self.attention is None:
            return ops.repeat(memory.annotations, ops.shape(attention)[1], axis=1)
        return batch_product(ops.cast(attention, memory.annotations.dtype), memory.annotations)

    def call(
        self,
        embedded: Any,
        annotations: Any,
        sentence_vector: Any,
        mask: Any = None,
        annotations_mask: Any = None,
    ) -> tuple[Any, Any, Any, Any]:
        mask = annotations_mask if mask is None else mask
        if mask is None:
            mask = ops.ones(ops.shape(annotations)[:2], dtype="bool")
        memory = self.prepare(annotations, sentence_vector, mask)
        state = self.initial_state(sentence_vector)

        # Only what needs s_{i-1} is in the loop; contexts and readout follow it, all at once.
        gates = ops.swapaxes(self.embed_gates(embedded), 0, 1)
        states, attention = decode(self, gates, state, memory)
        states = ops.swapaxes(states, 0, 1)
        attention = ops.swapaxes(attention, 0, 1)
        previous = ops.concatenate([ops.expand_dims(state[0], 1), states[:, :-1]], axis=1)
        return states, previous, self.context(attention, memory), attention

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """No mask is attached to the results: losses know padding by the labels."""

    def compute_output_spec(
        self,
        embedded: Any,
        annotations: Any,
        sentence_vector: Any,
        mask: Any = None,
        annotations_mask: Any = None,
    ) -> tuple[keras.KerasTensor, ...]:
        batch, length = embedded.shape[:2]
        # With a source fed twice there are more annotations than source positions.
        looked_at = annotations.shape[1:2] if mask is None else mask.shape[1:2]
        shapes = [(self.units,), (self.units,), annotations.shape[-1:], looked_at]
        dtypes = [self.compute_dtype] * 3 + ["float32"]
        return tuple(
            keras.KerasTensor((batch, length, *shape), dtype=dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell_kind,
            "reset_after": self.reset_after,
            "attention": self.attention_kind,
            "attention_units": self.attention_units,
            "query_previous_token": self.query_previous_token,
            "layer_normalization": self.layer_normalization,
            "initial_units": self.initial_units,
            "initializer": self.initializer,
        }
