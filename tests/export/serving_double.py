"""Test code: a small stand-in for `tensorflow_model_server`, with TensorFlow Serving's own protos.

Serves the newest version in a directory, over gRPC and REST on real sockets, and takes up a new one
while it runs. Also a program with the flags of `tensorflow_model_server`.
"""

import argparse
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class ServingDouble(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Serves `directory` as the model `name`; a context manager.

    Attributes:
        unavailable: How many of the next requests are turned away.
        delay: Seconds that each request takes longer.
        requests: How many came in.
    """

    def __init__(self, directory, name, grpc_port=0, rest_port=0):
        self.directory, self.name = Path(directory), name
        self._ports = grpc_port, rest_port
        self.unavailable = self.requests = 0
        self.delay = 0.0
        self._loaded = {}
        self._lock = threading.Lock()

    def __enter__(self):
        self._grpc = grpc.server(futures.ThreadPoolExecutor(8))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        port = self._grpc.add_insecure_port(f"localhost:{self._ports[0]}")
        self.grpc_address = f"localhost:{port}"
        self._grpc.start()
        double = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(*double.rest(self.path, body))

            def do_GET(self):
                double._load()
                status = [{"version": "1", "state": "AVAILABLE"}]
                self._answer(200, {"model_version_status": status})

            def _answer(self, status, answer):
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self._rest = ThreadingHTTPServer(("localhost", self._ports[1]), Handler)
        self.rest_address = f"http://localhost:{self._rest.server_port}"
        threading.Thread(target=self._rest.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(None)
        self._rest.shutdown()
        self._rest.server_close()

    def Predict(self, request, context):
        if self._turned_away():
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet loaded")
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        if spec.name != self.name or not self._serves(version):
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {spec.name}")
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        answer = predict_pb2.PredictResponse()
        for name, value in self._answer(spec.signature_name, inputs, version).items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer

    def rest(self, path, body):
        """Status and answer, as TensorFlow Serving's REST API has them."""
        if self._turned_away():
            return 503, {"error": "not yet loaded"}
        found = re.fullmatch(f"/v1/models/{self.name}(?:/versions/([0-9]+))?:predict", path)
        version = int(found[1]) if found and found[1] else None
        if not found or not self._serves(version):
            return 404, {"error": f"Servable not found: {path}"}
        signature = body.get("signature_name", "serving_default")
        if "instances" in body:
            inputs = {
                name: [each[name] for each in body["instances"]] for name in body["instances"][0]
            }
        else:
            inputs = body["inputs"]
        answers = {
            name: np.char.decode(value, "utf-8").tolist()
            if value.dtype.kind in "SO"
            else value.tolist()
            for name, value in self._answer(signature, inputs, version).items()
        }
        if "inputs" in body:
            return 200, {"outputs": answers if len(answers) > 1 else next(iter(answers.values()))}
        rows = [dict(zip(answers, row, strict=True)) for row in zip(*answers.values(), strict=True)]
        return 200, {"predictions": rows}

    def _turned_away(self):
        with self._lock:
            self.requests += 1
            self.unavailable -= 1
            if self.unavailable >= 0:
                return True
        threading.Event().wait(self.delay)
        return False

    def _serves(self, version):
        return version is None or (self.directory / str(version)).is_dir()

    def _answer(self, signature, inputs, version):
        function = self._load(version).signatures[signature or "serving_default"]
        tensors = {name: tf.constant(value, tf.string) for name, value in inputs.items()}
        answers = {name: value.numpy() for name, value in function(**tensors).items()}
        return {
            name: value.astype("S") if value.dtype.kind == "O" else value
            for name, value in answers.items()
        }

    def _load(self, version=None):
        with self._lock:
            names = [path.name for path in self.directory.iterdir()]
            version = version or max(int(name) for name in names if name.isdecimal())
            if version not in self._loaded:
                self._loaded[version] = tf.saved_model.load(str(self.directory / str(version)))
            return self._loaded[version]


class ModelServer:
    """`tensorflow_model_server`, or another program with its flags; a context manager."""

    def __init__(self, program, directory, name, flags=()):
        self.directory = Path(directory)
        self._ports = _free_port(), _free_port()
        self._status = f"http://localhost:{self._ports[1]}/v1/models/{name}"
        self._command = [
            *program,
            f"--port={self._ports[0]}",
            f"--rest_api_port={self._ports[1]}",
            f"--model_name={name}",
            f"--model_base_path={self.directory.resolve()}",
            *flags,
        ]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        self.grpc_address, self.rest_address = (
            f"localhost:{self._ports[0]}",
            f"http://localhost:{self._ports[1]}",
        )
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            with (
                contextlib.suppress(urllib.error.URLError, ConnectionError),
                urllib.request.urlopen(self._status, timeout=60) as answer,
            ):
                if b"AVAILABLE" in answer.read():
                    return self
            time.sleep(0.2)
        self.__exit__()
        raise RuntimeError(f"{self._command[0]} does not serve")

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()


def _free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def serve(directory, name):
    """The real server where there is one, else the stand-in."""
    program = shutil.which("tensorflow_model_server")
    return ModelServer([program], directory, name) if program else ServingDouble(directory, name)


def main():
    """Serves until it is stopped."""
    parser = argparse.ArgumentParser()
    for flag in ("--port", "--rest_api_port"):
        parser.add_argument(flag, type=int, required=True)
    for flag in ("--model_name", "--model_base_path"):
        parser.add_argument(flag, required=True)
    flags = parser.parse_args()
    with ServingDouble(flags.model_base_path, flags.model_name, flags.port, flags.rest_api_port):
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
