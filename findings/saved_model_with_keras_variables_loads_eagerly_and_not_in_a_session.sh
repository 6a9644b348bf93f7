#!/usr/bin/env bash
# tensorflow 2.21.0 with keras 3.15.1, Python 3.11.
#
# Behaviour: a tf.Module with an attribute `weights = model.weights` (keras.Variables) is saved by
# tf.saved_model.save without a word. tf.saved_model.load runs its signature and answers rightly. In
# a Session (tf.compat.v1.saved_model.load, and LoadSavedModel of TensorFlow Serving) the same
# signature fails, as nothing restores its variables. With `weights = [w.value for w in
# model.weights]` both loaders answer the same.
#
# Output seen:
#   keras.Variable eager   ok
#   keras.Variable Session FailedPreconditionError
#   (its message: Could not find variable sequential/dense/kernel)
#   w.value        eager   ok
#   w.value        Session ok
#
# The guess before: a SavedModel that one loader of TensorFlow runs, the other one runs, too; a
# variable that is not saved would fail at saving.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

tf.get_logger().setLevel("ERROR")


def saved(name, values):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    module = tf.Module()
    module.weights = values(model.weights)
    spec = tf.TensorSpec([None, 3], tf.float32, name="x")
    module.call = tf.function(lambda x: {"y": model(x)}, input_signature=[spec], autograph=False)
    tf.saved_model.save(module, name, signatures={"serving_default": module.call})
    return model(np.ones((1, 3), "float32")).numpy()


def eagerly(name):
    return tf.saved_model.load(name).signatures["serving_default"](x=tf.ones((1, 3)))["y"].numpy()


def in_a_session(name):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], name).signature_def[
            "serving_default"
        ]
        feed = {signature.inputs["x"].name: np.ones((1, 3), "float32")}
        return session.run(signature.outputs["y"].name, feed)


def tried(load, name, wanted):
    try:
        return "ok" if np.allclose(load(name), wanted, atol=1e-6) else "another result"
    except tf.errors.OpError as error:
        return type(error).__name__


found = {}
for kind, values in (
    ("keras.Variable", list),
    ("w.value", lambda weights: [weight.value for weight in weights]),
):
    name = kind.replace(".", "_")
    wanted = saved(name, values)
    for how, load in (("eager", eagerly), ("Session", in_a_session)):
        found[kind, how] = tried(load, name, wanted)
        print(f"{kind:14} {how:7} {found[kind, how]}")
failing = found.pop(("keras.Variable", "Session"))
raise SystemExit(failing != "FailedPreconditionError" or set(found.values()) != {"ok"})
PYTHON
