#!/usr/bin/env bash
# tensorflow 2.21.0, ai-edge-litert 2.3.0, Python 3.11, x86-64.
#
# Behaviour: in a converted model, x[:, tf.newaxis] is a RESHAPE and a STRIDED_SLICE of everything,
# and the runtime copies int32 element by element for it, through a function object. The same as
# tf.reshape or tf.expand_dims is a RESHAPE alone.
#
# Output seen (100,000 int32, one thread, with a product before):
#   newaxis      4,626 us   MUL RESHAPE STRIDED_SLICE
#   expand_dims     44 us   MUL RESHAPE
#
# The guess before: the converter writes the same operation for both, as they are the same.
#
# Exits with 0 while newaxis has a STRIDED_SLICE and takes more than ten times as long, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 ai-edge-litert==2.3.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
"$folder/venv/bin/python" - <<'PYTHON' 2>/dev/null
import statistics
import sys
import time

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema


def measure(function):
    spec = tf.TensorSpec((100_000,), tf.int32)
    traced = tf.function(lambda x: function(x * 2)).get_concrete_function(spec)
    content = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    codes = [model.operatorCodes[each.opcodeIndex] for each in model.subgraphs[0].operators]
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    times = []
    for _ in range(50):
        start = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6, [names[each.builtinCode] for each in codes]


slow, its_operations = measure(lambda x: x[:, tf.newaxis])
fast, operations = measure(lambda x: tf.expand_dims(x, 1))
print(f"newaxis      {slow:,.0f} us   {' '.join(its_operations)}")
print(f"expand_dims  {fast:,.0f} us   {' '.join(operations)}")
same = "STRIDED_SLICE" in its_operations and "STRIDED_SLICE" not in operations
sys.exit(not (same and slow > 10 * fast))
PYTHON
