#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0 and jax 0.10.2, Python 3.11.
#
# Behaviour: the output of a normalization layer does not change if all inputs are shifted by the same
# constant, nor does the gradient of a loss of it with respect to the inputs. The derivative of this
# gradient along (1, 1, 1, 1) is therefore 0. On TensorFlow, nested gradient tapes give another
# number for LayerNormalization, GroupNormalization and BatchNormalization in training, without an
# error. The gradient is the same as on JAX, and its central difference along (1, 1, 1, 1) is 0. The
# layers call `keras.ops.moments`, in which the mean inside the variance is a constant for gradients
# (`tf.nn.moments`). This is exact for first derivatives only. On JAX, and with `keras.ops.mean` and
# `keras.ops.var`, second derivatives are right.
#
# Output seen (inputs 1, 2, 4, 8; loss: sum of the fourth powers of the normalized inputs; columns:
# the gradient, then its central difference and its derivative by autodiff along (1, 1, 1, 1), of
# which all four entries are equal):
#   tensorflow  LayerNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
#   tensorflow  GroupNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
#   tensorflow  BatchNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
#   tensorflow  mean and var          0.32  0.46 -1.24  0.47   0.00   0.00
#   jax         LayerNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
#   jax         GroupNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
#   jax         BatchNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
#   jax         mean and var          0.32  0.46 -1.24  0.47   0.00   0.00
#
# The guess before: a layer with exact gradients has exact second derivatives, which gradient
# penalties and Hessian-vector products need, and the same on every backend.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 \
  tensorflow==2.21.0
cd "$folder"
export JAX_PLATFORMS=cpu JAX_ENABLE_X64=1 TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > shift.py <<'PYTHON'
import keras
import numpy as np
from keras import layers, ops

INPUTS = np.array([[1.0, 2.0, 4.0, 8.0]])
SHIFT = np.ones_like(INPUTS)
STEP = 1e-2
backend = keras.backend.backend()


class MeanAndVar(layers.Layer):
    def call(self, inputs):
        mean, variance = ops.mean(inputs, -1, keepdims=True), ops.var(inputs, -1, keepdims=True)
        return (inputs - mean) * ops.rsqrt(variance + 1e-3)


class OverTheBatch(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalization = layers.BatchNormalization(dtype=self.dtype)

    def build(self, shape):
        self.normalization.build((shape[1], shape[0]))

    def call(self, inputs):
        return ops.transpose(self.normalization(ops.transpose(inputs), training=True))


def derivatives(layer):
    def loss(inputs):
        with keras.StatelessScope():
            return ops.sum(layer(inputs) ** 4)

    if backend == "tensorflow":
        import tensorflow as tf

        def gradient(inputs):
            inputs = tf.convert_to_tensor(inputs)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                value = loss(inputs)
            return tape.gradient(value, inputs)

        inputs = tf.constant(INPUTS)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            along = tf.reduce_sum(gradient(inputs) * SHIFT)
        second = tape.gradient(along, inputs)
    else:
        import jax

        gradient = jax.grad(loss)
        _, second = jax.jvp(gradient, (INPUTS,), (SHIFT,))
    difference = gradient(INPUTS + STEP * SHIFT) - gradient(INPUTS - STEP * SHIFT)
    return [np.array(found)[0] for found in (gradient(INPUTS), difference / (2 * STEP), second)]


for name, layer in {
    "LayerNormalization": layers.LayerNormalization(dtype="float64"),
    "GroupNormalization": layers.GroupNormalization(1, dtype="float64"),
    "BatchNormalization": OverTheBatch(dtype="float64"),
    "mean and var": MeanAndVar(dtype="float64"),
}.items():
    layer.build(INPUTS.shape)
    gradient, difference, second = derivatives(layer)
    # The last two have equal entries; adding 0.0 turns -0.0 into 0.0.
    assert np.ptp(difference) < 1e-3 and np.ptp(second) < 1e-3
    numbers = [*gradient, difference[0], second[0]]
    columns = [f"{round(float(number), 2) + 0.0:5.2f}" for number in numbers]
    print(f"{backend:11} {name:20} {' '.join(columns[:4])}  {columns[4]}  {columns[5]}")
PYTHON
for backend in tensorflow jax; do
  KERAS_BACKEND=$backend venv/bin/python shift.py
done | tee found
diff found - <<'FOUND'
tensorflow  LayerNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
tensorflow  GroupNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
tensorflow  BatchNormalization    0.32  0.46 -1.24  0.47   0.00  -1.06
tensorflow  mean and var          0.32  0.46 -1.24  0.47   0.00   0.00
jax         LayerNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
jax         GroupNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
jax         BatchNormalization    0.32  0.46 -1.24  0.47   0.00   0.00
jax         mean and var          0.32  0.46 -1.24  0.47   0.00   0.00
FOUND
