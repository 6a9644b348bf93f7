"""Reductions across replicas for training on several devices (`tf.distribute`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def share_of_tokens(tokens: Any) -> Any:
    """Number of tokens of this replica relative to the mean over all replicas.

    Multiplying a per-replica token mean by it makes the mean over replicas equal to the global
    token mean.

    Args:
        tokens: Number of tokens of this replica, float32 scalar.

    Returns:
        float32 scalar; 1 for a single replica.
    """
    replica = _replica()
    if replica is None:
        return 1.0
    import tensorflow as tf

    mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tokens)
    return tf.math.divide_no_nan(tokens, mean)


def clip_together(clip: Callable[[list], list], gradients: list) -> list:
    """Clips the sum of all replicas' gradients; Keras would clip per replica.

    Args:
        clip: Function from gradients to clipped gradients.
        gradients: Gradients of this replica, tensors or `None`.

    Returns:
        Gradients whose sum over all replicas is the clipped sum.
    """
    replica = _replica()
    if replica is None:
        return clip(gradients)
    import tensorflow as tf

    present = [tf.convert_to_tensor(each) for each in gradients if each is not None]
    total = iter(replica.all_reduce(tf.distribute.ReduceOp.SUM, present))
    clipped = clip([None if each is None else next(total) for each in gradients])
    count = replica.num_replicas_in_sync
    return [None if each is None else each / count for each in clipped]


def _replica() -> Any | None:
    """TensorFlow's replica context, or `None` for a single replica.

    JAX reduces over the global batch itself.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return None if replica is None or replica.num_replicas_in_sync == 1 else replica
