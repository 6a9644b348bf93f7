#!/usr/bin/env bash
# tensorflow 2.21.0, Python 3.11, x86-64.
#
# Behaviour: the converter's last steps rewrite the file from Python, whose FlatBuffers code does not
# know the schema's `force_align: 16` of a buffer's data: constants lie at any multiple of 4, also
# those of 64-bit integers. (Seen by hand, not checked below: LiteRT 2.3.0 says nothing of it; its
# nightly build 2.4.0.dev20261026 copies 64-bit integers that are not at a multiple of 8 when it loads
# the file, warns of an "unaligned buffer", and advises to export it again.)
#
# Output seen (bytes of each constant: its place in the file modulo 16; it varies):
#   {1792: 8, 76800: 4, 16: 12, 96: 0}
#
# The guess before: a file of the stock converter meets the stock schema.
#
# Exits with 0 while a constant is not at a multiple of 16, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import sys

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

generator = np.random.default_rng(1)
first = tf.constant(generator.normal(size=(300, 64)), tf.float32)
second = tf.constant(generator.normal(size=(64, 7)), tf.float32)
spec = tf.TensorSpec((1, 300), tf.float32)
traced = tf.function(lambda x: tf.tanh(x @ first) @ second).get_concrete_function(spec)
content = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()

model = schema.Model.GetRootAs(content)
start = np.frombuffer(content, np.uint8).ctypes.data
places = {}
for buffer in map(model.Buffers, range(model.BuffersLength())):
    if buffer.DataLength():
        places[buffer.DataLength()] = (buffer.DataAsNumpy().ctypes.data - start) % 16
print(places)
sys.exit(not any(places.values()))
PYTHON
