"""Adam with a fused update, and Adadelta; both clip gradients alike on all backends."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_attn_nmt.layers.replicas import clip_together


class _DenseGradients(keras.optimizers.Optimizer):
    """Adds up the gradients of an embedding's ids that occur more than once, and those of replicas
    before they are clipped.

    Keras on TensorFlow takes norm and squares of the single occurrences.
    """

    def _clip_gradients(self, grads: list) -> list:
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            grads = [None if each is None else tf.convert_to_tensor(each) for each in grads]
        if not (self.clipnorm or self.global_clipnorm or self.clipvalue):
            return grads
        return clip_together(super()._clip_gradients, grads)


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class ClippedAdadelta(_DenseGradients, keras.optimizers.Adadelta):
    """`keras.optimizers.Adadelta`, with the same gradients of embeddings on every backend.

    References:
        [Zeiler 2012](https://arxiv.org/abs/1212.5701)
    """


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class FusedAdam(_DenseGradients, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with TensorFlow's fused kernel.

    The same update in one pass over a variable instead of about ten, which took 5 % of a training
    step on a CPU. On other backends, and with AMSGrad, Keras' implementation is used. Under
    `tf.distribute.MirroredStrategy`, gradients are clipped after summation, as on a single device.
    Gradients of an id that occurs more than once are added up, and clipped by the norm of the whole
    table's, as on other backends; Keras on TensorFlow squares and clips those of the occurrences.

    References:
        [Kingma & Ba 2015](https://arxiv.org/abs/1412.6980)
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index = self._get_variable_index(variable)
        dtype = variable.dtype
        step = ops.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            # This is a TensorFlow variable, not a Keras variable.
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(ops.cast(self.beta_1, dtype), step),
            beta2_power=ops.power(ops.cast(self.beta_2, dtype), step),
            lr=ops.cast(learning_rate, dtype),
            beta1=ops.cast(self.beta_1, dtype),
            beta2=ops.cast(self.beta_2, dtype),
            epsilon=ops.cast(self.epsilon, dtype),
            grad=tf.cast(tf.convert_to_tensor(gradient), dtype),
        )
