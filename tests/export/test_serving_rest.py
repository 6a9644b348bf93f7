"""The test server responds like TensorFlow Serving over REST and gRPC (docs/serving.md)."""

import json

import grpc
import numpy as np
import pytest
import requests
import serving_toy
import tensorflow as tf
from serving_double import ServingDouble
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("toy")
    serving_toy.save(directory / "3")
    with ServingDouble(directory, "toy") as server:
        yield server


@pytest.fixture(scope="module")
def post(server):
    def post(body, path="/v1/models/toy:predict"):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return requests.post(server.rest_address + path, data=content, timeout=60)

    return post


@pytest.fixture(scope="module")
def predict(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def predict(signature="", output_filter=(), name="toy", version=None, **inputs):
            request = predict_pb2.PredictRequest(output_filter=output_filter)
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            if version is not None:
                request.model_spec.version.value = version
            for each, value in inputs.items():
                request.inputs[each].CopyFrom(tf.make_tensor_proto(value))
            return stub.Predict(request, timeout=60)

        yield predict


BAD_REQUESTS = {
    "no input": ({"signature_name": "raw"}, "Missing 'inputs' or 'instances' key"),
    "inputs without it": ({"inputs": {}}, "Missing named input: text in 'inputs' object"),
    "unknown input": ({"instances": [{"txt": "a"}]}, "does not have named input: txt"),
    "extra input": ({"instances": [{"text": "a", "more": "b"}]}, "does not have named input: more"),
    "missing input": (
        {"signature_name": "score", "instances": [{"text": "a"}]},
        "keys must be equal to: reference,text",
    ),
    "one list for two inputs": ({"signature_name": "score", "inputs": ["a"]}, "plain value/list"),
    "number": ({"inputs": [5]}, "Type: Number is not of expected type: string"),
    "null": ({"instances": [{"text": None}]}, "Type: Null is not of expected type: string"),
    "lone surrogate": (rb'{"inputs": ["\ud800"]}', "surrogate pair in string is invalid"),
    "bad base64": ({"inputs": [{"b64": "%"}]}, "Unable to base64 decode"),
    "no base64": ({"inputs": [{"b65": "YQ=="}]}, "not formatted correctly for base64 data"),
    "rank 2": ({"inputs": [["a"]]}, "shape"),
    "scalar": ({"inputs": "a"}, "must have at least one dimension"),
    "ragged": ({"inputs": [["a"], ["b", "c"]]}, "Encountered list at unexpected size: 2"),
    "both": ({"inputs": ["a"], "instances": ["a"]}, "expecting only one of"),
    "unknown signature": (
        {"signature_name": "other", "inputs": ["a"]},
        'Serving signature name: "other" not found in signature def',
    ),
    "non-string signature": ({"signature_name": 5}, "must be a string value"),
    "no JSON": (b'{"inputs": ', "JSON Parse error"),
    "empty": (b"", "JSON Parse error"),
    "no object": ([1], "Is not object"),
    "no instances": ({"instances": []}, "No values in 'instances' array"),
    "instances that are no list": ({"instances": "a"}, "to be an list/array"),
    "instances of two kinds": ({"instances": [{"text": "a"}, "b"]}, "at item 1"),
    "too many rows": (
        {"inputs": 17 * ["a"]},
        "Task size 17 is larger than maximum input batch size 16",
    ),
    "unequal numbers": (
        {"signature_name": "score", "inputs": {"text": ["a", "b"], "reference": ["a"]}},
        "must have equal 0th-dimension size",
    ),
    "what the model refuses": ({"signature_name": "numbers", "inputs": ["x"]}, "StringToNumberOp"),
}


@pytest.mark.parametrize("kind", BAD_REQUESTS)
def test_bad_request_is_rejected_with_a_reason(post, kind):
    body, words = BAD_REQUESTS[kind]
    answer = post(body)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert words in answer.json()["error"]


GOOD_REQUESTS = {
    "list of instances": ({"instances": ["a", "bc"]}, ["a", "bc"]),
    "list of inputs": ({"inputs": ["a", "bc"]}, ["a", "bc"]),
    "named": ({"inputs": {"text": ["a"]}}, ["a"]),
    "base64": ({"instances": [{"b64": "YQ=="}]}, ["a"]),
    "base64 without padding": ({"inputs": {"text": [{"b64": "YQ"}, "b"]}}, ["a", "b"]),
    "empty name of a signature": ({"signature_name": "", "inputs": ["a"]}, ["a"]),
    "surplus keys": ({"inputs": {"text": ["a"], "more": 5}, "more": [6]}, ["a"]),
    "first of equal keys": (b'{"inputs": ["a"], "inputs": ["b"]}', ["a"]),
    "more after the end": (b'{"inputs": ["a"]} {', ["a"]),
    "NUL at the end": ({"instances": [{"text": "a\0"}, {"text": "\0"}]}, ["a\0", "\0"]),
    "escapes": (rb'{"inputs": ["\u00e4\ud83d\ude42"]}', ["ä🙂"]),
    "escapes of the last characters": (
        rb'{"inputs": ["\uDBFF\uDFFF\ud83d\ude42"]}',
        ["\U0010ffff🙂"],
    ),
    "escaped backslash": (rb'{"inputs": ["\\ud83d\\ude42"]}', [r"\ud83d\ude42"]),
}


@pytest.mark.parametrize("kind", GOOD_REQUESTS)
def test_response_format_follows_the_request(post, kind):
    body, wanted = GOOD_REQUESTS[kind]
    answer = post(body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    if "outputs" in found:
        assert found["outputs"]["translation"] == wanted
        assert found["outputs"]["length"] == [len(text.encode()) for text in wanted]
    else:
        assert [row["translation"] for row in found["predictions"]] == wanted


def test_non_utf8_bytes_round_trip(post):
    assert b'["a\xff"]' in post(b'{"inputs": ["a\xff"]}').content


def test_single_output_is_bare_and_floats_are_short(post):
    body = {"signature_name": "numbers", "instances": ["-1e9", "0.1", "2", "16777217", "-inf"]}
    assert "".join(post(body).text.split()) == (
        '{"predictions":[-1e+09,0.1,2.0,16777216.0,-Infinity]}'
    )
    answer = post({"signature_name": "numbers", "inputs": ["-1e9", "nan", "0.33333334"]})
    assert answer.text == '{\n    "outputs": [-1e+09, NaN, 0.333333343]\n}'


def test_objects_are_pretty_printed_in_random_order(post):
    body = {"signature_name": "raw", "instances": ["a"]}
    wanted = {"raw_bytes": {"b64": "YQ=="}, "pairs": ["a", "a"]}
    answers = {post(body).text for _ in range(40)}
    assert len(answers) == 2
    for answer in answers:
        assert json.loads(answer) == {"predictions": [wanted]}
        assert '\n            "pairs": ["a", "a"]' in answer


def test_unknown_paths(server, post):
    assert post({"inputs": ["a"]}, "/v1/models/toy/versions/3:predict").status_code == 200
    for path, request in (
        ("/v1/models/other:predict", "Latest(other)"),
        ("/v1/models/toy/versions/1:predict", "Specific(toy, 1)"),
    ):
        answer = post({"inputs": ["a"]}, path)
        assert answer.status_code == 404
        assert answer.json() == {"error": f"Servable not found for request: {request}"}
    answer = requests.get(f"{server.rest_address}/v1/models/toy:predict", timeout=60)
    assert answer.status_code == 400
    assert answer.json() == {"error": "Malformed request: GET /v1/models/toy:predict"}
    for path in ("other", "toy/versions/1"):
        answer = requests.get(f"{server.rest_address}/v1/models/{path}", timeout=60)
        assert answer.status_code == 404
        assert "Could not find" in answer.json()["error"]


def test_version_states_are_reported(server):
    wanted = {
        "version": "3",
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }
    for path in ("toy", "toy/versions/3"):
        answer = requests.get(f"{server.rest_address}/v1/models/{path}", timeout=60)
        assert answer.json() == {"model_version_status": [wanted]}
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "toy"
    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        (status,) = stub.GetModelStatus(request, timeout=60).model_version_status
        assert (status.version, status.State.Name(status.state)) == (3, "AVAILABLE")
        request.model_spec.name = "other"
        with pytest.raises(grpc.RpcError) as error:
            stub.GetModelStatus(request, timeout=60)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_grpc_reports_the_version_and_filters_outputs(predict):
    answer = predict(text=["a\0", "b"])
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("toy", 3, "serving_default")
    assert set(answer.outputs) == {"translation", "length"}
    assert list(answer.outputs["translation"].string_val) == [b"a\0", b"b"]
    answer = predict("score", ["score"], text=["a", "b"], reference=["a", "c"])
    assert set(answer.outputs) == {"score"}
    np.testing.assert_array_equal(tf.make_ndarray(answer.outputs["score"]), [1, 0])


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        ({"signature": "other", "text": ["a"]}, "FAILED_PRECONDITION", '"other" not found'),
        ({}, "INVALID_ARGUMENT", "Missing but required: {text}"),
        ({"text": ["a"], "more": ["b"]}, "INVALID_ARGUMENT", "Sent extra: {more}"),
        ({"txt": ["a"]}, "INVALID_ARGUMENT", "alias not found in signature: txt"),
        ({"text": [1]}, "INVALID_ARGUMENT", "dtype"),
        ({"text": [["a"]]}, "INVALID_ARGUMENT", "shape"),
        ({"text": "a"}, "INVALID_ARGUMENT", "at least one dimension"),
        ({"text": ["a"] * 17}, "INVALID_ARGUMENT", "Task size 17 is larger than"),
        ({"text": ["a"], "output_filter": ["x"]}, "INVALID_ARGUMENT", "not found in signature: x"),
        (
            {"text": ["a"], "output_filter": ["length", "length"]},
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: length",
        ),
        ({"text": ["a"], "name": "other"}, "NOT_FOUND", "Latest(other)"),
        ({"text": ["a"], "version": 1}, "NOT_FOUND", "Specific(toy, 1)"),
    ],
)
def test_grpc_status_codes(predict, request_, code, words):
    with pytest.raises(grpc.RpcError) as error:
        predict(**request_)
    assert error.value.code().name == code
    assert words in error.value.details()
