#!/usr/bin/env bash
# tensorflow 2.21.0, ai-edge-litert 2.3.0, Python 3.11, x86-64.
#
# Behaviour: by default, the converter stores infinite constants as +-3.4028235e38, the largest float
# of 32 bits, and says nothing. A mask of -inf before a softmax is right as long as one position is
# left. Where none is, TensorFlow gives NaN, which a test would find, and the file even weights. A
# comparison with infinity is always false. NaN is kept. With
# `converter.canonicalizing_inf_as_min_max_float = False`, the file has the results of TensorFlow.
#
# Output seen:
#                                        TensorFlow       file                  with the flag
#   x == inf, for 1, inf                 0 1              0 0                   0 1
#   is_inf, for 1, -inf                  0 1              0 0                   0 1
#   where(x > 1, x, -inf), for 0, 2      -inf 2           -3.4028235e+38 2      -inf 2
#   softmax of that, for 0, 2            0 1              0 1                   0 1
#   softmax of that, for 0, 1            nan nan          0.5 0.5               nan nan
#
# The guess before: a constant is stored as it is, as TensorFlow Lite's operations compute with
# infinity.
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


def masked(x):
    return tf.where(x > 1.0, x, -np.inf)


def run(function, x, exact):
    spec = [tf.TensorSpec(x.shape, tf.float32)]
    traced = tf.function(function, spec, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    if exact:
        converter.canonicalizing_inf_as_min_max_float = False
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def words(values):
    return " ".join(f"{each:.8g}" for each in values)


for name, function, values in (
    ("x == inf", lambda x: tf.cast(x == np.inf, tf.float32), (1, np.inf)),
    ("is_inf", lambda x: tf.cast(tf.math.is_inf(x), tf.float32), (1, -np.inf)),
    ("where", masked, (0, 2)),
    ("softmax", lambda x: tf.nn.softmax(masked(x)), (0, 2)),
    ("softmax", lambda x: tf.nn.softmax(masked(x)), (0, 1)),
):
    x = np.array(values, np.float32)
    results = function(x).numpy(), run(function, x, False), run(function, x, True)
    print(f"{name}: {' | '.join(map(words, results))}")
PYTHON
diff found - <<'FOUND'
x == inf: 0 1 | 0 0 | 0 1
is_inf: 0 1 | 0 0 | 0 1
where: -inf 2 | -3.4028235e+38 2 | -inf 2
softmax: 0 1 | 0 1 | 0 1
softmax: nan nan | 0.5 0.5 | nan nan
FOUND
