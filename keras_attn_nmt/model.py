"""`build_model`: the complete functional `keras.Model`."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import keras
from keras import ops

from keras_attn_nmt.config import ModelConfig, check_choice
from keras_attn_nmt.layers import cells
from keras_attn_nmt.layers.decoder import AttentionDecoder
from keras_attn_nmt.layers.encoder import BidirectionalEncoder
from keras_attn_nmt.layers.readout import MaxoutReadout, TanhReadout, TiedEmbedding
from keras_attn_nmt.text.special_ids import PAD


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class SourceOrder(keras.layers.Layer):
    """Reverses or repeats the tokens of a source; padding stays on the right.

    Both orders improve encoder-decoders with a fixed-length vector: the reversed source (Sutskever
    et al. 2014, 3.3) and the repeated source (Zaremba & Sutskever 2014, 4.1).

    Args:
        order: `"forward"`, `"reversed"` or `"twice"`.
        **kwargs: `name`, `dtype` and the like.

    Call arguments:
        source: Ids, 0 at padding, int32, `(batch, source_length)`.

    Returns:
        Ids, `(batch, source_length)`, or `(batch, 2 * source_length)` for `"twice"`.
    """

    def __init__(self, order: str = "forward", **kwargs: Any):
        super().__init__(**kwargs)
        self.order = check_choice("source_order", order)

    def call(self, source: Any) -> Any:
        if self.order == "forward":
            return source
        length = ops.sum(ops.cast(source != PAD, "int32"), axis=1, keepdims=True)
        width = ops.shape(source)[1]
        if self.order == "reversed":
            position = ops.expand_dims(ops.arange(width), 0)
            index = ops.where(position < length, length - 1 - position, position)
            return ops.take_along_axis(source, index, axis=1)
        position = ops.expand_dims(ops.arange(2 * width), 0)
        mask = position < 2 * length
        index = ops.where(mask, position % ops.maximum(length, 1), 0)
        return ops.where(mask, ops.take_along_axis(source, index, axis=1), PAD)

    def compute_output_spec(self, source: Any) -> keras.KerasTensor:
        batch, length = source.shape
        if self.order == "twice" and length is not None:
            length *= 2
        return keras.KerasTensor((batch, length), dtype=source.dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "order": self.order}


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class TranslationModel(keras.Model):
    """A functional `keras.Model` with metrics for only some outputs, such as logits alone.

    Labels that are not a dictionary are those of the output `logits`, as is a loss. Subclass it
    for a `train_step` of your own.

    Attributes:
        model_config: The `ModelConfig` it was built from; saved in `.keras` files.
    """

    model_config: ModelConfig | None = None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.model_config is not None:
            config["model_config"] = dataclasses.asdict(self.model_config)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TranslationModel:
        config = dict(config)
        settings = config.pop("model_config", None)
        model = super().from_config(config, custom_objects)
        if settings is not None:
            model.model_config = ModelConfig.from_dict(settings)
        return model

    def fit(self, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, without `class_weight`."""
        given = inspect.signature(super().fit).bind(*args, **kwargs).arguments
        _refuse_class_weight(given.get("class_weight"))
        return super().fit(*args, **kwargs)

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """As `keras.Model.train_on_batch`, without `class_weight`."""
        _refuse_class_weight(class_weight)
        return super().train_on_batch(x, y, sample_weight, return_dict=return_dict)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        # Keras expects labels for every output once there are metrics: keep the labelled outputs.
        y, sample_weight = _named(y, y_pred), _single(sample_weight)
        if isinstance(y, dict):
            y_pred = {name: y_pred[name] for name in y}
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        y, sample_weight = _named(y, y_pred), _single(sample_weight)
        if isinstance(y, dict) and list(y) == ["logits"] and not isinstance(self.loss, dict):
            if isinstance(self.loss, list | tuple):
                raise ValueError(
                    "loss is a list, but the outputs of this model have names instead of an order: "
                    'use loss={"logits": ...}.'
                )
            # Keras would look for labels of every output.
            y, y_pred = y["logits"], y_pred["logits"]
            if isinstance(sample_weight, dict):
                sample_weight = sample_weight["logits"]
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def _named(y: Any, y_pred: Any) -> Any:
    """Labels by output. Keras on JAX would read an array of two rows as labels of two outputs."""
    if not isinstance(y_pred, dict) or "logits" not in y_pred:
        return y
    y = _single(y)
    return y if y is None or keras.tree.is_nested(y) else {"logits": y}


def _single(values: Any) -> Any:
    """The element of a list or tuple of one."""
    return values[0] if isinstance(values, list | tuple) and len(values) == 1 else values


def _refuse_class_weight(class_weight: Any) -> None:
    """Keras would take the position of the largest id of a sentence for its class."""
    if class_weight is not None:
        raise ValueError(
            "class_weight is for one class per row, not for sentences: give each token its weight, "
            'sample_weight={"logits": weights[labels]}.'
        )


def build_model(config: ModelConfig, name: str = "keras_attn_nmt") -> keras.Model:
    """Builds the encoder-decoder with attention (Bahdanau et al. 2015, figure 1 and appendix A).

    Args:
        config: Hyperparameters.
        name: Name of the model.

    Returns:
        A functional model with inputs `{"source": (batch, source_length),
        "target": (batch, target_length)}`, int32 ids padded with 0 on the right, the target shifted
        right by one (`BOS` first), and outputs `{"logits": (batch, target_length,
        target_vocabulary_size), "attention": (batch, target_length, source_length)}`, float32.
    """

    # One initialiser per layer, as a Keras initialiser returns the same values at every call.
    def embedding_initializer() -> Any:
        paper = config.initializer == "paper"
        return keras.initializers.RandomNormal(stddev=0.01) if paper else "uniform"

    def kernel_initializer() -> Any:
        return cells.recurrent_initializers(config.initializer)["kernel_initializer"]

    def dropout(rate: float) -> keras.layers.Layer:
        shape = (None, 1, None) if config.dropout_per_sentence else None
        return keras.layers.Dropout(rate, noise_shape=shape)

    def embed(embedding: keras.layers.Layer, ids: Any) -> Any:
        embedded = embedding(ids)
        if config.word_dropout:
            words = keras.layers.Dropout(config.word_dropout, noise_shape=(None, None, 1))
            embedded = words(embedded)
        return dropout(config.embedding_dropout)(embedded)

    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")

    read = SourceOrder(config.source_order, name="source_order")(source)
    source_embedding = keras.layers.Embedding(
        config.source_vocabulary_size,
        config.embedding_units,
        embeddings_initializer=embedding_initializer(),
        name="source_embedding",
    )
    embedded = embed(source_embedding, read)
    annotations, sentence_vector = BidirectionalEncoder(
        config.encoder_units,
        num_layers=config.encoder_layers,
        cell=config.cell,
        reset_after=config.reset_after,
        bidirectional=config.bidirectional,
        dropout=config.annotation_dropout,
        dropout_per_sentence=config.dropout_per_sentence,
        initializer=config.initializer,
        name="encoder",
    )(embedded, mask=read != PAD)
    annotations = dropout(config.annotation_dropout)(annotations)

    make_embedding = TiedEmbedding if config.tie_target_embeddings else keras.layers.Embedding
    target_embedding = make_embedding(
        config.target_vocabulary_size,
        config.embedding_units,
        embeddings_initializer=embedding_initializer(),
        name="target_embedding",
    )
    embedded = embed(target_embedding, target)
    states, previous_states, contexts, attention = AttentionDecoder(
        config.decoder_units,
        cell=config.cell,
        reset_after=config.reset_after,
        attention=config.attention,
        attention_units=config.attention_units,
        query_previous_token=config.query_previous_token,
        layer_normalization=config.layer_normalization,
        initial_state_units=config.encoder_units,
        initializer=config.initializer,
        name="decoder",
    )(embedded, annotations, sentence_vector, mask=source != PAD)

    maxout = config.readout == "maxout"
    readout = (MaxoutReadout if maxout else TanhReadout)(
        config.readout_units if maxout else config.embedding_units,
        layer_normalization=config.layer_normalization,
        kernel_initializer=kernel_initializer(),
        name="readout",
    )
    features = readout(embedded, states, previous_states, contexts)
    features = dropout(config.readout_dropout)(features)
    if config.tie_target_embeddings:
        logits = target_embedding(features, reverse=True)
    else:
        logits = keras.layers.Dense(
            config.target_vocabulary_size, kernel_initializer=kernel_initializer(), name="output"
        )(features)
    outputs = {"logits": ops.cast(logits, "float32"), "attention": attention}
    model = TranslationModel({"source": source, "target": target}, outputs, name=name)
    model.model_config = config
    return model
