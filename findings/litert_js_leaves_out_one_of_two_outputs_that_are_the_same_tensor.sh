#!/usr/bin/env bash
# @litertjs/core 2.5.3 (wasm, CPU) in Chromium 156; ai-edge-litert 2.3.0; file by tensorflow 2.21.0.
#
# Behaviour: a signature returns one value under two names, and another one beside them. The converter
# makes it one tensor with two names. What LiteRT.js returns lacks one of the names, without an error
# or a warning. CompiledModel in Python lists the other name twice, and of the two buffers that it
# creates for them, a run leaves one as it was. Interpreter returns all three outputs.
#
# Output seen (x = 3; the buffers of CompiledModel were filled with 7 before the run):
#   Interpreter    copy 6, double 6, square 9
#   CompiledModel  lists double double square; contents 6 7 9
#   LiteRT.js      double 6, square 9
#
# The guess before: outputs are those of the signature, by their names, in each API.
#
# Needs a `chromium` on the PATH (Debian's package) and npm. Exits with 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0 ai-edge-litert==2.3.0
npm install --silent --no-audit --no-fund --prefix site @litertjs/core@2.5.3
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

cat > site/page.html <<'HTML'
<!doctype html>
<script type="importmap">
  {"imports": {
    "@litertjs/core": "./node_modules/@litertjs/core/dist/index.js",
    "@litertjs/wasm-utils": "./node_modules/@litertjs/wasm-utils/dist/index.js"
  }}
</script>
<script type="module">
  import {Tensor, loadAndCompile, loadLiteRt} from "@litertjs/core";
  const found = {};
  try {
    await loadLiteRt("./node_modules/@litertjs/core/wasm/");
    const model = await loadAndCompile("./model.tflite", {accelerator: "wasm"});
    const outputs = await model.run("values", {x: new Tensor(new Float32Array([3]), [1])});
    for (const [name, tensor] of Object.entries(outputs)) [found[name]] = tensor.toTypedArray();
  } catch (error) {
    found.error = error.message;
  }
  await fetch("/", {method: "POST", body: JSON.stringify(found)});
</script>
HTML

venv/bin/python - <<'PYTHON' 2>errors
import functools
import http.server
import json
import subprocess
import threading

import numpy as np
import tensorflow as tf
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.interpreter import Interpreter


def values(x):
    double = 2 * x
    return {"double": double, "copy": double, "square": x * x}


module = tf.Module()
module.values = tf.function(values, [tf.TensorSpec([1], tf.float32, "x")], autograph=False)
tf.saved_model.save(module, "saved", {"values": module.values})
content = tf.lite.TFLiteConverter.from_saved_model("saved", ["values"]).convert()
with open("site/model.tflite", "wb") as file:
    file.write(content)

x = np.array([3], np.float32)
interpreted = Interpreter(model_content=content).get_signature_runner("values")(x=x)
interpreted = {name: value.item() for name, value in interpreted.items()}

model = CompiledModel.from_buffer(content)
inputs, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
inputs[0].write(x)
for each in outputs:
    each.write(np.array([7], np.float32))
model.run_by_index(0, inputs, outputs)
listed = sorted(model.get_signature_list()["values"]["outputs"])
contents = sorted(each.read(1, np.float32).item() for each in outputs)

browser_found = {}
answered = threading.Event()


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        browser_found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        answered.set()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(
    ("localhost", 0), functools.partial(Handler, directory="site")
)
threading.Thread(target=server.serve_forever, daemon=True).start()
flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
browser = subprocess.Popen(
    ["chromium", *flags.split(), "--disable-component-update", "--user-data-dir=profile",
     f"http://localhost:{server.server_port}/page.html"],
    stderr=subprocess.DEVNULL,
)
answered.wait(120)
browser.terminate()
browser.wait()


def line(found):
    return ", ".join(
        f"{name} {value:.0f}" if isinstance(value, (int, float)) else f"{name} {value}"
        for name, value in sorted(found.items())
    )


print("Interpreter   ", line(interpreted))
print("CompiledModel  lists", *listed, "contents", *contents)
print("LiteRT.js     ", line(browser_found))
one = "double" if "double" in browser_found else "copy"
raise SystemExit(
    interpreted != {"double": 6, "copy": 6, "square": 9}
    or listed not in (["double", "double", "square"], ["copy", "copy", "square"])
    or contents != [6, 7, 9]
    or browser_found != {one: 6, "square": 9}
)
PYTHON
