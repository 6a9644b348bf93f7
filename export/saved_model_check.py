"""Standalone program that verifies a SavedModel as loaded by TensorFlow Serving.

    python saved_model_check.py SAVED_MODEL EXPECTED.npz

It requires TensorFlow, TF Text and the protos of TensorFlow Serving, and runs from a separate
folder, isolated from this package. It loads the SavedModel into a Session, like TensorFlow Serving,
compares all signatures, also under concurrent threads, and replays the warm-up requests.

`EXPECTED.npz` holds inputs as `input/NAME` and outputs as `SIGNATURE/NAME`. Prints the problems and
exits with 1, or prints nothing. Ends as soon as its standard input does: its parent is gone.
"""

import itertools
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

if __name__ == "__main__":

    def _end_with_parent() -> None:
        while os.read(0, 1024):
            pass
        os._exit(1)

    threading.Thread(target=_end_with_parent, daemon=True).start()
    # TensorFlow and Keras import these where they are installed, for features not used here.
    sys.modules |= dict.fromkeys(("jax", "matplotlib", "sklearn"))  # type: ignore[arg-type]

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

TOLERANCE = 1e-4
THREADS = 8
WARMUP = "assets.extra/tf_serving_warmup_requests"
# Ops that call Python.
FORBIDDEN = ("PyFunc", "EagerPyFunc", "PyFuncStateless")
INITIALIZER = "__saved_model_init_op"


class SessionModel:
    """A SavedModel loaded into a Session, as TensorFlow Serving does.

    `tf.saved_model.load` restores variables along the object graph; a Session only has the
    restore op, which restores only variables tracked by `tf.saved_model.save`.

    Args:
        directory: Directory of the SavedModel.
        threads: Number of inter-op threads; 0 for TensorFlow's default, one per CPU.

    Attributes:
        signatures: The `SignatureDef` of each signature by name; its `inputs` and `outputs` map
            names to `TensorInfo`.

    Raises:
        OSError: The directory holds no SavedModel.
        RuntimeError: The SavedModel has no graph for serving.
        tf.errors.OpError: Weights or assets are missing or damaged, or an op is not registered.
    """

    def __init__(self, directory: str | os.PathLike[str], threads: int = 0):
        graph = tf.Graph()
        config = tf.compat.v1.ConfigProto()
        if threads:
            config.session_inter_op_thread_pool.add(num_threads=threads)
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], os.fspath(directory)
                )
        except BaseException:
            self.close()
            raise
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if name != INITIALIZER
        }

    def run(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Runs a signature; safe to call from several threads at once.

        Args:
            signature: Name of the signature.
            inputs: Each input of the signature by name: an array of strings, or a list of `str` or
                `bytes`, shape `(batch,)`.

        Returns:
            Each output by name, batch first; strings are `bytes` in arrays of dtype object.

        Raises:
            ValueError: The signature is unknown, or input names or ranks do not match.
            tf.errors.OpError: The model fails on these inputs.
        """
        if signature not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ValueError(f"Unknown signature {signature!r}; the signatures are {known}.")
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise ValueError(
                f"Signature {signature!r} takes {', '.join(sorted(definition.inputs))}, got "
                f"{', '.join(sorted(inputs)) or 'nothing'}."
            )
        feeds = {
            info.name: np.asarray(inputs[name], tf.as_dtype(info.dtype).as_numpy_dtype)
            for name, info in definition.inputs.items()
        }
        fetches = {name: info.name for name, info in definition.outputs.items()}
        return self._session.run(fetches, feeds)

    def close(self) -> None:
        """Closes the Session and frees its resources."""
        self._session.close()


def wrong_ops(directory: str) -> list[str]:
    """Ops that are unavailable on a server without Python or GPU."""
    saved = saved_model_pb2.SavedModel()
    with open(f"{directory}/saved_model.pb", "rb") as file:
        saved.ParseFromString(file.read())
    used = set()
    functions = set()
    for graph in saved.meta_graphs:
        used |= {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            functions.add(function.signature.name)
            used |= {node.op for node in function.node_def}
    return sorted(
        name
        for name in used - functions
        if op_def_registry.get(name) is None or "Cudnn" in name or name in FORBIDDEN
    )


def differences(model: SessionModel, expected: dict[str, np.ndarray]) -> list[str]:
    """Differences between actual and expected outputs of all signatures, sequentially and then
    under concurrent threads with permuted rows.
    """
    inputs: dict[str, np.ndarray] = {}
    outputs: dict[str, dict[str, np.ndarray]] = {}
    for key, value in expected.items():
        group, name = key.split("/")
        (inputs if group == "input" else outputs.setdefault(group, {}))[name] = value
    if missing := sorted(set(outputs) - set(model.signatures)):
        return [f"signature {name} is missing" for name in missing]

    def compare(signature: str, shift: int) -> list[str]:
        names = model.signatures[signature].inputs
        rows = {name: np.roll(inputs[name], shift, 0) for name in inputs if name in names}
        wanted = {name: np.roll(value, shift, 0) for name, value in outputs[signature].items()}
        return _wrong(model, signature, rows, wanted)

    found = [text for signature in outputs for text in compare(signature, 0)]
    if found:
        return found
    with ThreadPoolExecutor(THREADS) as threads:
        compared = threads.map(compare, itertools.cycle(outputs), range(THREADS))
        found = [text for each in compared for text in each]
    return [f"with {THREADS} concurrent threads, {text}" for text in dict.fromkeys(found)]


def warmup_requests(directory: str | os.PathLike[str]) -> Iterator[predict_pb2.PredictRequest]:
    """The warm-up requests of a SavedModel."""
    path = os.path.join(directory, WARMUP)
    for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
        yield prediction_log_pb2.PredictionLog.FromString(record).predict_log.request


def warmup_failures(model: SessionModel, directory: str | os.PathLike[str]) -> list[str]:
    """Failing warm-up requests, which would stop TensorFlow Serving from serving the version, and
    signatures without warm-up requests.
    """
    found = []
    cold = set(model.signatures)
    try:
        for request in warmup_requests(directory):
            signature = request.model_spec.signature_name
            rows = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            found += _wrong(model, signature, rows, {})
            cold.discard(signature)
    except (tf.errors.OpError, DecodeError) as error:
        return [f"warm-up requests cannot be read: {_reason(error)}"]
    found += [f"{signature} has none" for signature in sorted(cold)]
    return [f"warm-up request: {text}" for text in dict.fromkeys(found)]


def _wrong(
    model: SessionModel,
    signature: str,
    inputs: dict[str, np.ndarray],
    wanted: dict[str, np.ndarray],
) -> list[str]:
    """Problems of the outputs of a request, compared with `wanted`."""
    try:
        answers = model.run(signature, inputs)
    except (ValueError, tf.errors.OpError) as error:
        return [f"{signature}: {_reason(error)}"]
    size = len(next(iter(inputs.values())))
    found = [
        *(f"{name} is missing" for name in sorted(set(wanted) - set(answers))),
        *(
            f"{name} is not finite"
            for name, answer in answers.items()
            if answer.dtype.kind == "f" and not np.isfinite(answer).all()
        ),
        *(
            f"{name} has shape {answer.shape}, not {wanted[name].shape}"
            for name, answer in answers.items()
            if name in wanted and answer.shape != wanted[name].shape
        ),
        *(
            f"{name} has shape {answer.shape} for {size} texts"
            for name, answer in answers.items()
            if answer.shape[:1] != (size,)
        ),
    ]
    return [f"{signature}: {text}" for text in found or _unequal(answers, wanted)]


def _reason(error: Exception) -> str:
    """Type and message of an error, without the list of nodes that TensorFlow appends."""
    message = error.message if isinstance(error, tf.errors.OpError) else str(error)
    message = message.removeprefix("Graph execution error:").strip()
    return f"{type(error).__name__}: {message.splitlines()[0] if message else 'no message'}"


def _unequal(answers: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[str]:
    """Differences of outputs with equal shapes. Rounding decides between equally good translations,
    so if the text differs, only the score is compared.
    """
    same = np.ones(len(next(iter(answers.values()))), bool)
    if "translation" in wanted:
        equal = answers["translation"] == wanted["translation"]
        same = equal.reshape(len(same), -1).all(axis=1)
    found = []
    for name, value in wanted.items():
        rows = slice(None) if name == "score" else same
        answer, value = answers[name][rows], value[rows]
        if value.dtype.kind != "f":
            if (answer != value).any():
                found.append(f"{name} differs")
        elif np.abs(answer - value).max(initial=0) > max(TOLERANCE, np.finfo(answer.dtype).eps):
            found.append(f"{name} is off by {np.abs(answer - value).max():.2g}")
    return found


def problems(directory: str, path: str) -> list[str]:
    """Problems of a SavedModel, by the inputs and outputs in `EXPECTED.npz`."""
    if ops := wrong_ops(directory):
        return [f"it has ops that TensorFlow Serving lacks: {', '.join(ops)}"]
    with np.load(path) as file:
        expected = dict(file)
    try:
        # With one thread, on a machine with one CPU, requests would run one after the other.
        model = SessionModel(directory, THREADS)
    except (RuntimeError, tf.errors.OpError) as error:
        return [f"it does not load into a Session: {_reason(error)}"]
    try:
        return differences(model, expected) or warmup_failures(model, directory)
    finally:
        model.close()


def main() -> int:
    """Prints the problems."""
    found = problems(*sys.argv[1:])
    foreign = [name for name in ("keras_attn_nmt", "sentencepiece") if name in sys.modules]
    found += [f"{name} was imported" for name in foreign]
    print("; ".join(found), end="")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
