"""The attention decoder, with the same step function for training and search."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
from keras import ops

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.config import CHOICES, check_choice, check_query
from keras_attn_nmt.deprecation import warn_of_old_name, with_new_names
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.attention import Attention, make_attention
from keras_attn_nmt.recurrence import loop, scores
from keras_attn_nmt.recurrence.cells import State, cell_step
from keras_attn_nmt.recurrence.products import apply_2d, batch_matmul

# Old names of arguments, for one release.
RENAMED = {"initial_units": "initial_state_units"}


class EncodedSource(NamedTuple):
    """A source sentence prepared for decoding, see `AttentionDecoder.prepare`.

    Attributes:
        annotations: h, `(batch, source_length, annotation_units)`; without attention the sentence
            vector, `(batch, 1, annotation_units)`.
        keys: Attention keys, `(batch, source_length, key_units)`; empty without attention.
        gates: Annotations multiplied by the input kernel of the recurrent gates,
            `(batch, source_length, gate_units)`.
        mask: `False` at padding, bool, `(batch, source_length)`.
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
        attention: `"bahdanau"`, `"luong"`, `"dot"`, `"none"` (every c_i is the sentence vector), or
            an `Attention` layer, which may be a custom subclass.
        attention_units: Hidden size of Bahdanau's alignment model.
        query_previous_token: Whether the query includes the previous target embedding: a projection
            of E y_{i-1} is added to `W_a s_{i-1}` (to `s_{i-1}` for multiplicative attention). Not
            in the paper, where s_{i-1} has read at most y_{i-2}; the conditional GRU of Nematus
            (Sennrich et al. 2017) reads y_{i-1} in an additional recurrent step.
        layer_normalization: Normalise attention queries and keys. For a layer passed as
            `attention`, set it there.
        initial_state_units: Number of trailing columns of the sentence vector that W_s reads. Set
            it to the units of the backward encoder to initialise from h_1<-, as in the paper. By
            default W_s reads all columns.
        initializer: `"glorot"` or `"paper"` (B.1).
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        embedded: E y_{i-1}, the embeddings of the target shifted right by one,
            `(batch, target_length, embedding_units)`.
        annotations: `(batch, source_length, annotation_units)`.
        sentence_vector: `(batch, annotation_units)`, see `BidirectionalEncoder`.
        mask: `False` at padding, bool, `(batch, source_length)`. Defaults to `annotations_mask`, or
            no padding.
        annotations_mask: The Keras mask of the annotations, passed by Keras.

    Returns:
        `(states, previous_states, contexts, attention)`: s_i and s_{i-1}, both
        `(batch, target_length, units)`; c_i, `(batch, target_length, annotation_units)`; alpha,
        float32, `(batch, target_length, source_length)`, zeros without attention.

    Example:
        >>> decoder = AttentionDecoder(8, attention_units=8, initial_state_units=3)
        >>> annotations, vector = keras.ops.ones((2, 5, 6)), keras.ops.ones((2, 6))
        >>> *_, attention = decoder(keras.ops.ones((2, 7, 4)), annotations, vector)
        >>> keras.ops.shape(attention)
        (2, 7, 5)

    References:
        [Bahdanau, Cho & Bengio 2015](https://arxiv.org/abs/1409.0473)
    """

    def __init__(
        self,
        units: int,
        cell: str = "gru",
        reset_after: bool = True,
        attention: str | Attention | dict[str, Any] = "bahdanau",
        attention_units: int = 512,
        query_previous_token: bool = False,
        layer_normalization: bool = False,
        initial_state_units: int | None = None,
        initializer: str = "glorot",
        **kwargs: Any,
    ):
        if "initial_units" in kwargs:
            given = {} if initial_state_units is None else {"initial_state_units": None}
            kwargs = with_new_names({**kwargs, **given}, RENAMED)
            initial_state_units = kwargs.pop("initial_state_units")
            warn_of_old_name("initial_units", "initial_state_units")
        super().__init__(**kwargs)
        self.supports_masking = True
        # XLA recompiles for every batch shape (half a minute on TensorFlow) and is slower on a CPU;
        # Keras enables it automatically if layers support it.
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self.units = check_whole("units", units)
        self.cell_kind = check_choice("cell", cell)
        self.reset_after = reset_after
        if isinstance(attention, dict):
            attention = keras.saving.deserialize_keras_object(attention)
        self.attention = None
        if isinstance(attention, Attention):
            self.attention = attention
            self.attention_kind = "layer"
            if layer_normalization:
                raise ValueError(
                    "layer_normalization=True does not apply to a layer passed as attention: use "
                    f"{type(attention).__name__}(layer_normalization=True)."
                )
        elif isinstance(attention, str) and attention in CHOICES["attention"]:
            self.attention_kind = attention
            check_query(query_previous_token, attention)
        else:
            raise ValueError(
                f"attention must be one of {CHOICES['attention']} or an Attention layer, "
                f"got {attention!r}."
            )
        self.attention_units = check_whole("attention_units", attention_units)
        self.query_previous_token = query_previous_token
        self.layer_normalization = layer_normalization
        if initial_state_units is not None:
            initial_state_units = check_whole("initial_state_units", initial_state_units)
        self.initial_state_units = initial_state_units
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
        self.initial_projection.build((None, self.initial_state_units or sentence_vector_shape[-1]))
        if self.attention is None and self.attention_kind != "none":
            self.attention = make_attention(
                self.attention_kind,
                self.attention_units,
                initializer=self.initializer,
                layer_normalization=self.layer_normalization,
                dtype=self.dtype_policy,
                name="attention",
            )
        if self.attention is not None and self.attention.compute_dtype != self.compute_dtype:
            raise ValueError(
                f"The attention layer computes in {self.attention.compute_dtype} and the decoder "
                f"in {self.compute_dtype}: make it with dtype={self.dtype_policy.name!r}."
            )
        if self.attention is not None and not self.attention.built:
            self.attention.build((None, 1, self.units), (None, None, annotation_units))
        self.token_query = None
        if self.query_previous_token and self.attention is not None:
            self.token_query = keras.layers.Dense(
                self.attention.query_units(self.units),
                use_bias=False,
                # A clone, as one initialiser would return the same values for several weights.
                kernel_initializer=self.attention.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name="token_query",
            )
            self.token_query.build((None, self.embedding_units))

    def prepare(self, annotations: Any, sentence_vector: Any, mask: Any) -> EncodedSource:
        """Precomputes what all steps need from the source. Shapes as in the call."""
        if self.attention is None:
            annotations = ops.expand_dims(sentence_vector, 1)
            keys = annotations[:, :, :0]
        else:
            keys = self.attention.project(annotations)
        # c_i enters the gates linearly, so annotations are multiplied by its weights once per
        # sentence instead of contexts at every step.
        gates = ops.matmul(annotations, self._input_kernels()[1])
        return EncodedSource(annotations, keys, gates, mask)

    def initial_state(self, sentence_vector: Any) -> State:
        """s_0 = tanh(W_s h_1<-).

        Args:
            sentence_vector: `(batch, annotation_units)`.

        Returns:
            A tuple of `(batch, units)` tensors, one for GRU, two for LSTM.
        """
        if self.initial_state_units is not None:
            sentence_vector = sentence_vector[..., -self.initial_state_units :]
        initial = self.initial_projection(sentence_vector)
        return tuple(ops.split(initial, 2, axis=-1)) if self.cell_kind == "lstm" else (initial,)

    def embed_gates(self, embedded: Any) -> Any:
        """Precomputes what a step needs from the previous token.

        Args:
            embedded: E y_{i-1}, `(..., embedding_units)`.

        Returns:
            The input projection of the gates, concatenated with the query shift for
            `query_previous_token`: `(..., gate_units)` or `(..., gate_units + query_units)`.
        """
        kernel, bias = self._input_kernels()[0], cells.input_bias(self.cell)
        gates = apply_2d(lambda rows: ops.matmul(rows, kernel) + bias, embedded)
        if self.token_query is None:
            return gates
        return ops.concatenate([gates, apply_2d(self.token_query, embedded)], axis=-1)

    def _input_kernels(self) -> list[Any]:
        """The input kernel, split into the rows of the embedding and of the context."""
        return ops.split(cells.input_kernel(self.cell), [self.embedding_units], axis=0)

    def step(self, gates: Any, state: State, source: EncodedSource) -> tuple[State, Any]:
        """Decodes one target position.

        Args:
            gates: `embed_gates` of the previous token's embedding, `(batch, token_units)`, or
                `(batch, queries, token_units)` for several hypotheses per source.
            state: s_{i-1}, a tuple of `(batch, units)` or `(batch, queries, units)`.
            source: The `EncodedSource` from `prepare`.

        Returns:
            `(state, attention_weights)`: s_i; alpha_i, float32, `(batch, source_length)` or
            `(batch, queries, source_length)`.
        """
        weights = cells.recurrent_weights(self.cell)
        gates, query_shift = loop.split_gates(weights, gates)
        if self.attention is None:
            context_gates = source.gates if len(gates.shape) == 3 else source.gates[:, 0]
            # One row of zeros per query.
            attention_weights = ops.zeros_like(source.mask, dtype="float32")
            if len(gates.shape) == 3:
                zeros = ops.zeros_like(gates[..., :1], "float32")
                attention_weights = ops.expand_dims(attention_weights, 1) + zeros
        else:
            context_gates, attention_weights = self.attention(
                state[0], source.gates, mask=source.mask, keys=source.keys, query_shift=query_shift
            )
        state, _ = cell_step(weights, gates + context_gates, state)
        return state, attention_weights

    def context(self, attention: Any, source: EncodedSource) -> Any:
        """The context vectors c_i for given attention weights.

        Args:
            attention: `(batch, queries, source_length)`.
            source: The `EncodedSource` from `prepare`.

        Returns:
            `(batch, queries, annotation_units)`.
        """
        if self.attention is None:
            return ops.repeat(source.annotations, ops.shape(attention)[1], axis=1)
        return batch_matmul(ops.cast(attention, source.annotations.dtype), source.annotations)

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
        source = self.prepare(annotations, sentence_vector, mask)
        state = self.initial_state(sentence_vector)

        # Only what depends on s_{i-1} is in the loop; contexts and readout are computed afterwards.
        gates = ops.swapaxes(self.embed_gates(embedded), 0, 1)
        inputs = loop.Inputs(cells.recurrent_weights(self.cell), gates, state)
        if self.attention is None:
            inputs = inputs._replace(gates=gates + source.gates[:, 0])
        else:
            inputs = inputs._replace(
                attention=self.attention.weights_of_step(),
                source=scores.Attended(source.keys, source.gates, mask),
            )
        found = loop.run(inputs)
        states = ops.swapaxes(found.states, 0, 1)
        if found.attention_weights is None:
            attention_weights = ops.zeros_like(states[:, :, :1], "float32") + ops.zeros_like(
                ops.expand_dims(mask, 1), "float32"
            )
        else:
            attention_weights = ops.swapaxes(found.attention_weights, 0, 1)
        previous = ops.concatenate([ops.expand_dims(state[0], 1), states[:, :-1]], axis=1)
        return states, previous, self.context(attention_weights, source), attention_weights

    def compute_mask(self, *args: Any, **kwargs: Any) -> None:
        """No mask is attached to the results: losses derive padding from the labels."""

    def compute_output_spec(
        self,
        embedded: Any,
        annotations: Any,
        sentence_vector: Any,
        mask: Any = None,
        annotations_mask: Any = None,
    ) -> tuple[keras.KerasTensor, ...]:
        batch, length = embedded.shape[:2]
        # A repeated source has more annotations than source positions.
        attended = annotations.shape[1:2] if mask is None else mask.shape[1:2]
        shapes = [(self.units,), (self.units,), annotations.shape[-1:], attended]
        dtypes = [self.compute_dtype] * 3 + ["float32"]
        return tuple(
            keras.KerasTensor((batch, length, *shape), dtype=dtype)
            for shape, dtype in zip(shapes, dtypes, strict=True)
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionDecoder:
        """Also reads the config of a `.keras` file of an older release."""
        return super().from_config(with_new_names(config, RENAMED))

    @property
    def initial_units(self) -> int | None:
        """Deprecated name of `initial_state_units`."""
        return self.initial_state_units

    def get_config(self) -> dict[str, Any]:
        attention: Any = self.attention_kind
        if attention == "layer":
            attention = keras.saving.serialize_keras_object(self.attention)
        return {
            **super().get_config(),
            "units": self.units,
            "cell": self.cell_kind,
            "reset_after": self.reset_after,
            "attention": attention,
            "attention_units": self.attention_units,
            "query_previous_token": self.query_previous_token,
            "layer_normalization": self.layer_normalization,
            "initial_state_units": self.initial_state_units,
            "initializer": self.initializer,
        }
