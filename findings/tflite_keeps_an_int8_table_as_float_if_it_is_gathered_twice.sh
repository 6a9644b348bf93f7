#!/usr/bin/env bash
# tensorflow 2.21.0, ai-edge-litert 2.3.0, Python 3.11, x86-64 Linux.
#
# Behaviour: with dynamic range quantisation, a table of embeddings from which one GATHER reads is
# stored and read as int8. If a second GATHER reads from it, the converter puts a DEQUANTIZE of the
# whole table before both, whose result the runtime keeps: the file stays small, the memory takes
# four times the table more.
#
# Output seen (table of 200,000 x 256, 51 MB as int8; growth of memory after the first run):
#   one gather    GATHER INT8                       5 MiB
#   two gathers   DEQUANTIZE INT8, GATHER FLOAT32   247 MiB
#
# The guess before: both gathers read int8 rows, which are turned to float afterwards.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 ai-edge-litert==2.3.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import subprocess
import sys

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

table = np.random.default_rng(0).normal(size=(200_000, 256)).astype("float32")
ids = tf.TensorSpec((4,), tf.int32)


def one(first, second):
    return tf.gather(tf.constant(table), tf.concat([first, second], 0))


def two(first, second):
    shared = tf.constant(table)
    return tf.gather(shared, first), tf.gather(shared, second)


RUN = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4 // 1024

before = resident()
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
for each in interpreter.get_input_details():
    interpreter.set_tensor(each["index"], np.arange(4, dtype="int32"))
interpreter.invoke()
print(resident() - before)
"""

names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
kinds = {value: name for name, value in vars(schema.TensorType).items()}


def operation_of(model, graph, operator):
    code = model.operatorCodes[operator.opcodeIndex].builtinCode
    return names[code], kinds[graph.tensors[operator.inputs[0]].type]


found = {}
for function in (one, two):
    traced = tf.function(function).get_concrete_function(ids, ids)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = converter.convert()
    name = f"{function.__name__}.tflite"
    open(name, "wb").write(content)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    (graph,) = model.subgraphs
    operations = [operation_of(model, graph, each) for each in graph.operators]
    command = [sys.executable, "-c", RUN, name]
    grown = int(subprocess.run(command, capture_output=True, check=True).stdout)
    print(function.__name__, len(content), operations, grown, "MiB")
    found[function.__name__] = operations, grown
kept = ("GATHER", "INT8") in found["one"][0] and ("GATHER", "INT8") not in found["two"][0]
sys.exit(not (kept and found["two"][1] > found["one"][1] + 150))
PYTHON
