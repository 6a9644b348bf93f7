#!/usr/bin/env bash
# ai-edge-litert 2.3.0; file by tensorflow 2.21.0, Python 3.11, x86-64, CPU.
#
# Behaviour: the result of `tf.math.unsorted_segment_sum` with a constant number of segments, so that
# all shapes are static. Interpreter gives it. CompiledModel runs the file without an error and does
# not write its output buffer, which keeps what it held. With the result multiplied by a number, it
# is written. (Seen by hand, not checked below: the nightly build 2.4.0.dev20261026 raises "Failed to set
# custom allocation for output".)
#
# Output seen (the output buffer was filled with 7 before the run):
#                           Interpreter    CompiledModel
#   segment_sum             3 3 0 4        7 7 7 7
#   segment_sum * 1.01      3 3 0 4        3 3 0 4
#
# The guess before: both APIs of one package give the same, or an error.
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
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

INPUTS = {"x": np.array([1, 2, 3, 4], np.float32), "segment": np.array([0, 0, 1, 3], np.int32)}
SPECS = [tf.TensorSpec(each.shape, each.dtype, name) for name, each in INPUTS.items()]


def convert(folder, factor):
    module = tf.Module()
    module.add = tf.function(
        lambda x, segment: {"y": factor(tf.math.unsorted_segment_sum(x, segment, 4))},
        SPECS,
        autograph=False,
    )
    tf.saved_model.save(module, folder, {"add": module.add})
    return tf.lite.TFLiteConverter.from_saved_model(folder, ["add"]).convert()


def compiled(content):
    model = CompiledModel.from_buffer(content)
    inputs = {name: model.create_input_buffer_by_name("add", name) for name in INPUTS}
    output = model.create_output_buffer_by_name("add", "y")
    for name, buffer in inputs.items():
        buffer.write(INPUTS[name])
    output.write(np.full(4, 7, np.float32))
    model.run_by_name("add", inputs, {"y": output})
    return output.read(4, np.float32)


for name, factor in (("segment_sum", lambda y: y), ("segment_sum * 1.01", lambda y: y * 1.01)):
    content = convert(name.replace(" ", "_").replace("*", "times"), factor)
    interpreted = Interpreter(model_content=content).get_signature_runner("add")(**INPUTS)["y"]
    results = interpreted, compiled(content)
    print(f"{name}: {' | '.join(' '.join(f'{each:.0f}' for each in each) for each in results)}")
PYTHON
diff found - <<'FOUND'
segment_sum: 3 3 0 4 | 7 7 7 7
segment_sum * 1.01: 3 3 0 4 | 3 3 0 4
FOUND
