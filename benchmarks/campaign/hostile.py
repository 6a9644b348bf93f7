"""Malformed requests to a server, and clients that hang up."""

from __future__ import annotations

import json
import random
import socket
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

import requests

PREDICT = "/v1/models/model:predict"
# Over REST: path and body, and the status that they must have.
MALFORMED: dict[str, tuple[str, bytes, int]] = {
    "half a JSON": (PREDICT, b'{"inputs": {"text": ["ein', 400),
    "no JSON": (PREDICT, b"\xff\xfe\x00" * 50, 400),
    "nothing": (PREDICT, b"", 400),
    "a list": (PREDICT, b"[]", 400),
    "no inputs": (PREDICT, b"{}", 400),
    "another input": (PREDICT, b'{"inputs": {"texts": ["ein"]}}', 400),
    "a number": (PREDICT, b'{"inputs": {"text": [1]}}', 400),
    "a scalar": (PREDICT, b'{"inputs": {"text": "ein"}}', 400),
    "a matrix": (PREDICT, b'{"inputs": {"text": [["ein"], ["zwei"]]}}', 400),
    "no instances": (PREDICT, b'{"instances": []}', 400),
    "ragged": (PREDICT, b'{"instances": [{"text": "ein"}, {"text": ["zwei"]}]}', 400),
    "a lone surrogate": (PREDICT, b'{"inputs": {"text": ["\\ud800"]}}', 400),
    "no base64": (PREDICT, b'{"inputs": {"text": [{"b64": "???"}]}}', 400),
    "another signature": (PREDICT, b'{"signature_name": "x", "inputs": {"text": ["ein"]}}', 400),
    "too many rows": (PREDICT, json.dumps({"inputs": {"text": ["ein"] * 17}}).encode(), 400),
    "another model": ("/v1/models/other:predict", b'{"inputs": {"text": ["ein"]}}', 404),
    "another version": (
        "/v1/models/model/versions/99999:predict",
        b'{"inputs": {"text": ["ein"]}}',
        404,
    ),
    "another path": ("/v2/health", b"{}", 400),
    # Over gRPC.
    "gRPC: no input": ("", b"", 400),
    "gRPC: numbers": ("", b"", 400),
    "gRPC: another model": ("", b"", 404),
}
HANG_UPS = ("half a header", "half a body", "before the answer", "a cancelled call")
TIMEOUT = 60
# A refusal that takes longer, or that a full queue gives, counts if a retry gets no better one.
SLOW, ATTEMPTS, WAIT = 2.0, 3, 0.5
BUSY = "turned away by a full queue"


class Hostile:
    """A client of a server that does not behave.

    Args:
        server: With `rest_address` and `grpc_address`.
        texts: For requests that are well-formed.
    """

    def __init__(self, server: Any, texts: list[str]):
        import grpc
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._grpc, self._request = grpc, predict_pb2.PredictRequest
        self._rest = server.rest_address
        self._texts = texts
        channel = grpc.insecure_channel(server.grpc_address)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def malformed(self, name: str) -> tuple[str, int]:
        """Sends a request of `MALFORMED`, up to three times if it is not refused at once.

        Returns:
            What was wrong with the answer, or an empty string; number of retries.
        """
        problem = ""
        for attempt in range(ATTEMPTS):
            time.sleep(WAIT * attempt)
            begin = time.monotonic()
            problem = self._refusal(name)
            if not problem and time.monotonic() - begin > SLOW:
                problem = f"refused after more than {SLOW:.0f} s"
            elif problem != BUSY:
                return problem, attempt
        return problem, ATTEMPTS - 1

    def _refusal(self, name: str) -> str:
        path, body, status = MALFORMED[name]
        if not path:
            return self._malformed_call(name)
        try:
            answer = requests.post(self._rest + path, data=body, timeout=TIMEOUT)
        except requests.RequestException as error:
            return f"lost: {type(error).__name__}"
        if answer.status_code == 503:
            return BUSY
        if answer.status_code != status:
            return f"status {answer.status_code}, not {status}"
        try:
            return "" if answer.json()["error"] else "an empty message"
        except (ValueError, KeyError, TypeError):
            return f"no message: {answer.text[:80]!r}"

    def _malformed_call(self, name: str) -> str:
        import tensorflow as tf

        request = self._request()
        request.model_spec.name = "other" if name.endswith("another model") else "model"
        if name.endswith("numbers"):
            request.inputs["text"].CopyFrom(tf.make_tensor_proto([1.0, 2.0]))
        codes = self._grpc.StatusCode
        wanted = codes.NOT_FOUND if name.endswith("another model") else codes.INVALID_ARGUMENT
        try:
            self._stub.Predict(request, timeout=TIMEOUT)
        except self._grpc.RpcError as error:
            code = error.code()
            if code == codes.DEADLINE_EXCEEDED:
                return "lost: no answer in time"
            if code == codes.UNAVAILABLE:
                return BUSY
            return "" if code == wanted else f"{code.name}"
        return "answered"

    def hang_up(self, name: str) -> str:
        """Sends a part of a request, or all of it, and closes the connection.

        Returns:
            Why it could not be sent, or an empty string; what the server does is not looked at.
        """
        body = json.dumps({"inputs": {"text": random.choices(self._texts, k=4)}}).encode()
        if name == "a cancelled call":
            return self._cancelled_call()
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        whole = head.encode() + body
        sent: dict[str, Callable[[], bytes]] = {
            "half a header": lambda: whole[:20],
            "half a body": lambda: whole[: len(head) + len(body) // 2],
            "before the answer": lambda: whole,
        }
        host = urllib.parse.urlsplit(self._rest)
        try:
            with socket.create_connection((host.hostname, host.port), timeout=TIMEOUT) as connected:
                connected.sendall(sent[name]())
        except OSError as error:
            return f"lost: {type(error).__name__}"
        return ""

    def _cancelled_call(self) -> str:
        import tensorflow as tf

        request = self._request()
        request.model_spec.name = "model"
        texts = random.choices(self._texts, k=4)
        request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
        self._stub.Predict.future(request, timeout=TIMEOUT).cancel()
        return ""
