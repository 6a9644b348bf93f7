"""Test code: a SavedModel that is loaded at once, with outputs of all kinds, to test a server."""

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

TEXTS = tf.TensorSpec([None], tf.string, name="text")
REFERENCES = tf.TensorSpec([None], tf.string, name="reference")


class Toy(tf.Module):
    """`numbers` fails if a text is not a number."""

    @tf.function(input_signature=[TEXTS])
    def default(self, text):
        """Two outputs."""
        return {"translation": text, "length": tf.strings.length(text)}

    @tf.function(input_signature=[TEXTS])
    def numbers(self, text):
        """One output."""
        return {"number": tf.strings.to_number(text)}

    @tf.function(input_signature=[TEXTS])
    def raw(self, text):
        """An output of bytes, and one of a higher rank."""
        return {"raw_bytes": text, "pairs": tf.stack([text, text], axis=1)}

    @tf.function(input_signature=[TEXTS, REFERENCES])
    def score(self, text, reference):
        """Two inputs."""
        return {"score": tf.cast(text == reference, tf.float32), "reference": reference}


def save(directory, warmup=("1",)):
    """Writes the SavedModel with a warm-up request to `numbers`."""
    toy = Toy()
    signatures = {
        "serving_default": toy.default,
        "numbers": toy.numbers,
        "raw": toy.raw,
        "score": toy.score,
    }
    tf.saved_model.save(toy, str(directory), signatures)
    request = predict_pb2.PredictRequest()
    request.model_spec.signature_name = "numbers"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(list(warmup)))
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    (directory / "assets.extra").mkdir()
    path = directory / "assets.extra" / "tf_serving_warmup_requests"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
