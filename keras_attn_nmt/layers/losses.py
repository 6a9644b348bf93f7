"""Training losses: masked cross-entropy with label smoothing, R-Drop, guided alignment."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt.layers.replicas import share_of_tokens
from keras_attn_nmt.text.special_ids import PAD


def token_cross_entropy(labels: Any, logits: Any, label_smoothing: float = 0.0) -> Any:
    """Cross-entropy of each token, in nats.

    With label smoothing (Szegedy et al. 2016, section 7) the target distribution is
    `(1 - label_smoothing)` on the label plus `label_smoothing` spread evenly over the vocabulary.

    Args:
        labels: Ids, int, `(batch, target_length)`.
        logits: `(batch, target_length, vocabulary_size)`.
        label_smoothing: Share of the probability that is spread, in [0, 1).

    Returns:
        float32, `(batch, target_length)`; padding is not masked.
    """
    # Keras on JAX makes floats of integers here if `floatx` is bfloat16.
    labels = ops.cast(ops.maximum(ops.cast(labels, "int32"), PAD), "int32")

    # Hand-written gradient, softmax minus target distribution: autodiff of the gather is a
    # scatter-add over the vocabulary, a quarter of a training step on a CPU. The gradient takes the
    # exponentials again, so that they are not kept.
    @ops.custom_gradient
    def cross_entropy(logits: Any) -> tuple[Any, Any]:
        normalizer, picked, mean = _reductions(labels, logits)
        wanted = picked
        if label_smoothing:
            wanted = (1 - label_smoothing) * picked + label_smoothing * mean

        def gradient(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            size = logits.shape[-1]
            result = ops.exp(logits - ops.expand_dims(normalizer, -1))
            result = result * ops.expand_dims(upstream, -1)
            if label_smoothing:
                result = result - ops.expand_dims(upstream * (label_smoothing / size), -1)
            return _add_at_labels(result, labels, upstream * (label_smoothing - 1))

        return normalizer - wanted, gradient

    return cross_entropy(ops.cast(logits, "float32"))


def _add_at_labels(tensor: Any, labels: Any, values: Any) -> Any:
    """Adds a value to the label of each position.

    Args:
        tensor: `(batch, target_length, vocabulary_size)`.
        labels: `(batch, target_length)`.
        values: `(batch, target_length)`.
    """
    size = tensor.shape[-1]
    flat, values = ops.reshape(labels, (-1,)), ops.reshape(values, (-1,))
    index = ops.stack([ops.arange(ops.shape(flat)[0], dtype="int32"), flat], axis=-1)
    added = ops.scatter_update(ops.reshape(tensor, (-1, size)), index, values, reduction="add")
    return ops.reshape(added, (*ops.shape(labels), size))


def _reductions(labels: Any, logits: Any) -> tuple[Any, Any, Any]:
    """What the loss needs of the logits, each float32 `(batch, target_length)`.

    Returns:
        The logarithm of the sum of exponentials, the logit of the label, and the mean.
    """

    # Keras rejects an empty batch without `initial`.
    largest = ops.max(logits, axis=-1, keepdims=True, initial=float("-inf"))
    total = ops.sum(ops.exp(logits - largest), axis=-1)
    picked = ops.take_along_axis(logits, ops.expand_dims(labels, -1), axis=-1)
    normalizer = ops.log(total) + ops.squeeze(largest, -1)
    return normalizer, ops.squeeze(picked, -1), ops.mean(logits, axis=-1)


def symmetric_divergence(one: Any, other: Any) -> Any:
    """Symmetric KL divergence of two distributions, `(KL(p || q) + KL(q || p)) / 2`, in nats.

    Args:
        one: Logits of p, `(..., vocabulary_size)`.
        other: Logits of q, of the same shape.

    Returns:
        float32, `(...)`.
    """

    # Hand-written gradient: automatic differentiation would keep more tensors of the size of the
    # logits, and recompute exponentials.
    @ops.custom_gradient
    def divergence(one: Any, other: Any) -> tuple[Any, Any]:
        log_p, log_q = ops.log_softmax(one, axis=-1), ops.log_softmax(other, axis=-1)
        p, q = ops.exp(log_p), ops.exp(log_q)
        log_ratio = log_p - log_q
        p_from_q = ops.sum(p * log_ratio, axis=-1, keepdims=True)
        q_from_p = -ops.sum(q * log_ratio, axis=-1, keepdims=True)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
            upstream = args[0] if upstream is None else upstream
            half = ops.expand_dims(upstream, -1) / 2
            by_one = p * (log_ratio - p_from_q) + p - q
            by_other = -q * (log_ratio + q_from_p) + q - p
            return half * by_one, half * by_other

        return ops.squeeze(p_from_q + q_from_p, -1) / 2, gradient

    return divergence(ops.cast(one, "float32"), ops.cast(other, "float32"))


def real_tokens(labels: Any, sample_weight: Any = None) -> Any:
    """Weight of each token: 0 at padding, otherwise 1 or the sample weight.

    Args:
        labels: Ids, int, `(batch, target_length)`; 0 or less, such as -100, at padding.
        sample_weight: Optional weights, `(batch,)` or `(batch, target_length)`.

    Returns:
        float32, `(batch, target_length)`.
    """
    weights = ops.cast(ops.greater(ops.cast(labels, "int32"), PAD), "float32")
    if sample_weight is None:
        return weights
    sample_weight = ops.cast(sample_weight, "float32")
    if getattr(sample_weight.shape, "rank", 0) is None:  # After calls with both ranks.
        rows = ops.shape(weights)[0]
        width = ops.size(sample_weight) // ops.maximum(rows, 1)
        sample_weight = ops.reshape(sample_weight, (rows, width))
    elif len(sample_weight.shape) == 1:
        sample_weight = ops.expand_dims(sample_weight, -1)
    return weights * sample_weight


def _shaped(labels: Any, known: Any, shape: Any) -> Any:
    """Labels of that shape, part of which may be known; others would be repeated over positions.

    Raises:
        ValueError: They have another shape, as far as it is known. Else an error of the backend.
    """
    if getattr(labels.shape, "rank", 0) is not None:
        given, wanted = tuple(labels.shape), tuple(known)
        if len(given) != len(wanted) or any(
            None not in sizes and sizes[0] != sizes[1] for sizes in zip(given, wanted, strict=True)
        ):
            raise ValueError(f"Expected labels of shape {wanted}, as the predictions, got {given}.")
    return ops.reshape(labels, shape)


# Divides by the sum of the weights, which are 0 at padding.
REDUCTION = "mean_with_sample_weight"


class _TokenLoss(keras.losses.Loss):
    """A loss of tokens, by default the mean over the global batch, across all replicas."""

    def __init__(
        self, reduction: str | None = REDUCTION, name: str | None = None, dtype: Any = "float32"
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        # Keras casts labels to it, and half precision has not all of their ids.
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype of a loss must be float32 or float64, got {self.dtype}.")

    def _reduced(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        loss = super().__call__(y_true, y_pred, weights)
        if self.reduction != REDUCTION:
            return loss
        return loss * share_of_tokens(ops.sum(weights))

    def get_config(self) -> dict[str, Any]:
        return {"reduction": self.reduction, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class MaskedCrossentropy(_TokenLoss):
    """Cross-entropy with label smoothing, averaged over non-padding tokens.

    The loss is independent of padding: unlike Keras' losses, it divides by the number of non-zero
    labels. Under `tf.distribute.MirroredStrategy`, tokens are counted across replicas, so that
    training is equivalent to a single device.

    Args:
        label_smoothing: Probability mass spread over the vocabulary, in [0, 1).
        name: Name of the loss.
        reduction: As of every Keras loss: `"mean_with_sample_weight"` divides by the sum of the
            weights of labels other than 0, which is their number without `sample_weight`; `"sum"`
            adds up, `None` gives `(batch, target_length)`.
        dtype: `"float32"` or `"float64"`.

    Call arguments:
        y_true: Labels, int, `(batch, target_length)`; 0 or less at padding.
        y_pred: Logits, `(batch, target_length, vocabulary_size)`.
        sample_weight: Optional weights, `(batch,)` or `(batch, target_length)`. They count against
            each other within a batch: equal ones change nothing, unless the reduction is `"sum"`.

    Returns:
        A float32 scalar, in nats per token; 0 if all tokens are padding.

    Raises:
        ValueError: `label_smoothing` is not in [0, 1), or the labels have another shape.

    Example:
        >>> loss = MaskedCrossentropy()
        >>> float(loss(keras.ops.array([[1, 0]]), keras.ops.zeros((1, 2, 4))))  # ln 4
        1.3862943649291992

    References:
        [Szegedy et al. 2016](https://arxiv.org/abs/1512.00567)
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str = "masked_crossentropy",
        reduction: str | None = REDUCTION,
        dtype: Any = "float32",
    ):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}.")
        super().__init__(reduction, name, dtype)
        self.label_smoothing = label_smoothing

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, y_pred = map(ops.convert_to_tensor, (y_true, y_pred))
        y_true = _shaped(y_true, y_pred.shape[:-1], ops.shape(y_pred)[:-1])
        return self._reduced(y_true, y_pred, real_tokens(y_true, sample_weight))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return token_cross_entropy(y_true, y_pred, self.label_smoothing)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class RDropCrossentropy(MaskedCrossentropy):
    """`MaskedCrossentropy` plus the KL divergence between two dropout passes (R-Drop).

        L = cross-entropy + r_drop * (KL(p || q) + KL(q || p)) / 2

    p and q are the predictions of two forward passes with different dropout masks. The two halves
    of a batch must hold the same sentences in the same order, in training and validation, as
    `BatchedPairs(dropout_passes=2)` creates them. Otherwise, as on replicas that each get a part of
    the batch, the loss is NaN. Call arguments and result are those of `MaskedCrossentropy`; the
    divergence is averaged over non-padding tokens as well.

    Args:
        label_smoothing: See `MaskedCrossentropy`.
        r_drop: Weight of the divergence: half of the paper's alpha, as the cross-entropy is the
            mean over both passes here and their sum in the paper.
        name: Name of the loss.
        shards: Number of parts of the batch that each consist of two such halves, as the rows of
            several JAX devices (`BatchedPairs.shard`). Needs a static batch size if above 1.

    Example:
        >>> loss = RDropCrossentropy(r_drop=1.0)
        >>> labels, logits = keras.ops.array([[1, 0]] * 2), keras.ops.zeros((2, 2, 4))
        >>> float(loss(labels, logits))  # ln 4, identical passes
        1.3862943649291992

    Raises:
        ValueError: `label_smoothing` is not in [0, 1), `r_drop` is negative or not finite, or a
            static batch size is odd.

    References:
        [Wu et al. 2021](https://arxiv.org/abs/2106.14448), section 2
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        r_drop: float = 0.5,
        name: str = "r_drop_crossentropy",
        reduction: str | None = REDUCTION,
        dtype: Any = "float32",
        shards: int = 1,
    ):
        if not 0 <= r_drop < float("inf"):
            raise ValueError(f"r_drop must be a number of at least 0, got {r_drop!r}.")
        super().__init__(label_smoothing, name, reduction, dtype)
        if shards < 1:
            raise ValueError(f"shards must be at least 1, got {shards!r}.")
        self.r_drop = r_drop
        self.shards = shards

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if self.shards > 1:
            return self._of_shards(y_true, y_pred)
        sentences = y_pred.shape[0]
        if sentences is not None and sentences % 2:
            raise ValueError(
                f"RDropCrossentropy requires an even batch size, got {sentences}: "
                "create batches with BatchedPairs(dropout_passes=2)."
            )
        size = ops.shape(y_pred)[0]
        half = (size + 1) // 2
        same = ops.all(ops.equal(y_true[:half], y_true[size - half :]))
        divergence = symmetric_divergence(y_pred[:half], y_pred[size - half :])
        both = ops.concatenate([divergence, divergence], axis=0)[:size]
        losses = super().call(y_true, y_pred) + self.r_drop * both
        return ops.where(ops.logical_and(same, size % 2 == 0), losses, float("nan"))

    def _of_shards(self, y_true: Any, y_pred: Any) -> Any:
        """`call` for several shards, each with two halves, without exchanging their rows."""

        def halves(tensor: Any) -> tuple[Any, Any]:
            both = ops.reshape(tensor, (self.shards, 2, -1, *tensor.shape[1:]))
            return both[:, 0], both[:, 1]

        one, other = halves(y_true)
        divergence = symmetric_divergence(*halves(y_pred))
        both = ops.reshape(ops.stack([divergence, divergence], axis=1), ops.shape(y_true))
        losses = super().call(y_true, y_pred) + self.r_drop * both
        return ops.where(ops.all(ops.equal(one, other)), losses, float("nan"))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "r_drop": self.r_drop, "shards": self.shards}


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class GuidedAlignment(_TokenLoss):
    """Negative log attention mass on gold-aligned source tokens, for the output `attention`.

        -1/T sum_i log sum_{j: A_ij > 0} alpha_ij

    This is the cross-entropy of Chen et al. at the word level: the distribution over the pieces of
    the aligned words is free, as uniform attention over them degrades translation. It is averaged
    over target positions with an alignment. Chen et al. add it to the translation loss:

        model.compile(
            optimizer,
            loss={"logits": MaskedCrossentropy(), "attention": GuidedAlignment()},
            loss_weights={"logits": 1.0, "attention": 0.5},
        )

    Args:
        name: Name of the loss.
        reduction: As of every Keras loss: `"mean_with_sample_weight"` divides by the number of
            target positions with an alignment, or the sum of their weights; `"sum"` adds up,
            `None` gives `(batch, target_length)`.
        dtype: `"float32"` or `"float64"`.

    Call arguments:
        y_true: A, `(batch, target_length, source_length)`, above 0 where there is a link.
        y_pred: Attention, of the same shape.
        sample_weight: Optional weights, `(batch,)` or `(batch, target_length)`.

    Returns:
        A float32 scalar, in nats per target position; 0 without alignments.

    Example:
        >>> uniform = keras.ops.full((1, 1, 4), 0.25)
        >>> float(GuidedAlignment()(keras.ops.one_hot([[2]], 4), uniform))  # ln 4
        1.3862903118133545

    References:
        [Chen et al. 2016](https://arxiv.org/abs/1607.01628), section 3.2
    """

    def __init__(
        self,
        name: str = "guided_alignment",
        reduction: str | None = REDUCTION,
        dtype: Any = "float32",
    ):
        super().__init__(reduction, name, dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        y_true, y_pred = map(ops.convert_to_tensor, (y_true, y_pred))
        y_true = _shaped(y_true, y_pred.shape, ops.shape(y_pred))
        aligned = ops.any(ops.greater(ops.cast(y_true, "float32"), 0), axis=-1)
        return self._reduced(y_true, y_pred, real_tokens(aligned, sample_weight))

    def call(self, y_true: Any, y_pred: Any) -> Any:
        right = ops.sum(ops.where(ops.greater(y_true, 0), y_pred, 0.0), axis=-1)
        # Avoids an infinite loss at 0 and exploding gradients near it.
        return -ops.log(right + 1e-6)
