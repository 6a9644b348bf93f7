#!/usr/bin/env bash
# openvino 2026.4.1 and ai-edge-litert 2.3.0; file by tensorflow 2.21.0, Python 3.11.
#
# Behaviour: a .tflite file has the signatures `triple` and `double`. OpenVINO reads it without an
# error or a warning, and its model is the one whose name comes first in the alphabet, `double`;
# nothing of the other one is there, and no argument chooses it. LiteRT runs both.
#
# Output seen, for the input 3:
#   LiteRT   double 6, triple 9
#   OpenVINO 1 input, 1 output: 6
#
# The guess before: an error that names the signatures, or a way to choose one of them.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0 ai-edge-litert==2.3.0 \
    openvino==2026.4.1
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>errors
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

spec = tf.TensorSpec([1], tf.float32, "x")
module = tf.Module()
module.double = tf.function(lambda x: {"y": 2 * x}, [spec], autograph=False)
module.triple = tf.function(lambda x: {"y": 3 * x}, [spec], autograph=False)
tf.saved_model.save(module, "saved", {"double": module.double, "triple": module.triple})
converter = tf.lite.TFLiteConverter.from_saved_model("saved", ["triple", "double"])
with open("both.tflite", "wb") as file:
    file.write(converter.convert())
interpreter = Interpreter(model_path="both.tflite")
found = {
    name: interpreter.get_signature_runner(name)(x=np.array([3], "float32"))["y"].item()
    for name in ("double", "triple")
}
print("LiteRT   " + ", ".join(f"{name} {value:.0f}" for name, value in found.items()))
raise SystemExit(found != {"double": 6, "triple": 9})
PYTHON
venv/bin/python - <<'PYTHON' 2>warnings
import numpy as np
import openvino

model = openvino.Core().read_model("both.tflite")
outputs = openvino.compile_model(model, "CPU")([np.array([3], "float32")])
values = [value.item() for value in outputs.to_dict().values()]
print(
    f"OpenVINO {len(model.inputs)} input, {len(model.outputs)} output: "
    + ", ".join(f"{value:.0f}" for value in values)
)
raise SystemExit((len(model.inputs), values) != (1, [6.0]))
PYTHON
test ! -s warnings
