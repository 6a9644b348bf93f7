"""Every output of a `Translation` in the messages of gRPC, by whichever protobuf is installed."""

from concurrent import futures

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from keras_attn_nmt.export import TranslationClient

TEXTS = ["zwei Häuser", "日本\0"]
ANSWER = {
    "translation": [b"two houses", "\u65e5\0".encode()],
    "score": np.array([-0.5, -1.25], "float32"),
    "token_scores": np.array([[-0.25, -0.25, -0.5], [-1.25, 0, 0]], "float32"),
    "source_tokens": [["▁zwei", "▁Häuser", "</s>"], ["日本\0", "</s>", ""]],
    "target_tokens": [["▁two", "▁houses", "</s>"], ["日\0", "", ""]],
    "source_length": np.array([3, 2], "int32"),
    "target_length": np.array([3, 1], "int32"),
    "attention": np.array(
        [[[0.5, 0.25, 0.25], [0, 1, 0], [0, 0, 1]], [[0.75, 0.25, 0], [0] * 3, [0] * 3]], "float32"
    ),
}


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Answers with `ANSWER`, and keeps the requests."""

    def __init__(self):
        self.requests = []

    def Predict(self, request, context):
        self.requests.append(request)
        answer = predict_pb2.PredictResponse()
        for name, value in ANSWER.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer


@pytest.fixture
def servicer():
    return Servicer()


@pytest.fixture
def client(servicer):
    server = grpc.server(futures.ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    with TranslationClient(f"localhost:{port}", "small", version=7) as client:
        yield client
    server.stop(None)


def test_translations_are_read_from_messages(client):
    for row, found in enumerate(client(TEXTS)):
        source, target = ANSWER["source_length"][row], ANSWER["target_length"][row]
        assert found.text.encode() == ANSWER["translation"][row]
        assert found.score == ANSWER["score"][row]
        assert found.source_tokens == ANSWER["source_tokens"][row][:source]
        assert found.target_tokens == ANSWER["target_tokens"][row][:target]
        np.testing.assert_array_equal(found.token_scores, ANSWER["token_scores"][row, :target])
        np.testing.assert_array_equal(found.attention, ANSWER["attention"][row, :target, :source])


def test_texts_and_references_are_written_to_messages(client, servicer):
    client.score(TEXTS, ["two houses", "Japan"])
    (request,) = servicer.requests
    assert (request.model_spec.name, request.model_spec.signature_name) == ("small", "score")
    assert request.model_spec.version.value == 7
    sent = {name: tf.make_ndarray(value).tolist() for name, value in request.inputs.items()}
    assert sent == {
        "text": [text.encode() for text in TEXTS],
        "reference": [b"two houses", b"Japan"],
    }
