"""Test code: a loaded version and its responses to a PredictRequest, like TensorFlow Serving.

After `predict_util.cc` of TensorFlow Serving.
"""

import time

import grpc
import tensorflow as tf
from serving_batching import INVALID, PRECONDITION, Batcher, StatusError
from tensorflow_serving.apis import predict_pb2

from keras_attn_nmt.export.saved_model_check import SessionModel, warmup_requests

DEFAULT = "serving_default"


class Servable:
    """A version of a model in a Session, warm.

    Args:
        directory: Of the version.
        number: Of the version.
        parameters: BatchingParameters, or None for no batching.
    """

    def __init__(self, directory, number, parameters):
        self.number = number
        self._model = SessionModel(directory)
        self.definitions = self._model.signatures
        self.batcher = Batcher(self._run_queue, parameters) if parameters else None
        try:
            for request in warmup_requests(directory):
                self.predict(request, time.monotonic() + 3600)
        except BaseException:
            self.close()
            raise

    def predict(self, request, deadline):
        """A PredictResponse; raises StatusError."""
        signature = request.model_spec.signature_name or DEFAULT
        if signature not in self.definitions:
            raise StatusError(PRECONDITION, f'Serving signature key "{signature}" not found.')
        definition = self.definitions[signature]
        inputs = _inputs(definition, request)
        names = list(request.output_filter) or sorted(definition.outputs)
        for name in names:
            if name not in definition.outputs:
                raise StatusError(
                    INVALID,
                    f"output tensor alias not found in signature: {name} Outputs expected "
                    f"to be in the set {{{','.join(sorted(definition.outputs))}}}.",
                )
            if names.count(name) > 1:
                raise StatusError(INVALID, f"duplicate output tensor alias: {name}")
        if self.batcher:
            # Requests for other outputs of a signature wait in a queue of their own.
            outputs = self.batcher.run((signature, frozenset(names)), inputs, deadline)
        else:
            outputs = self._run(signature, inputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(request.model_spec)
        response.model_spec.version.value = self.number
        response.model_spec.signature_name = signature
        for name in names:
            response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
        return response

    def close(self):
        """Frees what it holds."""
        if self.batcher:
            self.batcher.close()
        self._model.close()

    def _run_queue(self, queue, inputs):
        return self._run(queue[0], inputs)

    def _run(self, signature, inputs):
        try:
            return self._model.run(signature, inputs)
        except ValueError as error:  # Python's Session looks at shapes itself.
            raise StatusError(INVALID, str(error)) from error
        except tf.errors.OpError as error:
            code = next(c for c in grpc.StatusCode if c.value[0] == error.error_code)
            raise StatusError(code, error.message) from error


def _inputs(definition, request):
    got, wanted = set(request.inputs), set(definition.inputs)
    if len(got) != len(wanted):
        raise StatusError(
            INVALID,
            f"input size does not match signature: {len(got)}!={len(wanted)} "
            f"len({{{','.join(sorted(got))}}}) != len({{{','.join(sorted(wanted))}}}). "
            f"Sent extra: {{{','.join(sorted(got - wanted))}}}. "
            f"Missing but required: {{{','.join(sorted(wanted - got))}}}.",
        )
    inputs = {}
    for name, value in request.inputs.items():
        if name not in wanted:
            raise StatusError(
                INVALID,
                f"input tensor alias not found in signature: {name}. Inputs expected to be in the "
                f"set {{{','.join(sorted(wanted))}}}.",
            )
        try:
            inputs[name] = tf.make_ndarray(value)
        except (TypeError, ValueError) as error:
            raise StatusError(INVALID, f"tensor parsing error: {name}") from error
        if value.dtype != definition.inputs[name].dtype:
            raise StatusError(INVALID, f"{name} has dtype {tf.as_dtype(value.dtype).name}")
    return inputs
