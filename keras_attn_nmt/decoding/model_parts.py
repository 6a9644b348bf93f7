"""Splits a trained model at its decoder, for search, `Translator` and exports.

    source -> encode -> annotations, sentence vector, mask
    target -> embed -> E y_{i-1}
    embed, annotations, ... -> decoder -> states, contexts, attention
    embed, states, contexts -> features -> output -> logits

The parts are found by the connections in the functional graph, not by layer names, so hand-built
models work like those from `build_model`.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import keras
from keras import ops

from keras_attn_nmt.layers.decoder import AttentionDecoder
from keras_attn_nmt.layers.readout import TiedEmbedding

NEEDED = (
    "Expected a functional keras.Model with source and target ids as inputs, one "
    "AttentionDecoder, and the logits among its outputs."
)


@dataclasses.dataclass(frozen=True)
class ModelParts:
    """The parts of a translation model, which share its weights.

    Attributes:
        whole: The model that was split.
        model: From `{"source", "target"}` to `{"logits", "attention"}`.
        encode: Source ids, `(batch, source_length)`, to annotations, sentence vector and mask.
        embed: Target ids, `(batch, target_length)`, to their embeddings.
        decoder: The decoder.
        features: Embeddings, states, previous states and contexts to the input of `output`.
        output: The layer that computes the logits from features, or `None` if `features` computes
            the logits.
        vocabulary_size: Number of logits: the size of the target vocabulary.
        variables: The variables that the whole model had.
    """

    whole: keras.Model
    model: keras.Function
    encode: keras.Model
    embed: keras.Model
    decoder: AttentionDecoder
    features: keras.Function
    output: Any
    vocabulary_size: int
    variables: list[Any]

    @classmethod
    def of(cls, model: keras.Model) -> ModelParts:
        """Splits a functional model.

        Raises:
            ValueError: The model does not have the expected structure.
        """
        if not isinstance(getattr(model, "operations", None), list):
            raise ValueError(f"{type(model).__name__} is not a functional model. {NEEDED}")
        decoders = [each for each in model.operations if isinstance(each, AttentionDecoder)]
        if len(decoders) != 1:
            raise ValueError(f"The model has {len(decoders)} AttentionDecoder layers. {NEEDED}")
        decoder = decoders[0]
        outputs = keras.tree.flatten(model.outputs)
        logits = _logits(model, [each for each in outputs if _node(each)[0] is not decoder])
        # The decoder may have other calls, for other outputs.
        arguments, (states, previous, contexts, weights) = _call_of(decoder, logits)

        annotations, embedded = arguments["annotations"], arguments["embedded"]
        vector, mask = arguments["sentence_vector"], arguments.get("mask")
        if mask is None:
            mask = arguments.get("annotations_mask")
        if mask is None:
            mask = _AttachedMask()(annotations)
        source = _only_input([annotations, vector, mask], "annotations, sentence vector and mask")
        target = _only_input([embedded], "embedded target")
        output, features = _output(logits)
        try:
            # A model would copy the graph, and lose layers that occur on both sides of the cut.
            features = keras.Function([embedded, states, previous, contexts], features)
        except ValueError as error:
            raise ValueError(
                "The logits may depend on the target embedding, the states before and after a step "
                f"and the context only, and here they depend on something else: {error}"
            ) from error
        return cls(
            whole=model,
            model=keras.Function(
                {"source": source, "target": target}, {"logits": logits, "attention": weights}
            ),
            encode=keras.Model(source, [annotations, vector, mask]),
            embed=keras.Model(target, embedded),
            decoder=decoder,
            features=features,
            output=output,
            vocabulary_size=logits.shape[-1],
            variables=model.variables,
        )

    @property
    def source_vocabulary_size(self) -> int | None:
        """Size of the source vocabulary, or `None` if it cannot be determined."""
        kinds = (keras.layers.Embedding, TiedEmbedding)
        sizes = {each.input_dim for each in self.encode.layers if isinstance(each, kinds)}
        return sizes.pop() if len(sizes) == 1 else None

    def check_vocabularies(self, source_size: int, target_size: int) -> None:
        """Raises `ValueError` for vocabularies of other sizes than the model's."""
        sizes = {
            "source": (source_size, self.source_vocabulary_size),
            "target": (target_size, self.vocabulary_size),
        }
        for side, (pieces, ids) in sizes.items():
            if ids is not None and pieces != ids:
                raise ValueError(
                    f"The model has {ids} {side} pieces, but the vocabulary has {pieces}: use the "
                    "vocabulary that it was trained with."
                )

    def check_weights(self) -> None:
        """Raises `RuntimeError` if weights were added or replaced since the model was split."""
        known = set(map(id, self.variables))
        if any(id(each) not in known for each in self.whole.weights):
            raise RuntimeError(
                "The model has other weights than when this Translator was made, as after "
                "enable_lora or model.quantize: make a new Translator of it."
            )

    @property
    def tied_embedding(self) -> TiedEmbedding | None:
        """The target embedding if it is tied to the output layer, otherwise `None`."""
        return self.output if isinstance(self.output, TiedEmbedding) else None


class _AttachedMask(keras.layers.Layer):
    """The mask that Keras attached to `(batch, length, units)`: bool, `(batch, length)`."""

    def call(self, inputs: Any, mask: Any = None) -> Any:
        return ops.ones(ops.shape(inputs)[:2], dtype="bool") if mask is None else mask

    def compute_output_spec(self, inputs: Any, mask: Any = None) -> keras.KerasTensor:
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")

    def compute_mask(self, inputs: Any, previous_mask: Any) -> None:
        """No mask is attached to the mask."""


def _node(tensor: Any) -> tuple[Any, Any]:
    """The operation that produced a tensor, and its node in the graph."""
    history = tensor._keras_history
    return history.operation, history.operation._inbound_nodes[history.node_index]


def _ancestors(tensors: list[Any]) -> list[Any]:
    """All tensors that the given ones depend on, themselves included."""
    found: dict[int, Any] = {}
    waiting = list(tensors)
    while waiting:
        tensor = waiting.pop()
        if id(tensor) not in found:
            found[id(tensor)] = tensor
            waiting.extend(_node(tensor)[1].input_tensors)
    return list(found.values())


def _call_of(decoder: Any, logits: Any) -> tuple[dict[str, Any], list[Any]]:
    """The decoder's call that logits depend on: its arguments by name, and its output tensors."""
    for operation, node in map(_node, _ancestors([logits])):
        if operation is decoder:
            given = node.arguments
            bound = inspect.signature(decoder.call).bind(*given.args, **given.kwargs)
            return bound.arguments, node.output_tensors
    raise ValueError(f"The logits do not depend on the AttentionDecoder of the model. {NEEDED}")


def _only_input(tensors: list[Any], name: str) -> Any:
    inputs = [each for each in _ancestors(tensors) if not _node(each)[1].input_tensors]
    if len(inputs) != 1:
        names = ", ".join(sorted(each.name for each in inputs))
        raise ValueError(
            f"The {name} of the AttentionDecoder depend on {len(inputs)} inputs of the model "
            f"({names}), expected one, the ids: compute masks from them, as in "
            f"mask=source != 0. {NEEDED}"
        )
    return inputs[0]


def _logits(model: keras.Model, candidates: list[Any]) -> Any:
    named = model.output
    if isinstance(named, dict) and "logits" in named:
        return named["logits"]
    if len(candidates) != 1:
        raise ValueError(
            f"The model has {len(candidates)} outputs that could be the logits: name them, "
            'as in keras.Model(inputs, {"logits": logits, "attention": attention}).'
        )
    return candidates[0]


def _output(logits: Any) -> tuple[Any, Any]:
    """The output layer and its input, if a shortlist can select its columns."""
    tensor = logits
    while True:
        operation, node = _node(tensor)
        # A subclass may compute something else from the same kernel.
        linear = type(operation) is keras.layers.Dense and (
            operation.activation is keras.activations.linear
        )
        reverse = type(operation) is TiedEmbedding and node.arguments.kwargs.get("reverse")
        if linear or reverse:
            return operation, node.input_tensors[0]
        # Casts and dropout do not affect the ranking at inference.
        passed = isinstance(operation, keras.layers.Dropout) or type(operation).__name__ == "Cast"
        if not passed or len(node.input_tensors) != 1:
            return None, logits
        tensor = node.input_tensors[0]
