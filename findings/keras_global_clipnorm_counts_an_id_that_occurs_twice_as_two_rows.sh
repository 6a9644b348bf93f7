#!/usr/bin/env bash
# tensorflow 2.21.0 with keras 3.15.1, Python 3.11.
#
# Behaviour: with global_clipnorm=1 and SGD of learning rate 1, a step may be longer than 1. The
# gradient of keras.layers.Embedding is tf.IndexedSlices with one row for each id of the batch, and
# the norm is taken of these rows before the rows of equal ids are summed. Four times the same id
# gives a step of norm 2, four different ids one of norm 1.
#
# Output seen (norm of the change of the embeddings in one step):
#   ids 1 2 3 4  1.0
#   ids 1 1 1 1  2.0
#
# The guess before: the norm is that of the gradient, so no step is longer than 1, as it is with
# the same lookup written as a product with one-hot vectors (1.0 for both).
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


def step(ids, one_hot=False):
    inputs = keras.Input((4,), dtype="int32")
    if one_hot:
        encoded = keras.layers.CategoryEncoding(5, "one_hot")(keras.layers.Reshape((4, 1))(inputs))
        lookup = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        embedded = lookup(encoded)
    else:
        embedded = keras.layers.Embedding(5, 1, embeddings_initializer="zeros")(inputs)
    model = keras.Model(inputs, keras.ops.sum(embedded, axis=(1, 2)))
    model.compile(keras.optimizers.SGD(1.0, global_clipnorm=1.0), "mse")
    model.fit(np.array([ids]), np.array([100.0]), verbose=0)
    return float(np.linalg.norm(model.get_weights()[0]))


found = [step(ids, one_hot) for one_hot in (False, True) for ids in ([1, 2, 3, 4], [1, 1, 1, 1])]
print(f"ids 1 2 3 4  {found[0]:.1f}\nids 1 1 1 1  {found[1]:.1f}")
print(f"one-hot      {found[2]:.1f}, {found[3]:.1f}")
raise SystemExit(not np.allclose(found, [1, 2, 1, 1], atol=1e-3))
PYTHON
