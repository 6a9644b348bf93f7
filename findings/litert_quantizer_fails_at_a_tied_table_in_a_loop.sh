#!/usr/bin/env bash
# litert-quantizer 0.11.0 with ai-edge-litert 2.3.0; files by tensorflow 2.21.0, Python 3.11.
#
# Behaviour: one table is gathered from and multiplied by, as tied embeddings are. In the body of a
# tf.while_loop, as in any search, LiteRT Quantizer raises KeyError: a gather stays float and a product
# becomes int8, so the table is to be stored twice, but the converter left a name of it outside of the
# loop that no operation reads, and the quantizer looks up its readers. The runtime runs the file, and
# tf.lite.Optimize.DEFAULT quantizes it. Outside of a loop the table is stored twice, so that the
# file with 8-bit weights is larger than that of floats. (That a gather stays float, the README's
# table of operators shows.) weight_only_wi8_afp32 and ai-edge-quantizer 0.10.0 raise the same
# KeyError.
#
# Output seen (bytes; float file, by TFLiteConverter with int8 weights, by LiteRT Quantizer):
#   two tables             274360  77144  172848
#   one table              146272  77144  172832
#   two tables in a loop   276308  85144  174592
#   one table in a loop    148140  85144  KeyError: 'Read/ReadVariableOp'
#
# The guess before: a file that the converter writes and the runtime runs can be quantized, in a loop
# as outside, and weights of 8 bits make it smaller.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0 ai-edge-litert==2.3.0 \
    litert-quantizer==0.11.0
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>errors
import contextlib
import os

import numpy as np
import tensorflow as tf
from litert_quantizer import quantizer, recipe

random = np.random.default_rng(0)
TABLES = random.normal(size=(2, 500, 64)).astype("float32")
SQUARE = random.normal(size=(64, 64)).astype("float32") / 8


def converted(tied, loop, int8):
    module = tf.Module()
    module.weights = [tf.Variable(each) for each in (*TABLES, SQUARE)]

    def step(ids, state):
        gathered, multiplied, square = (each.read_value() for each in module.weights)
        if tied:
            multiplied = gathered
        return walk(ids, state, gathered, multiplied, square)

    def walk(ids, state, gathered, multiplied, square):
        def body(place, ids, state):
            state = tf.tanh(tf.matmul(state, square) + tf.gather(gathered, ids))
            logits = tf.matmul(state, multiplied, transpose_b=True)
            return place + 1, tf.argmax(logits, -1, output_type=tf.int32), state

        if not loop:
            return body(0, ids, state)[1]
        return tf.while_loop(lambda place, *_: place < 4, body, (0, ids, state))[1]

    specs = tf.TensorSpec([1], tf.int32), tf.TensorSpec([1, 64], tf.float32)
    traced = tf.function(step, specs, autograph=False).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], module)
    if int8:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


def quantized_size(content):
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            tool = quantizer.Quantizer(bytearray(content), recipe.dynamic_wi8_afp32())
            made = tool.quantize()
    except KeyError as error:
        return f"KeyError: {error}"
    return len(made.quantized_model)


right = True
for loop in (False, True):
    for tied in (False, True):
        content = converted(tied, loop, int8=False)
        size, small = len(content), len(converted(tied, loop, int8=True))
        found = quantized_size(content)
        name = ("one table" if tied else "two tables") + (" in a loop" if loop else "")
        print(f"{name:22} {size}  {small}  {found}")
        right &= small < 0.6 * size
        if tied and loop:
            right &= str(found).startswith("KeyError")
        else:
            right &= found > size if tied else found < size
raise SystemExit(not right)
PYTHON
