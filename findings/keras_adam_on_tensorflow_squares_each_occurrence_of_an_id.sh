#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0 and jax 0.10.2, Python 3.11.
#
# Behaviour: one step of Adam from zero moments changes a weight by the learning rate. A row of an
# embedding whose id occurs three times in the batch is changed by the square root of three times as
# much on TensorFlow: the gradient is a `tf.IndexedSlices` with three rows, of which the second
# moment gets the sum of the squares, not the square of the sum. On JAX, and on TensorFlow with a
# clip norm too large to clip anything, the row is changed by the learning rate.
#
# Output seen (learning rate 0.01):
#   tensorflow: 0.0173 where the id occurs three times, 0.0100 where once
#   tensorflow, global_clipnorm=1e9: 0.0100 and 0.0100
#   jax: 0.0100 and 0.0100
#
# The guess before: an embedding is trained like the matrix by which one-hot vectors are multiplied,
# and alike on every backend.
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
cat > step.py <<'PYTHON'
import keras
import numpy as np


def steps(**options):
    model = keras.Sequential([keras.layers.Embedding(4, 1, embeddings_initializer="ones")])
    model.compile(keras.optimizers.Adam(0.01, **options), "mse")
    model.fit(np.array([[1, 1, 1, 2]]), np.zeros((1, 4, 1)), verbose=0)
    changes = 1 - model.get_weights()[0][:, 0]
    return changes[1], changes[2]


backend = keras.backend.backend()
thrice, once = steps()
if backend == "tensorflow":
    print(f"tensorflow: {thrice:.4f} where the id occurs three times, {once:.4f} where once")
    print("tensorflow, global_clipnorm=1e9: {:.4f} and {:.4f}".format(*steps(global_clipnorm=1e9)))
else:
    print(f"{backend}: {thrice:.4f} and {once:.4f}")
PYTHON
for backend in tensorflow jax; do
  KERAS_BACKEND=$backend venv/bin/python step.py
done | tee found
diff found - <<'FOUND'
tensorflow: 0.0173 where the id occurs three times, 0.0100 where once
tensorflow, global_clipnorm=1e9: 0.0100 and 0.0100
jax: 0.0100 and 0.0100
FOUND
