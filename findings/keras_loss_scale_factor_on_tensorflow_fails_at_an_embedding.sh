#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0 and jax 0.10.2, Python 3.11.
#
# Behaviour: an optimizer with loss_scale_factor multiplies the loss by the factor and divides the
# gradients by it. On TensorFlow, the first step of a model with an Embedding raises TypeError
# (unsupported operand type(s) for /: 'IndexedSlices' and 'float'): the gradient of an Embedding is
# tf.IndexedSlices, which the base optimizer divides with `/`. A model without an Embedding trains,
# and so does the same model with LossScaleOptimizer, with clipnorm or on JAX.
#
# Output seen:
#   tensorflow  Embedding, loss_scale_factor  TypeError
#   tensorflow  Embedding, LossScaleOptimizer trained
#   tensorflow  Embedding, clipnorm           trained
#   tensorflow  Dense, loss_scale_factor      trained
#   jax         Embedding, loss_scale_factor  trained
#
# The guess before: an option of every optimizer works with every layer of Keras, as clipnorm and
# LossScaleOptimizer do.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 \
  tensorflow==2.21.0
cd "$folder"
export JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > scale.py <<'PYTHON'
import keras
import numpy as np
from keras import layers, optimizers

backend = keras.backend.backend()


def train(layer, optimizer):
    model = keras.Sequential([layer])
    model.compile(optimizer, "mse")
    inputs = np.ones((2, 3), "int32")
    before = float(np.array(model(inputs)).sum())
    try:
        model.fit(inputs, np.full(model.output_shape[1:], 5.0)[None].repeat(2, 0), verbose=0)
    except TypeError as error:
        assert "'IndexedSlices' and 'float'" in str(error)
        return type(error).__name__
    return "trained" if float(np.array(model(inputs)).sum()) != before else "not trained"


cases = {"Embedding, loss_scale_factor": (layers.Embedding(4, 2), {"loss_scale_factor": 16.0})}
if backend == "tensorflow":
    cases |= {
        "Embedding, LossScaleOptimizer": (layers.Embedding(4, 2), None),
        "Embedding, clipnorm": (layers.Embedding(4, 2), {"clipnorm": 1.0}),
        "Dense, loss_scale_factor": (layers.Dense(2), {"loss_scale_factor": 16.0}),
    }
for name, (layer, options) in cases.items():
    optimizer = optimizers.SGD(0.1, **(options or {}))
    if options is None:
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    print(f"{backend:11} {name:29} {train(layer, optimizer)}")
PYTHON
for backend in tensorflow jax; do
  KERAS_BACKEND=$backend venv/bin/python scale.py
done | tee found
diff found - <<'FOUND'
tensorflow  Embedding, loss_scale_factor  TypeError
tensorflow  Embedding, LossScaleOptimizer trained
tensorflow  Embedding, clipnorm           trained
tensorflow  Dense, loss_scale_factor      trained
jax         Embedding, loss_scale_factor  trained
FOUND
