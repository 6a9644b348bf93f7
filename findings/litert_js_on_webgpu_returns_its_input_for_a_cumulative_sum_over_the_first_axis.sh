#!/usr/bin/env bash
# @litertjs/core 2.5.3 (webgpu, with and without JSPI) in Chromium 156, whose WebGPU adapter is the
# software SwiftShader; files by tensorflow 2.21.0.
#
# Behaviour: `tf.cumsum` over the first axis of a vector or a matrix. With the accelerator "webgpu"
# LiteRT.js gives the input back, without an error. Over the second axis of the matrix the sums are
# right, and so they are in a tensor of four dimensions. "wasm" computes all of them.
#
# Output seen (x = 1, 2, 3, ...):
#   [3] axis 0        wasm 1 3 6              webgpu 1 2 3
#   [2, 3] axis 0     wasm 1 2 3 5 7 9        webgpu 1 2 3 4 5 6
#   [2, 3] axis 1     wasm 1 3 6 4 9 15       webgpu 1 3 6 4 9 15
#   [2, 3, 1, 1] axis 0  wasm 1 2 3 5 7 9     webgpu 1 2 3 5 7 9
#
# The guess before: what an accelerator cannot compute it refuses or leaves to the CPU.
#
# Needs a `chromium` on the PATH (Debian's package) and npm. Exits with 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0
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
  const jspi = new URLSearchParams(location.search).has("jspi");
  await loadLiteRt("./node_modules/@litertjs/core/wasm/", {jspi});
  for (const {name, shape} of await (await fetch("./models.json")).json()) {
    found[name] = {};
    for (const accelerator of ["wasm", "webgpu"]) {
      try {
        const model = await loadAndCompile(`./${name}.tflite`, {accelerator});
        const size = shape.reduce((product, each) => product * each, 1);
        const x = new Tensor(Float32Array.from({length: size}, (_, i) => i + 1), shape);
        const {y} = await model.run("sums", {x});
        const here = y.accelerator === "wasm" ? y : await y.moveTo("wasm");
        found[name][accelerator] = Array.from(here.toTypedArray());
      } catch (error) {
        found[name][accelerator] = error.message;
      }
    }
  }
  await fetch("/", {method: "POST", body: JSON.stringify(found)});
</script>
HTML

venv/bin/python - <<'PYTHON' 2>errors
import functools
import http.server
import json
import queue
import subprocess
import threading

import numpy as np
import tensorflow as tf

MODELS = [((3,), 0), ((2, 3), 0), ((2, 3), 1), ((2, 3, 1, 1), 0)]
answers = queue.Queue()


def name_of(shape, axis):
    return f"sums_{'x'.join(map(str, shape))}_over_{axis}"


for shape, axis in MODELS:
    module = tf.Module()
    module.sums = tf.function(
        functools.partial(lambda x, axis: {"y": tf.cumsum(x, axis)}, axis=axis),
        [tf.TensorSpec(shape, tf.float32, "x")],
        autograph=False,
    )
    tf.saved_model.save(module, "saved", {"sums": module.sums})
    with open(f"site/{name_of(shape, axis)}.tflite", "wb") as file:
        file.write(tf.lite.TFLiteConverter.from_saved_model("saved", ["sums"]).convert())
with open("site/models.json", "w") as file:
    json.dump([{"name": name_of(*each), "shape": each[0]} for each in MODELS], file)


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(
    ("localhost", 0), functools.partial(Handler, directory="site")
)
threading.Thread(target=server.serve_forever, daemon=True).start()
flags = "--headless --no-sandbox --no-first-run --disable-background-networking"
flags += " --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader"
flags += " --enable-features=Vulkan --use-vulkan=swiftshader"


def browser_found(query):
    browser = subprocess.Popen(
        ["chromium", *flags.split(), "--disable-component-update", "--user-data-dir=profile",
         f"http://localhost:{server.server_port}/page.html{query}"],
        stderr=subprocess.DEVNULL,
    )
    try:
        return answers.get(timeout=120)
    finally:
        browser.terminate()
        browser.wait()


failed = False
for query in ("", "?jspi"):
    found = browser_found(query)
    print("with JSPI" if query else "without JSPI")
    for shape, axis in MODELS:
        wasm, webgpu = (found[name_of(shape, axis)][each] for each in ("wasm", "webgpu"))
        print(" ", list(shape), "axis", axis, " wasm", wasm, " webgpu", webgpu)
        x = np.arange(1, 1 + np.prod(shape)).reshape(shape)
        sums = x.cumsum(axis)
        unchanged = axis == 0 and len(shape) < 4
        failed |= wasm != sums.ravel().tolist()
        failed |= webgpu != (x if unchanged else sums).ravel().tolist()
raise SystemExit(failed)
PYTHON
