#!/usr/bin/env bash
# keras 3.14.1, 3.15.0 and 3.15.1 with jax 0.10.2, Python 3.11.
#
# Behaviour: layers that a custom layer keeps in a list of lists, as a stack of bidirectional layers
# does, are tracked, but Keras 3.14.1 (3.12.4 and 3.13.2, too) does not save their weights. Loaded
# again, they have new random ones, without an error or a warning. Keras 3.15 saves them. A file of
# 3.14.1 is refused by 3.15.0, and loaded by 3.15.1 with random weights and a warning.
#
# Output seen:
#   saved by 3.14.1, loaded by 3.14.1: other predictions, warnings: 0
#   saved by 3.14.1, loaded by 3.15.0: ValueError
#   saved by 3.14.1, loaded by 3.15.1: other predictions, warnings: 1
#   saved by 3.15.1, loaded by 3.15.1: the same predictions, warnings: 0
#
# The guess before: a model is saved with all weights that `model.weights` lists, and a file that
# lacks some of them is not loaded.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
export KERAS_BACKEND=jax JAX_PLATFORMS=cpu
keras() {
  venv/bin/pip install --quiet --disable-pip-version-check "keras==$1" jax==0.10.2
}
cat > model.py <<'PYTHON'
import sys
import warnings

import keras
import numpy as np


@keras.saving.register_keras_serializable("findings")
class Stack(keras.layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.directions = [[keras.layers.Dense(3), keras.layers.Dense(3)]]

    def build(self, shape):
        for layers in self.directions:
            for layer in layers:
                layer.build(shape)
        self.built = True

    def call(self, inputs):
        for forward, backward in self.directions:
            inputs = keras.ops.concatenate([forward(inputs), backward(inputs)], axis=-1)
        return inputs


inputs = np.ones((1, 4), "float32")
if sys.argv[1] == "save":
    tensor = keras.Input((4,))
    model = keras.Model(tensor, Stack()(tensor))
    assert len(model.weights) == 4
    model.save("saved.keras")
    np.save("wanted.npy", model.predict(inputs, verbose=0))
    with open("version", "w") as file:
        file.write(keras.__version__)
else:
    versions = f"saved by {open('version').read()}, loaded by {keras.__version__}:"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            model = keras.saving.load_model("saved.keras")
        except ValueError:
            sys.exit(print(versions, "ValueError"))
    same = np.allclose(model.predict(inputs, verbose=0), np.load("wanted.npy"))
    seen = [each for each in seen if "freshly-initialized" in str(each.message)]
    print(versions, "the same" if same else "other", f"predictions, warnings: {len(seen)}")
PYTHON
{
  keras 3.14.1
  venv/bin/python model.py save
  venv/bin/python model.py load
  keras 3.15.0
  venv/bin/python model.py load
  keras 3.15.1
  venv/bin/python model.py load
  venv/bin/python model.py save
  venv/bin/python model.py load
} | tee found
diff found - <<'FOUND'
saved by 3.14.1, loaded by 3.14.1: other predictions, warnings: 0
saved by 3.14.1, loaded by 3.15.0: ValueError
saved by 3.14.1, loaded by 3.15.1: other predictions, warnings: 1
saved by 3.15.1, loaded by 3.15.1: the same predictions, warnings: 0
FOUND
