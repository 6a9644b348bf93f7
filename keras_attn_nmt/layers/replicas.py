"""Training on several devices at once (`tf.distribute`): what has to be known of all replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def share_of_tokens(tokens: Any) -> Any:
    """How many times the mean over all replicas the tokens of this one are.

    A loss that is divided by its own tokens, times this, is one divided by the mean number of
    tokens, so that the mean of all replicas' losses is that of their tokens together.

    Args:
        tokens: Number of tokens of this replica, float32, a scalar.

    Returns:
        float32, a scalar; 1 where there are not several replicas.
    """
    replica = _replica()
    if replica is None:
        return 1.0
    import tensorflow as tf

    mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tokens)
    return tf.math.divide_no_nan(tokens, mean)


def clip_together(clip: Callable[[list], list], gradients: list) -> list:
    """Clips the sum of all replicas' gradients, where Keras would clip those of each replica.

    Args:
        clip: Takes and returns gradients.
        gradients: Of this replica, tensors or `None`.

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
    """TensorFlow's context of this replica, or `None` where there are not several.

    JAX reduces over the whole batch, wherever its parts are.
    """
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    return None if replica is None or replica.num_replicas_in_sync == 1 else replica
