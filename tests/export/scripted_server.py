"""Test code: servers that turn requests away as a script says."""

import contextlib
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

VECTOR = [0.25, -0.5]


class Scripted:
    """Turns requests away as a list says, over one protocol, then answers `embed`.

    Attributes:
        script: One for each request: status, message, and over REST headers.
        sizes: Texts in each request.
        connections, paths: Over REST, the client's end and the path of each request.
    """

    def __init__(self, *script):
        self.script, self.sizes = list(script), []
        self.connections, self.paths = [], []

    def fault(self, size):
        self.sizes.append(size)
        return self.script.pop(0) if self.script else None

    @contextlib.contextmanager
    def rest(self):
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # Connections are kept.

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                size = len(body["inputs"]["text"])
                scripted.connections.append(self.client_address)
                scripted.paths.append(self.path)
                outputs = {"embedding": [VECTOR] * size, "source_length": [3] * size}
                status, content, *headers = scripted.fault(size) or (200, {"outputs": outputs})
                content = json.dumps(content).encode()
                self.send_response(status)
                for name, value in dict(*headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("localhost", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
            yield f"http://localhost:{server.server_port}"
            server.shutdown()

    @contextlib.contextmanager
    def grpc(self):
        scripted = self

        class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                size = request.inputs["text"].tensor_shape.dim[0].size
                if fault := scripted.fault(size):
                    context.abort(*fault)
                answer = predict_pb2.PredictResponse()
                vectors = np.array([VECTOR] * size, "float32")
                answer.outputs["embedding"].CopyFrom(tf.make_tensor_proto(vectors))
                answer.outputs["source_length"].CopyFrom(tf.make_tensor_proto([3] * size))
                return answer

        server = grpc.server(futures.ThreadPoolExecutor(2))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(), server)
        port = server.add_insecure_port("localhost:0")
        server.start()
        yield f"localhost:{port}"
        server.stop(None)
