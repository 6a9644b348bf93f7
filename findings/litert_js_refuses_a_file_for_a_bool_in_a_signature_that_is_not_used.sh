#!/usr/bin/env bash
# @litertjs/core 2.5.3 (wasm, CPU) in Chromium 156; file by tensorflow 2.21.0; ai-edge-litert 2.3.0.
#
# Behaviour: a .tflite file has two signatures: `double` (float32 in and out) and `mask` (float32 in,
# bool out). loadAndCompile refuses the whole file, also for a page that only wants `double`, since
# it makes a runner for every signature at loading and knows neither bool inputs nor bool outputs.
# The same file without `mask` loads and runs. LiteRT for Python runs both signatures of both files.
#
# Output seen:
#   python  double,mask  ok
#   browser double       ok
#   browser double,mask  Element type BOOL is not supported.
#
# The guess before: a type that the API does not know fails when such a tensor is read or written.
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
  await loadLiteRt("./node_modules/@litertjs/core/wasm/");
  for (const name of ["double", "double,mask"]) {
    try {
      const model = await loadAndCompile(`./${name}.tflite`, {accelerator: "wasm"});
      const output = await model.run("double", [new Tensor(new Float32Array([3]), [1])]);
      const [value] = Object.values(output)[0].toTypedArray();
      found[name] = value === 6 ? "ok" : `${value}`;
    } catch (error) {
      found[name] = error.message;
    }
  }
  await fetch("/", {method: "POST", body: JSON.stringify(found)});
</script>
HTML

venv/bin/python - <<'PYTHON'
import functools
import http.server
import json
import subprocess
import threading

import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

spec = tf.TensorSpec([1], tf.float32, "x")
module = tf.Module()
module.double = tf.function(lambda x: {"y": 2 * x}, [spec], autograph=False)
module.mask = tf.function(lambda x: {"y": x > 0}, [spec], autograph=False)
tf.saved_model.save(module, "saved", {"double": module.double, "mask": module.mask})
for names in ("double", "double,mask"):
    converter = tf.lite.TFLiteConverter.from_saved_model("saved", names.split(","))
    with open(f"site/{names}.tflite", "wb") as file:
        file.write(converter.convert())

interpreter = Interpreter(model_path="site/double,mask.tflite")
runners = [interpreter.get_signature_runner(name) for name in ("double", "mask")]
values = [runner(x=tf.constant([3.0]).numpy())["y"].item() for runner in runners]
found = {("python", "double,mask"): "ok" if values == [6.0, True] else str(values)}
answered = threading.Event()


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found.update({("browser", name): result for name, result in body.items()})
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
for (where, names), result in found.items():
    print(f"{where:7} {names:12} {result}")
wanted = {("python", "double,mask"): "ok", ("browser", "double"): "ok"}
refused = found.pop(("browser", "double,mask"), "no answer")
raise SystemExit(found != wanted or "BOOL is not supported" not in refused)
PYTHON
