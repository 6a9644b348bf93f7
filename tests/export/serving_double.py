"""Test code: a stand-in for `tensorflow_model_server`, with TensorFlow Serving's own protos.

Serves the newest version in a directory from a Session, over gRPC and REST on real sockets, merges
requests into batches, and takes up a new version while it runs. Also a program with the flags of
`tensorflow_model_server`. What it is to do is in docs/serving.md.
"""

import argparse
import contextlib
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
import serving_rest
from serving_batching import INVALID, StatusError, read_parameters
from serving_versions import Versions
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

# As in the operator's files.
BATCHING = """
max_batch_size { value: 16 } batch_timeout_micros { value: 2000 }
num_batch_threads { value: 2 } max_enqueued_batches { value: 32 }
"""
THREADS = 128


class ServingDouble(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    """Serves `directory` as the model `name`; a context manager.

    Args:
        batching: Text of a `batching.config`, or None for no batching.
        retries: How often a version that does not load is tried again.
        retry_seconds: Between two of these.
        rest_timeout: Seconds that a request over REST may take.

    Attributes:
        unavailable: How many of the next requests are turned away.
        delay: Seconds that each request takes longer.
        requests: How many came in.
    """

    def __init__(
        self,
        directory,
        name,
        grpc_port=0,
        rest_port=0,
        *,
        batching=BATCHING,
        retries=5,
        retry_seconds=60.0,
        rest_timeout=30.0,
    ):
        self.directory = Path(directory)
        self._ports = grpc_port, rest_port
        self.unavailable = self.requests = 0
        self.delay = 0.0
        self._rest_timeout = rest_timeout
        self._lock = threading.Lock()
        parameters = read_parameters(batching) if batching else None
        self.versions = Versions(directory, name, parameters, retries, retry_seconds)

    def __enter__(self):
        self.versions.start()
        self._grpc = grpc.server(futures.ThreadPoolExecutor(THREADS))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._grpc)
        port = self._grpc.add_insecure_port(f"localhost:{self._ports[0]}")
        self.grpc_address = f"localhost:{port}"
        self._grpc.start()
        self._rest = _RestServer(("localhost", self._ports[1]), _handler(self))
        self.rest_address = f"http://localhost:{self._rest.server_port}"
        threading.Thread(target=self._rest.serve_forever, args=[0.05], daemon=True).start()
        return self

    def __exit__(self, *_):
        self._grpc.stop(None)
        self._rest.shutdown()
        self._rest.server_close()
        self.versions.stop()

    def Predict(self, request, context):
        left = context.time_remaining()
        deadline = time.monotonic() + (3600 if left is None else left)
        try:
            self._let_in()
            return self._predict(request, deadline)
        except StatusError as error:
            context.abort(error.code, error.message)

    def GetModelStatus(self, request, context):
        try:
            return self.versions.status(*_model(request.model_spec))
        except StatusError as error:
            context.abort(error.code, error.message)

    def rest(self, method, path, body):
        """Status and answer, as TensorFlow Serving's REST API has them."""
        deadline = time.monotonic() + self._rest_timeout
        try:
            if path == "/monitoring/prometheus/metrics":
                return 200, self._metrics()
            if method == "POST" and (found := serving_rest.PREDICT.fullmatch(path)):
                self._let_in()
                name, version = _named(found)

                def definitions():
                    with self.versions.servable(name, version) as servable:
                        return servable.definitions

                request, rows = serving_rest.read_predict(body, name, version, definitions)
                return 200, serving_rest.write_predict(self._predict(request, deadline), rows)
            if method == "GET" and (found := serving_rest.STATUS.fullmatch(path)):
                return 200, serving_rest.write_status(self.versions.status(*_named(found)))
            raise StatusError(INVALID, f"Malformed request: {method} {path}")
        except StatusError as error:
            return serving_rest.HTTP_STATUS.get(error.code, 500), serving_rest.write_error(error)

    def _let_in(self):
        with self._lock:
            self.requests += 1
            self.unavailable -= 1
            if self.unavailable >= 0:
                raise StatusError(
                    grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue [...] is full"
                )
        time.sleep(self.delay)

    def _predict(self, request, deadline):
        with self.versions.servable(*_model(request.model_spec)) as servable:
            return servable.predict(request, deadline)

    def _metrics(self):
        runs = len(self.versions.batches())
        return (
            f":tensorflow:serving:request_count {self.requests}\n"
            f":tensorflow:serving:batching_session:wrapped_run_count {runs}\n"
        ).encode()


def _model(spec):
    return spec.name, spec.version.value if spec.HasField("version") else None


def _named(found):
    return found[1], int(found[2]) if found[2] else None


class _RestServer(ThreadingHTTPServer):
    request_queue_size = THREADS  # Else the system resets connections under load.


def _handler(double):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self._answer("POST", self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self):
            self._answer("GET", b"")

        def _answer(self, method, body):
            status, content = double.rest(method, self.path, body)
            with contextlib.suppress(ConnectionError):  # The client waits no longer.
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    return Handler


class ModelServer:
    """`tensorflow_model_server`, or another program with its flags; a context manager.

    RuntimeError if it does not serve within `start_seconds`.
    """

    def __init__(self, program, directory, name, flags=(), start_seconds=120):
        self.directory = Path(directory)
        self._start_seconds = start_seconds
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
        deadline = time.monotonic() + self._start_seconds
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
    parser.add_argument("--enable_batching", choices=["true", "false"], default="false")
    parser.add_argument("--batching_parameters_file", type=Path)
    parser.add_argument("--monitoring_config_file", help="metrics are there without it")
    parser.add_argument("--max_num_load_retries", type=int, default=5)
    parser.add_argument("--load_retry_interval_micros", type=int, default=60_000_000)
    flags = parser.parse_args()
    batching = flags.batching_parameters_file if flags.enable_batching == "true" else None
    with ServingDouble(
        flags.model_base_path,
        flags.model_name,
        flags.port,
        flags.rest_api_port,
        batching=batching.read_text() if batching else None,
        retries=flags.max_num_load_retries,
        retry_seconds=flags.load_retry_interval_micros / 1e6,
    ):
        threading.Event().wait()


if __name__ == "__main__":
    sys.exit(main())
