"""Warm-up requests, which TensorFlow Serving replays before serving a model.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from keras_attn_nmt.export import saved_model_check

PATH = saved_model_check.WARMUP
SIGNATURES = {
    "serving_default": ("text",),
    "translate": ("text",),
    "nbest": ("text",),
    "score": ("text", "reference"),
    "embed": ("text",),
}
BATCH_SIZES = (1, 4, 16)


def write(directory: Path, texts: list[str]) -> None:
    """Writes the warm-up requests of a SavedModel: each signature, several lengths and batch sizes.

    Args:
        directory: Of the SavedModel.
        texts: Of several lengths.
    """
    path = directory / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in SIGNATURES.items():
            for size in BATCH_SIZES:
                batch = [texts[i % len(texts)] for i in range(size)]
                request = predict_pb2.PredictRequest()
                # The model name is unknown here, and ignored there.
                request.model_spec.signature_name = signature
                for name in inputs:
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(batch))
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())


def read(directory: Path) -> list[predict_pb2.PredictRequest]:
    """The warm-up requests of a SavedModel."""
    return list(saved_model_check.warmup_requests(directory))
