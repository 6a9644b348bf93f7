"""Warm-up requests, which TensorFlow Serving replays before serving a model.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from keras_attn_nmt.export import saved_model_check
from keras_attn_nmt.export.client import CONSTRAINED

PATH = saved_model_check.WARMUP
SIGNATURES = {
    "serving_default": ("text",),
    "translate": ("text",),
    "nbest": ("text",),
    "score": ("text", "reference"),
    "embed": ("text",),
    CONSTRAINED: ("text", "constraints"),
}
BATCH_SIZES = (1, 4, 16)


def write(directory: Path, inputs: Mapping[str, Sequence[str]]) -> None:
    """Writes the warm-up requests of a SavedModel: each signature, several lengths and batch sizes.

    Args:
        directory: Of the SavedModel.
        inputs: Values of each input by name, several lengths; a signature without values of one of
            its inputs is left out.
    """
    path = directory / PATH
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, names in SIGNATURES.items():
            if not set(names) <= set(inputs):
                continue
            for size in BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                # The model name is unknown here, and ignored there.
                request.model_spec.signature_name = signature
                for name in names:
                    batch = [inputs[name][i % len(inputs[name])] for i in range(size)]
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(batch))
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())


def read(directory: Path) -> list[predict_pb2.PredictRequest]:
    """The warm-up requests of a SavedModel."""
    return list(saved_model_check.warmup_requests(directory))
