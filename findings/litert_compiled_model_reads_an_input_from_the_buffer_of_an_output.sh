#!/usr/bin/env bash
# ai-edge-litert 2.3.0; file by tensorflow 2.21.0, Python 3.11, x86-64, CPU.
#
# Behaviour: a .tflite file has a signature that returns one of its inputs as it is, beside a result
# computed from it, as models with a state or a mask do. Interpreter returns both. CompiledModel gives
# no error, never writes the output that is an input, and takes that output's old contents for the
# input: the other output is wrong, too. The input buffer that was written is not read. With
# `state * 1.5` in the place of `state`, both give the same.
#
# Output seen (x = 1 2, state = 10 20; both output buffers were filled with 7 before the run):
#                                 Interpreter           CompiledModel
#   returns                       sum    state          sum    state
#   x + state, state              11 22  10 20          8 9    7 7
#   x + state, 1.5 * state        11 22  15 30          11 22  15 30
#
# The guess before: what an output buffer holds before a run makes no difference, and both APIs of one
# package give the same results for the same file.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0 ai-edge-litert==2.3.0
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>errors
import numpy as np
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter

INPUTS = {"x": np.array([1, 2], np.float32), "state": np.array([10, 20], np.float32)}
OUTPUTS = ("sum", "state_after")


def convert(name, update):
    module = tf.Module()
    module.step = tf.function(
        lambda x, state: {"sum": x + state, "state_after": update(state)},
        [tf.TensorSpec([2], tf.float32, each) for each in INPUTS],
        autograph=False,
    )
    tf.saved_model.save(module, name, {"step": module.step})
    return tf.lite.TFLiteConverter.from_saved_model(name, ["step"]).convert()


def interpreted(content):
    found = Interpreter(model_content=content).get_signature_runner("step")(**INPUTS)
    return [found[name].astype(int).tolist() for name in OUTPUTS]


def compiled(content):
    model = CompiledModel.from_buffer(content)
    inputs = {name: model.create_input_buffer_by_name("step", name) for name in INPUTS}
    outputs = {name: model.create_output_buffer_by_name("step", name) for name in OUTPUTS}
    for name, buffer in inputs.items():
        buffer.write(INPUTS[name])
    for buffer in outputs.values():
        buffer.write(np.array([7, 7], np.float32))
    model.run_by_name("step", inputs, outputs)
    return [outputs[name].read(2, np.float32).astype(int).tolist() for name in OUTPUTS]


found = []
for name, update in (("state", lambda state: state), ("1.5 * state", lambda state: 1.5 * state)):
    content = convert(name.replace(" ", ""), update)
    found.append((interpreted(content), compiled(content)))
    print(f"x + state, {name:12} Interpreter {found[-1][0]} CompiledModel {found[-1][1]}")
same = [[11, 22], [15, 30]]
raise SystemExit(found != [([[11, 22], [10, 20]], [[8, 9], [7, 7]]), (same, same)])
PYTHON
