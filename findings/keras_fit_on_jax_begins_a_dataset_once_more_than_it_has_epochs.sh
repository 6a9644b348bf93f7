#!/usr/bin/env bash
# keras 3.15.1, jax 0.10.2 and tensorflow 2.21.0 (for tf.data), Python 3.11.
#
# Behaviour: the first `fit` of a compiled model on JAX begins a `tf.data.Dataset` once before the
# first epoch, takes a batch of it to build the metrics and the optimizer, and drops it. On
# TensorFlow, `fit` begins it once an epoch; so does a later `fit` on JAX. A shuffle fills its buffer
# for that one batch.
#
# Output seen (the shuffle buffer has 6 of 8 batches):
#   tensorflow: 2 epochs begin the dataset 2 times and read 16 batches, 2 more epochs 2 times and 16 batches
#   jax: 2 epochs begin the dataset 3 times and read 23 batches, 2 more epochs 2 times and 16 batches
#
# The guess before: two epochs are two passes over the dataset, whatever the backend.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 \
  tensorflow==2.21.0
cd "$folder"
export JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3
cat > fit.py <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

begun = read = 0


def batches():
    global begun, read
    begun += 1
    for _ in range(8):
        read += 1
        yield np.ones((2, 3), "float32"), np.ones((2, 1), "float32")


shapes = tf.TensorSpec((2, 3)), tf.TensorSpec((2, 1))
dataset = tf.data.Dataset.from_generator(batches, output_signature=shapes).shuffle(6)
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(dataset, epochs=2, verbose=0)
first = begun, read
model.fit(dataset, epochs=2, verbose=0)
print(
    f"{keras.backend.backend()}: 2 epochs begin the dataset {first[0]} times and read {first[1]} "
    f"batches, 2 more epochs {begun - first[0]} times and {read - first[1]} batches"
)
PYTHON
for backend in tensorflow jax; do
  KERAS_BACKEND=$backend venv/bin/python fit.py
done | tee found
diff found - <<'FOUND'
tensorflow: 2 epochs begin the dataset 2 times and read 16 batches, 2 more epochs 2 times and 16 batches
jax: 2 epochs begin the dataset 3 times and read 23 batches, 2 more epochs 2 times and 16 batches
FOUND
