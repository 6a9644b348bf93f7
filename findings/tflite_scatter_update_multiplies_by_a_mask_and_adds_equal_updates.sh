#!/usr/bin/env bash
# tensorflow 2.21.0, ai-edge-litert 2.3.0, Python 3.11, x86-64.
#
# Behaviour: the converter writes `tf.tensor_scatter_nd_update` as
# `x * (1 - scatter_nd(ones)) + scatter_nd(updates)`. So an infinite or NaN entry that is overwritten
# becomes NaN, and where one index occurs twice with the same update, the updates are added. There is
# no message. (If updates of one index differ, TensorFlow leaves open which one is taken.)
#
# Output seen:
#                                                       TensorFlow       file
#   [-inf, -inf, 5], indices 1 and 2, updates 1 and 2   -inf 1 2         -inf nan 2
#   [nan, 2, 5], index 0, update 1                      1 2 5            nan 2 5
#   [1, 2, 5], index 0 twice, update 7 twice            7 2 5            13 2 5
#
# (13 = 1 * (1 - 2) + 7 + 7.)
#
# The guess before: replaced entries are the updates, whatever was there before.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0 ai-edge-litert==2.3.0
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>errors | tee found
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter


def convert(function, signature):
    module = tf.Module()
    module.update = tf.function(lambda **given: {"y": function(**given)}, autograph=False)
    traced = module.update.get_concrete_function(**signature)
    tf.saved_model.save(module, "saved", {"update": traced})
    return tf.lite.TFLiteConverter.from_saved_model("saved", ["update"]).convert()


def update(x, indices, updates):
    return tf.tensor_scatter_nd_update(x, indices, updates)


for x, indices, updates in (
    ([-np.inf, -np.inf, 5], [[1], [2]], [1, 2]),
    ([np.nan, 2, 5], [[0]], [1]),
    ([1, 2, 5], [[0], [0]], [7, 7]),
):
    given = {
        "x": np.array(x, np.float32),
        "indices": np.array(indices, np.int32),
        "updates": np.array(updates, np.float32),
    }
    specs = {name: tf.TensorSpec(each.shape, each.dtype, name) for name, each in given.items()}
    interpreter = Interpreter(model_content=convert(update, specs))
    results = update(**given).numpy(), interpreter.get_signature_runner("update")(**given)["y"]
    print(" | ".join(" ".join(f"{each:g}" for each in result) for result in results))
PYTHON
diff found - <<'FOUND'
-inf 1 2 | -inf nan 2
1 2 5 | nan 2 5
7 2 5 | 13 2 5
FOUND
