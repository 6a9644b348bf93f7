#!/usr/bin/env bash
# tensorflow 2.21.0, ai-edge-litert 2.3.0, Python 3.11, x86-64.
#
# Behaviour: float16 quantization stores every constant of floats as float16, also whole numbers that
# a graph computes with, such as ids or positions, which are rounded above 2,048. A sum of two exact
# parts does not help, as the converter adds them up first. Integers that are cast to float are
# constants of floats, too, unless they depend on an input.
#
# Output seen (the constants 2,047 to 2,052, added to zeros):
#   float32  2047 2048 2049 2050 2051 2052
#   float16  2047 2048 2048 2050 2052 2052
#   parts    2047 2048 2048 2050 2052 2052
#
# The guess before: the weights of products and tables are stored as float16, as the guide to
# post-training quantization says, and constants of other operations stay as they are.
#
# Exits with 0 while it is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 ai-edge-litert==2.3.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import sys

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

NUMBERS = tf.range(2047, 2053)


def run(name, function, half):
    spec = tf.TensorSpec((6,), tf.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(function).get_concrete_function(spec)]
    )
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.zeros(6, np.float32))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).astype(int)
    print(f"{name:8}", *found)
    return found.tolist()


def whole(x):
    return x + tf.cast(NUMBERS, tf.float32)


def parts(x):
    return x + tf.cast(NUMBERS % 1024, tf.float32) + tf.cast(NUMBERS // 1024 * 1024, tf.float32)


rounded = [2047, 2048, 2048, 2050, 2052, 2052]
found = [run("float32", whole, False), run("float16", whole, True), run("parts", parts, True)]
sys.exit(found != [list(range(2047, 2053)), rounded, rounded])
PYTHON
