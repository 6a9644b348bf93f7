"""Test code: JSON to a PredictRequest and back, like TensorFlow Serving's REST API.

After `json_tensor.cc`, `http_rest_api_handler.cc` and `http_server.cc` of TensorFlow Serving.
"""

import base64
import binascii
import json
import random
import re

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from serving_batching import INVALID, StatusError
from serving_predict import DEFAULT
from tensorflow_serving.apis import predict_pb2

PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict", re.IGNORECASE)
STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?", re.IGNORECASE)
HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# Bytes beyond ASCII are these characters while JSON is read, as they need not be UTF-8.
_RAW = 0x10FF00
# Escapes of characters beyond the Basic Multilingual Plane, which may be those.
_PAIR = re.compile(
    rb"(?<!\\)((?:\\\\)*)\\u(d[89ab][0-9a-f]{2})\\u(d[c-f][0-9a-f]{2})", re.IGNORECASE
)
_TYPES = {list: "Array", dict: "Object", str: "String", bool: "Bool", type(None): "Null"}


def read_predict(body, name, version, definitions):
    """The PredictRequest in JSON, and whether it comes in rows (`instances`).

    `definitions` gives the signatures once the JSON is well-formed.
    """
    document = _document(body)
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise StatusError(INVALID, "'signature_name' key must be a string value.")
    signature = signature or DEFAULT
    found = definitions()
    if signature not in found:
        raise StatusError(
            INVALID, f'Serving signature name: "{signature}" not found in signature def'
        )
    if len({"inputs", "instances"} & set(document)) == 2:
        raise StatusError(
            INVALID, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys"
        )
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    if version is not None:
        request.model_spec.version.value = version
    names = sorted(found[signature].inputs)
    if "instances" in document:
        values = _columns(document["instances"], names)
    elif "inputs" in document:
        values = _named(document["inputs"], names)
    else:
        raise StatusError(INVALID, "Missing 'inputs' or 'instances' key")
    for name, value in values.items():
        array = _strings(value)
        proto = tf.make_tensor_proto(array.reshape(-1), tf.string, [array.size])
        proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
        request.inputs[name].CopyFrom(proto)
    return request, "instances" in document


def write_predict(response, rows):
    """The JSON of a PredictResponse, in bytes."""
    outputs = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
    order = random.sample(sorted(outputs), len(outputs))
    if not rows:
        written = [(name, _written(name, outputs[name])) for name in order]
        return _object([("outputs", _bare_or_object(written, "    "))], "")
    predictions = [
        _bare_or_object([(name, _written(name, outputs[name][row])) for name in order], 8 * " ")
        for row in range(len(outputs[order[0]]))
    ]
    items = ",\n".join(8 * " " + item for item in predictions)
    return _object([("predictions", f"[\n{items}\n    ]")], "")


def write_status(response):
    """The JSON of a GetModelStatusResponse, in bytes."""
    fields = json_format.MessageToDict(
        response, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return json.dumps(fields, indent=1).encode()


def write_error(error):
    """The JSON of a StatusError, in bytes."""
    return json.dumps({"error": error.message}, indent=4).encode()


def _document(body):
    body = _PAIR.sub(_unescaped, body)
    text = "".join(chr(byte if byte < 0x80 else _RAW + byte) for byte in body)

    def first_wins(pairs):
        return dict(reversed(pairs))

    try:
        document, _ = json.JSONDecoder(object_pairs_hook=first_wins).raw_decode(text.lstrip())
    except (ValueError, RecursionError) as error:
        raise StatusError(INVALID, f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise StatusError(INVALID, "JSON Value: Is not object")
    return _checked(document)


def _unescaped(pair):
    units = bytes.fromhex((pair[2] + pair[3]).decode())
    return pair[1] + units.decode("utf-16-be").encode()


def _checked(value):
    """All strings of a document have to be Unicode, whatever else is asked."""
    if isinstance(value, dict):
        for item in value.items():
            _checked(list(item))
    elif isinstance(value, list):
        for item in value:
            _checked(item)
    elif isinstance(value, str):
        _bytes(value)
    return value


def _bytes(text):
    try:
        return b"".join(
            bytes([ord(each) - _RAW]) if ord(each) >= _RAW else each.encode() for each in text
        )
    except UnicodeEncodeError as error:
        raise StatusError(
            INVALID, "JSON Parse error: The surrogate pair in string is invalid."
        ) from error


def _is_base64(value):
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _columns(instances, names):
    if not isinstance(instances, list):
        raise StatusError(INVALID, "Expecting 'instances' to be an list/array")
    if not instances:
        raise StatusError(INVALID, "No values in 'instances' array")
    objects = isinstance(instances[0], dict) and not _is_base64(instances[0])
    if not objects and len(names) > 1:
        raise StatusError(INVALID, "instances is a plain list, but expecting list of objects")
    columns = {name: [] for name in names}
    for number, item in enumerate(instances):
        if objects != (isinstance(item, dict) and not _is_base64(item)):
            raise StatusError(INVALID, f"Expecting other kind of value at item {number}")
        row = item if objects else {names[0]: item}
        if unknown := sorted(set(row) - set(names)):
            raise StatusError(
                INVALID,
                f"Failed to process element: {number} key: {unknown[0]} of 'instances' list. "
                f"Error: JSON object: does not have named input: {unknown[0]}",
            )
        if set(row) != set(names):
            raise StatusError(
                INVALID,
                f"Failed to process element: {number} of 'instances' list. JSON object: "
                f"keys must be equal to: {','.join(names)}",
            )
        for name, value in row.items():
            columns[name].append(value)
    return columns


def _named(inputs, names):
    if not isinstance(inputs, dict) or _is_base64(inputs):
        if len(names) > 1:
            raise StatusError(INVALID, "inputs is a plain value/list, but expecting an object")
        return {names[0]: inputs}
    for name in names:
        if name not in inputs:
            raise StatusError(INVALID, f"Missing named input: {name} in 'inputs' object.")
    return {name: inputs[name] for name in names}


def _strings(value):
    """A dense array of bytes, of the shape that the first items have."""
    shape = []
    item = value
    while isinstance(item, list):
        shape.append(len(item))
        item = item[0] if item else None
    leaves = []

    def fill(item, level):
        if not isinstance(item, list):
            if level != len(shape):
                raise StatusError(INVALID, f"found at incorrect level: {level + 1}")
            leaves.append(_leaf(item))
        elif level >= len(shape):
            raise StatusError(INVALID, f"Encountered list at unexpected level: {level}")
        elif len(item) != shape[level]:
            raise StatusError(INVALID, f"Encountered list at unexpected size: {len(item)}")
        else:
            for each in item:
                fill(each, level + 1)

    fill(value, 0)
    array = np.empty(len(leaves), object)
    array[:] = leaves
    return array.reshape(shape)


def _leaf(value):
    if _is_base64(value):
        try:
            return base64.b64decode(value["b64"] + "=" * (-len(value["b64"]) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise StatusError(INVALID, "Unable to base64 decode") from error
    if isinstance(value, dict):
        raise StatusError(INVALID, "not formatted correctly for base64 data")
    if not isinstance(value, str):
        raise StatusError(
            INVALID, f"Type: {_TYPES.get(type(value), 'Number')} is not of expected type: string"
        )
    return _bytes(value)


def _written(name, value):
    """JSON of an array, all in one line. Of bytes, each character is one, until it is encoded."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"[{', '.join(_written(name, item) for item in value)}]"
    if isinstance(value, np.ndarray):
        value = value.item() if value.dtype.kind == "O" else value[()]
    if isinstance(value, bytes):
        if name.endswith("_bytes"):
            return json.dumps({"b64": base64.b64encode(value).decode()})
        return json.dumps(value.decode("latin-1"), ensure_ascii=False)
    if isinstance(value, np.float16):
        raise StatusError(INVALID, "Failed to write JSON value for tensor type: half")
    if isinstance(value, np.floating):
        return _float(value)
    return json.dumps(value.item())


def _float(value):
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else f"{'-' if value < 0 else ''}Infinity"
    text = f"{value:.6g}"
    if type(value)(text) != value:
        text = f"{value:.9g}"
    return text if set(".e") & set(text) else text + ".0"


def _bare_or_object(written, indent):
    return written[0][1] if len(written) == 1 else _object(written, indent).decode("latin-1")


def _object(items, indent):
    lines = ",\n".join(f"{indent}    {json.dumps(name)}: {value}" for name, value in items)
    return f"{{\n{lines}\n{indent}}}".encode("latin-1")
