"""Training metrics over non-padding tokens."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt.layers.losses import real_tokens, token_cross_entropy


class _TokenMean(keras.metrics.Mean):
    """Mean over the tokens of all batches, whatever their width."""

    def __init__(self, name: str, dtype: Any = "float32", **kwargs: Any):
        # Not `floatx`, which may be float16: its sums of tokens end at 65,504.
        super().__init__(name=name, dtype=dtype, **kwargs)

    def update_state(self, values: Any, weights: Any) -> None:
        # Of more than one dimension, Keras takes the mean of each row first, padding included: a
        # token of a short batch would count more.
        super().update_state(ops.reshape(values, [-1]), ops.reshape(weights, [-1]))


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class TokenAccuracy(_TokenMean):
    """Share of non-padding tokens whose label has the highest logit.

    Arguments of `update_state` are those of `MaskedCrossentropy`; the result is in [0, 1].
    """

    def __init__(self, name: str = "token_accuracy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._direction = "up"  # For callbacks with `mode="auto"`.

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        hits = ops.equal(ops.argmax(y_pred, axis=-1), ops.cast(y_true, "int32"))
        super().update_state(ops.cast(hits, "float32"), real_tokens(y_true, sample_weight))


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class Perplexity(_TokenMean):
    """Exponential of the mean cross-entropy of non-padding tokens, without label smoothing.

    Arguments of `update_state` are those of `MaskedCrossentropy`; the result is at least 1.
    """

    def __init__(self, name: str = "perplexity", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self._direction = "down"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        entropy = token_cross_entropy(y_true, y_pred)
        super().update_state(entropy, real_tokens(y_true, sample_weight))

    def result(self) -> Any:
        return ops.exp(super().result())
