"""REST and gRPC transports of `TranslationClient`.

REST only requires requests and NumPy; gRPC imports TensorFlow for its messages.
"""

from __future__ import annotations

import abc
import email.utils
import os
import re
import socket
import sys
import time
import urllib.parse
import weakref
from typing import Any

import numpy as np

from keras_attn_nmt.extras import extra
from keras_attn_nmt.reading import parse_object

Arrays = dict[str, np.ndarray]

# The response of a batching server to more rows than its `max_batch_size`.
_TASK_TOO_LARGE = re.compile(r"[Tt]ask size \d+ is larger than maximum input batch size (\d+)")
# The response to all requests of a batch, one of which is malformed: those of the client are not.
_MERGED_WITH_MALFORMED = re.compile(r"from different tasks have different shapes")
# gRPC uses the same status for too large messages and overloaded servers.
_MESSAGE_TOO_LARGE = re.compile(r"message (length )?(is )?(larger|too large)")

# Connections over REST that are kept: more threads would open a new one for each request.
_KEPT_CONNECTIONS = 64

# Redirections after which clients send GET without a body.
_TO_GET = (301, 302, 303)

# JSON of TensorFlow Serving has no float16.
_NO_HALF = "tensor type: half"
_NO_HALF_HINT = (
    " (The model was exported with --attention float16, which REST cannot return: use gRPC, or "
    "export it with --attention float32 or none.)"
)


class Unavailable(Exception):
    """The server is temporarily unavailable or overloaded.

    Attributes:
        wait: Seconds before a retry, if the server sent them.
    """

    def __init__(self, message: str, wait: float = 0.0):
        super().__init__(message)
        self.wait = wait


class BatchTooLarge(Exception):
    """The server takes fewer texts in one request: `limit`."""

    def __init__(self, limit: int):
        super().__init__(f"The server takes {limit} texts in one request.")
        self.limit = limit


class Transport(abc.ABC):
    """One server and model. A copy, or what another process unpickles, has its own connection.

    Args:
        address: Of the server.
        model: Its name.
        version: Of the model; the newest by default.

    Raises:
        ValueError: The address is not well-formed.
    """

    @abc.abstractmethod
    def __init__(self, *arguments: Any):
        """Connects when it is first used."""
        self._arguments = arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._arguments

    @abc.abstractmethod
    def predict(self, signature: str, inputs: dict[str, list[str]], timeout: float) -> Arrays:
        """All outputs of a signature. Raises as `TranslationClient`, and the errors above."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connection; a later use opens another one."""


class Rest(Transport):
    """Over HTTP."""

    def __init__(self, address: str, model: str, version: int | None):
        super().__init__(address, model, version)
        with extra("serve"):
            import requests

        self._requests = requests
        self._connect()
        which = f"/versions/{version}" if version is not None else ""
        name = urllib.parse.quote(model, safe="")
        self._url = f"{address.rstrip('/')}/v1/models/{name}{which}:predict"
        self._shown_url = _without_user(self._url)
        try:
            _check_base(address)
            requests.Request("POST", self._url).prepare()
        except ValueError as error:
            secret = "@" in address  # The error may name any part of it.
            reason = "Are user and password percent-encoded?" if secret else error
            raise ValueError(
                f"{_after_user(address)!r} is not a server address, expected e.g. "
                f"'http://host:8501': {reason}"
            ) from (None if secret else error)

    def _connect(self) -> None:
        self._session = self._requests.Session()
        for scheme in ("http://", "https://"):
            adapter = self._requests.adapters.HTTPAdapter(pool_maxsize=_KEPT_CONNECTIONS)
            self._session.mount(scheme, adapter)
        self._process = os.getpid()

    def predict(self, signature: str, inputs: dict[str, list[str]], timeout: float) -> Arrays:
        """All outputs of a signature."""
        # Processes that share a connection after a fork would get the answers of each other.
        if self._process != os.getpid():
            self._connect()
        body: Any = {"signature_name": signature, "inputs": inputs}
        try:
            answer = self._session.post(self._url, json=body, timeout=timeout)
        except self._requests.Timeout as error:
            raise TimeoutError(f"No answer from {self._shown_url} in time.") from error
        except self._requests.RequestException as error:
            if unknown := _unknown_host(error):
                raise ConnectionError(
                    f"The host name of {self._shown_url} cannot be resolved: {unknown}"
                ) from error
            if self._passes(error):
                raise Unavailable(str(error)) from error
            raise ConnectionError(
                f"{self._shown_url} cannot be reached: {_without_user(str(error))}"
            ) from error
        if lost := [each.status_code for each in answer.history if each.status_code in _TO_GET]:
            raise ConnectionError(
                f"{self._shown_url} redirects to {_without_user(answer.url)} with status "
                f"{lost[0]}, after which the texts are not sent again: give the client the address "
                "of that server."
            )
        if answer.status_code in (429, 502, 503):
            reason = "The server is overloaded: " if answer.status_code == 429 else ""
            raise Unavailable(reason + answer.text, _retry_after(answer.headers))
        if answer.status_code == 504:
            raise TimeoutError(f"No answer from {self._shown_url} in time: {answer.text}")
        if answer.status_code != 200:
            _raise_if_sent_otherwise(answer.text)
            hint = _NO_HALF_HINT if _NO_HALF in answer.text else ""
            raise ValueError(
                f"{self._shown_url} refused the request: {answer.status_code} {answer.text}{hint}"
            )
        try:
            outputs = parse_object(answer.content)["outputs"]
            return {name: _array(value) for name, value in outputs.items()}
        except (ValueError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{self._shown_url} did not return a TensorFlow Serving response: "
                f"{answer.text[:200]!r}"
            ) from error

    def _passes(self, error: Exception) -> bool:
        """Whether the error is transient: not for certificates and redirections."""
        broken = (self._requests.ConnectionError, self._requests.exceptions.ChunkedEncodingError)
        return isinstance(error, broken) and not isinstance(
            error, self._requests.exceptions.SSLError
        )

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()


class Grpc(Transport):
    """Over gRPC."""

    def __init__(self, address: str, model: str, version: int | None):
        super().__init__(address, model, version)
        with extra("serve"):
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        self._host = _host_of_grpc(address)
        self._grpc = grpc
        self._request = predict_pb2.PredictRequest
        self._stub_of = prediction_service_pb2_grpc.PredictionServiceStub
        self._address, self._model, self._version = address, model, version
        # By process: one that was forked must not touch the channel of its parent.
        self.connections: dict[int, tuple[Any, Any]] = {}
        _grpc_transports.add(self)

    def _connection(self) -> tuple[Any, Any]:
        """Channel and stub of this process."""
        process = os.getpid()
        if known := self.connections.get(process):
            return known
        # No limit on the answer: attention takes room.
        channel = self._grpc.insecure_channel(
            self._address, options=[("grpc.max_receive_message_length", -1)]
        )
        # Atomic, so that a lock, which a fork could copy while it is held, is not needed.
        return self.connections.setdefault(process, (channel, self._stub_of(channel)))

    def predict(self, signature: str, inputs: dict[str, list[str]], timeout: float) -> Arrays:
        """All outputs of a signature."""
        import tensorflow as tf

        request = self._request()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, shape=[len(values)]))
        _, stub = self._connection()
        try:
            answer = stub.Predict(request, timeout=timeout)
        except self._grpc.RpcError as error:
            code, details = error.code(), error.details()
            if code == self._grpc.StatusCode.UNAVAILABLE:
                if self._host and (unknown := _resolution_error(self._host)):
                    raise ConnectionError(
                        f"The host name of {self._address} cannot be resolved: {unknown}"
                    ) from error
                raise Unavailable(details) from error
            if code == self._grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimeoutError(f"No answer in time: {details}") from error
            if code == self._grpc.StatusCode.RESOURCE_EXHAUSTED:
                if not _MESSAGE_TOO_LARGE.search(details):
                    raise Unavailable(f"The server is overloaded: {details}") from error
                raise ValueError(
                    f"A message is too large: send fewer or shorter texts at a time ({details})."
                ) from error
            _raise_if_sent_otherwise(details)
            raise ValueError(f"The server refused the request: {code.name} {details}") from error
        return {name: tf.make_ndarray(value) for name, value in answer.outputs.items()}

    def close(self) -> None:
        """Closes the connection."""
        if known := self.connections.pop(os.getpid(), None):
            known[0].close()


_grpc_transports: weakref.WeakSet[Grpc] = weakref.WeakSet()
_connections_of_parents: list[Any] = []


def _keep_connections() -> None:
    """In a forked process, keeps the destructors of its parent's channels from running."""
    _connections_of_parents.extend(dict(each.connections) for each in list(_grpc_transports))


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_keep_connections)


def _without_user(text: str) -> str:
    """A message or address without the user and password of URLs."""
    return re.sub(r"(\w+://|^)[^\s/]*@", r"\1", text)


def _after_user(address: str) -> str:
    """An address that cannot be parsed, without all that may be user and password."""
    return re.sub(r"^(\w+://)?.*@", r"\1", address)


def _check_base(address: str) -> None:
    """Raises `ValueError` for an address to which the model's path cannot be added."""
    parts = urllib.parse.urlsplit(address)
    if parts.port == 0:
        raise ValueError("There is no port 0.")
    if "?" in address or "#" in address:
        raise ValueError("It has a query or a fragment.")
    if "/v1/models" in parts.path:
        raise ValueError("Leave out /v1/models and what follows: the client adds it.")


def _raise_if_sent_otherwise(message: str) -> None:
    """Raises if the same texts get an answer in smaller batches, or in another batch."""
    if found := _TASK_TOO_LARGE.search(message):
        raise BatchTooLarge(int(found[1]))
    if _MERGED_WITH_MALFORMED.search(message):
        raise Unavailable(f"The server merged the request with a malformed one: {message}")


def _retry_after(headers: Any) -> float:
    """Seconds; 0 where the header is missing or cannot be read."""
    value = headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    date = email.utils.parsedate_tz(value)
    try:
        return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0
    except (ValueError, OverflowError):  # No day of a calendar.
        return 0.0


def _host_of_grpc(address: str) -> str | None:
    """The host in `host:port`; none where it is another kind of target, as `unix:path`."""
    if re.match(r"(unix|unix-abstract|vsock|ipv4|ipv6|xds):", address):
        return None
    found = re.fullmatch(r"(?:dns:(?:///)?)?(\[[^]]+\]|[^:/\s]+):([^:/]*)", address)
    if found is None and address.startswith("dns:"):
        return None
    # Beyond 65535, gRPC takes the rest of the number.
    if found is None or not (found[2].isdecimal() and 0 < int(found[2]) < 2**16):
        raise ValueError(
            f"{_after_user(address)!r} is not a server address, expected e.g. 'host:8500' for "
            "gRPC or 'http://host:8501' for REST."
        )
    return found[1].strip("[]")


def _resolution_error(host: str) -> str:
    """Why a host name cannot be resolved; empty if it can, or if that is unknown."""
    try:
        socket.getaddrinfo(host, None)
    except socket.gaierror as error:
        return _unknown_host(error)
    except UnicodeError as error:
        return str(error)
    return ""


def _unknown_host(error: BaseException | None) -> str:
    """The message of the resolver if an error is caused by an unknown host name."""
    while error is not None:
        # Other errors of the resolver, as a name server that is down, may pass.
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
            return str(error)
        error = error.__cause__ or error.__context__
    return ""


def _array(value: Any) -> np.ndarray:
    array = np.array(value)
    if array.dtype.kind == "f":
        return array.astype("float32")
    # As objects: arrays of strings drop NULs at the end.
    return np.array(value, object) if array.dtype.kind == "U" else array
