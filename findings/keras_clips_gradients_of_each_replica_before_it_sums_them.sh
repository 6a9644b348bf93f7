#!/usr/bin/env bash
# tensorflow 2.21.0 with keras 3.15.1, Python 3.11, two logical CPU devices.
#
# Behaviour: under tf.distribute.MirroredStrategy, an optimizer with global_clipnorm clips the
# gradient of each replica by itself and sums them afterwards. A step with two replicas whose
# gradients differ is another one than the step that one device takes with the same batch, though
# without clipping both are the same. clipnorm and clipvalue are applied at the same place.
#
# Output seen (largest difference between the weights after one step of SGD):
#   no clipping          0
#   global_clipnorm=0.1  0.063
#
# The guess before: gradients are summed over replicas first, as one device would have them, and
# the sum is clipped.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
# A large gradient for the first replica, a small one in another direction for the second.
x, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[9.0], [1.0]])


def stepped(strategy, **clip):
    with strategy.scope():
        model = keras.Sequential(
            [keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="zeros")]
        )
        model.compile(keras.optimizers.SGD(1.0, **clip), "mse")
    model.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    return model.get_weights()[0]


found = []
for clip in ({}, {"global_clipnorm": 0.1}):
    difference = np.abs(stepped(mirrored, **clip) - stepped(tf.distribute.get_strategy(), **clip))
    found.append(difference.max())
    name = "global_clipnorm=0.1" if clip else "no clipping"
    print(f"{name:20} {found[-1]:.2g}")
raise SystemExit(not (found[0] < 1e-5 and found[1] > 0.01))
PYTHON
