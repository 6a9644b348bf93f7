#!/usr/bin/env bash
# @litertjs/core 2.5.3 (wasm, CPU) in Chromium 156; file by tensorflow 2.21.0.
#
# Behaviour: loadLiteRt("/wasm/") works in a page. In a classic worker
# it takes the script from there and requests the binary from the folder of the worker's own script.
# `self.Module = {locateFile: ...}` before the call corrects this. In a module worker it fails with
# either, as it calls importScripts. The worker is /workers/worker.js in all cases.
#
# Output seen:
#   not found: /workers/litert_wasm_internal.wasm
#   page                       ok
#   classic worker             Aborted(CompileError: WebAssembly.instantiate(): expected magic word
#                              00 61 73 6d, found 3c 21 44 4f @+0). Build with -sASSERTIONS for ...
#   classic worker, locateFile ok
#   module worker              Failed to execute 'importScripts' on 'WorkerGlobalScope': Module
#                              scripts don't support importScripts().
#   module worker, locateFile  (the same)
#
# The guess before: the folder that loadLiteRt is given is that of the script and of the binary, in
# a worker as in a page.
#
# Needs a `chromium` on the PATH (Debian's package) and npm. Exits with 0 while this is so, else 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder" || true' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0
npm install --silent --no-audit --no-fund --prefix npm @litertjs/core@2.5.3 @litertjs/wasm-utils@2.5.3
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1

mkdir -p site/workers
cp -r npm/node_modules/@litertjs/core/wasm site/wasm
cp npm/node_modules/@litertjs/wasm-utils/dist/index.js site/wasm-utils.js
# Workers have no import maps.
sed 's#"@litertjs/wasm-utils"#"/wasm-utils.js"#' npm/node_modules/@litertjs/core/dist/index.js > site/core.js

cat > site/double.js <<'JS'
export async function double(located) {
  try {
    const {Tensor, loadAndCompile, loadLiteRt} = await import("/core.js");
    if (located) self.Module = {locateFile: (name) => `/wasm/${name}`};
    await loadLiteRt("/wasm/");
    const model = await loadAndCompile("/double.tflite", {accelerator: "wasm"});
    const output = await model.run([new Tensor(new Float32Array([3]), [1])]);
    const [value] = output[0].toTypedArray();
    return value === 6 ? "ok" : `${value}`;
  } catch (error) {
    return error.message;
  }
}
JS
cat > site/workers/worker.js <<'JS'
import("/double.js").then(async ({double}) => postMessage(await double(self.name === "located")));
JS
cat > site/page.html <<'HTML'
<!doctype html>
<body>
<script type="module">
  import {double} from "/double.js";
  const inWorker = (type, name) => new Promise((resolve) => {
    const worker = new Worker("/workers/worker.js", {type, name});
    worker.onmessage = ({data}) => resolve(data);
    worker.onerror = ({message}) => resolve(`error: ${message}`);
  });
  const found = {
    "page": await double(false),
    "classic worker": await inWorker("classic", ""),
    "classic worker, locateFile": await inWorker("classic", "located"),
    "module worker": await inWorker("module", ""),
    "module worker, locateFile": await inWorker("module", "located"),
  };
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

module = tf.Module()
spec = tf.TensorSpec([1], tf.float32, "x")
module.double = tf.function(lambda x: {"y": 2 * x}, [spec], autograph=False)
tf.saved_model.save(module, "saved", {"double": module.double})
with open("site/double.tflite", "wb") as file:
    file.write(tf.lite.TFLiteConverter.from_saved_model("saved", ["double"]).convert())

found, missing, answered = {}, set(), threading.Event()


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        found.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        answered.set()

    def send_error(self, *arguments):
        missing.add(self.path)
        super().send_error(*arguments)

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
missing.discard("/favicon.ico")
print("not found:", ", ".join(sorted(missing)))
for where, result in found.items():
    print(f"{where:26} {result}")
parts = {
    "page": "ok",
    "classic worker": "expected magic word 00 61 73 6d",
    "classic worker, locateFile": "ok",
    "module worker": "importScripts",
    "module worker, locateFile": "importScripts",
}
same = all(part in found.get(where, "no answer") for where, part in parts.items())
raise SystemExit(not same or missing != {"/workers/litert_wasm_internal.wasm"})
PYTHON
