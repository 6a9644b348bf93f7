#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0 and jax 0.10.2, Python 3.11.
#
# Behaviour: a model of Embedding, GlobalAveragePooling1D and Dense is made within
# `keras.RematScope(mode="full")`. On TensorFlow, `fit` and `predict` raise ValueError: the
# custom_gradient decorator supports keyword arguments only in eager execution. Keras itself passes
# such arguments to the function that it wraps in `tf.recompute_grad`. The same holds for a
# Sequential model of one Dense layer, and for mode="list_of_layers" with this layer. The first one
# trains without the scope, with run_eagerly=True and with mode="activations"; on JAX, all train.
#
# Output seen:
#                                                  tensorflow  jax
#   Embedding, pooling, Dense: no scope, fit       trained     trained
#   Embedding, pooling, Dense: full, fit           ValueError  trained
#   Embedding, pooling, Dense: full, predict       ValueError  predicted
#   Embedding, pooling, Dense: full, eager fit     trained     trained
#   Embedding, pooling, Dense: activations, fit    trained     trained
#   Dense: full, fit                               ValueError  trained
#   Dense: list_of_layers, fit                     ValueError  trained
#
# The guess before: the scope saves memory in an ordinary `fit` on every backend. Its documentation
# says that mode="full" applies to all supported operations, and names no backend that it excludes.
# keras-team/keras#21207 reports the error for DenseNet121 and is open; tensorflow/tensorflow#56692
# asks TensorFlow for keyword arguments in graph mode.
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
cat > remat.py <<'PYTHON'
import keras
import numpy as np
from keras import layers

TEXT = "Embedding, pooling, Dense"


def network(name):
    if name == "Dense":
        return keras.Sequential([keras.Input((3,)), layers.Dense(1, name="only")])
    ids = keras.Input((None,), dtype="int32")
    pooled = layers.GlobalAveragePooling1D()(layers.Embedding(4, 2)(ids))
    return keras.Model(ids, layers.Dense(1)(pooled))


def run(name, mode, method):
    keras.utils.set_random_seed(1)
    names = ["only"] if mode == "list_of_layers" else None
    with keras.RematScope(mode=None if mode == "no scope" else mode, layer_names=names):
        model = network(name)
    model.compile("sgd", "mse", run_eagerly=method == "eager fit")
    inputs = np.array([[1, 2, 3]])
    before = model.get_weights()
    try:
        if method == "predict":
            return "predicted" if model.predict(inputs, verbose=0).shape == (1, 1) else "wrong"
        model.fit(inputs, np.full((1, 1), 5.0), verbose=0)
    except ValueError as error:
        assert "keywords arguments only when eager execution is enabled" in str(error)
        return type(error).__name__
    pairs = zip(before, model.get_weights(), strict=True)
    return "not trained" if any(np.array_equal(old, new) for old, new in pairs) else "trained"


print(keras.backend.backend())
for name, mode, method in (
    (TEXT, "no scope", "fit"),
    (TEXT, "full", "fit"),
    (TEXT, "full", "predict"),
    (TEXT, "full", "eager fit"),
    (TEXT, "activations", "fit"),
    ("Dense", "full", "fit"),
    ("Dense", "list_of_layers", "fit"),
):
    title = f"{name}: {mode}, {method}"
    print(f"{title:46} {run(name, mode, method)}")
PYTHON
for backend in tensorflow jax; do
  KERAS_BACKEND=$backend venv/bin/python remat.py 2> errors || { cat errors; exit 1; }
done | tee found
diff found - <<'FOUND'
tensorflow
Embedding, pooling, Dense: no scope, fit       trained
Embedding, pooling, Dense: full, fit           ValueError
Embedding, pooling, Dense: full, predict       ValueError
Embedding, pooling, Dense: full, eager fit     trained
Embedding, pooling, Dense: activations, fit    trained
Dense: full, fit                               ValueError
Dense: list_of_layers, fit                     ValueError
jax
Embedding, pooling, Dense: no scope, fit       trained
Embedding, pooling, Dense: full, fit           trained
Embedding, pooling, Dense: full, predict       predicted
Embedding, pooling, Dense: full, eager fit     trained
Embedding, pooling, Dense: activations, fit    trained
Dense: full, fit                               trained
Dense: list_of_layers, fit                     trained
FOUND
