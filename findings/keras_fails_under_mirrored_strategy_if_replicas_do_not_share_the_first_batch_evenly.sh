#!/usr/bin/env bash
# tensorflow 2.21.0 with keras 3.15.1, Python 3.11, two logical CPU devices.
#
# Behaviour: under tf.distribute.MirroredStrategy, fit() and evaluate() of a model that is built
# raise InvalidArgumentError ("Inputs to operation AddN of type AddN must have the same size") if
# the rows of the first batch are not divisible by the number of replicas: Keras averages the rows
# of the replicas to build the model. Any later batch may be uneven.
#
# Output seen, batches of 4 rows for two replicas:
#   rows  fit()                 evaluate()
#   4+3   7 rows                7 rows
#   3     InvalidArgumentError  InvalidArgumentError
#
# The guess before: uneven batches work or fail wherever they are; a data set smaller than one batch
# is trained on like the incomplete last batch of a larger one.
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


def tried(method, rows):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
    try:
        getattr(model, method)(np.ones((rows, 2)), np.ones((rows, 1)), batch_size=4, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        assert "AddN must have the same size" in str(error)
        return type(error).__name__
    return f"{rows} rows"


found = [[tried(method, rows) for method in ("fit", "evaluate")] for rows in (7, 3)]
for rows, row in zip(("4+3", "3"), found, strict=True):
    print(f"{rows:5} {row[0]:21} {row[1]}")
raise SystemExit(found != [["7 rows"] * 2, ["InvalidArgumentError"] * 2])
PYTHON
