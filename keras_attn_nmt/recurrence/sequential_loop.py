"""A loop whose iterations do not overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops


def sequential_loop(steps: Any, body: Callable[[Any, Any], Any], start: Any) -> Any:
    """`ops.fori_loop(0, steps, body, start)` with the memory of one iteration.

    TensorFlow begins up to ten iterations at once, as far as they do not depend on the carry, and
    their temporary tensors exist at the same time.

    Args:
        steps: Number of iterations, an int scalar.
        body: Function of index and carry to the next carry.
        start: The first carry.

    Returns:
        The last carry.
    """
    if keras.backend.backend() != "tensorflow":
        return ops.fori_loop(0, steps, body, start)
    import tensorflow as tf

    return tf.while_loop(
        lambda index, _: index < steps,
        lambda index, carry: (index + 1, body(index, carry)),
        (0, start),
        parallel_iterations=1,
    )[1]
