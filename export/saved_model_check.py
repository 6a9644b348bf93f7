"""A program of its own: is a SavedModel what it should be, with TensorFlow and TF Text alone?

    python saved_model_check.py SAVED_MODEL EXPECTED.npz

It runs from a folder of its own, so that nothing else lies beside it.
`EXPECTED.npz` holds inputs as `input/NAME` and outputs as `SIGNATURE/NAME`. Prints what is wrong
and exits with 1, or prints nothing.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

TOLERANCE = 1e-4
# In Python, or on some machines only.
FORBIDDEN = ("PyFunc", "EagerPyFunc", "PyFuncStateless")
INITIALIZER = "__saved_model_init_op"


class SessionModel:
    """A SavedModel in a Session, which is how TensorFlow Serving loads it.

    `tf.saved_model.load` restores variables in another way and finds some that a Session does not.

    Args:
        directory: Of the SavedModel.

    Attributes:
        signatures: The `SignatureDef` of each signature by name; its `inputs` and `outputs` map
            names to `TensorInfo`.

    Raises:
        tf.errors.OpError: A file is missing or damaged, or an initializer fails.
        RuntimeError: The SavedModel has no graph for serving.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
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
            inputs: Each input of the signature by name: an array, or a (nested) list of numbers,
                `str` or `bytes`.

        Returns:
            Each output by name; strings are `bytes` in arrays of dtype object.

        Raises:
            ValueError: There is no such signature, or its inputs have other names.
            tf.errors.OpError: The model fails on these inputs.
        """
        if signature not in self.signatures:
            known = ", ".join(sorted(self.signatures))
            raise ValueError(f"There is no signature {signature!r}; the signatures are {known}.")
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
        """Frees the Session and what it holds."""
        self._session.close()


def wrong_ops(directory: str) -> list[str]:
    """Ops that a server without Python and without a GPU may not have."""
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


def differences(directory: str, expected: dict[str, np.ndarray]) -> list[str]:
    """How the answers of all signatures differ from the expected ones."""
    loaded = tf.saved_model.load(directory)
    inputs = {
        name.split("/")[1]: value for name, value in expected.items() if name.startswith("input/")
    }
    found = []
    missing = {name.split("/")[0] for name in expected} - {"input", *loaded.signatures}
    found += [f"signature {name} is missing" for name in sorted(missing)]
    for signature, function in loaded.signatures.items():
        names = function.structured_input_signature[1]
        tensors = function(**{name: tf.constant(inputs[name]) for name in names})
        answers = {name: tensor.numpy() for name, tensor in tensors.items()}
        wanted = {
            name: expected[f"{signature}/{name}"]
            for name in answers
            if f"{signature}/{name}" in expected
        }
        found += [
            f"{signature}: {name} is not finite"
            for name, answer in answers.items()
            if answer.dtype.kind == "f" and not np.isfinite(answer).all()
        ]
        found += [
            f"{signature}: {name} has shape {answers[name].shape}, not {value.shape}"
            for name, value in wanted.items()
            if answers[name].shape != value.shape
        ]
        if not found:
            found += [f"{signature}: {text}" for text in _unequal(answers, wanted)]
    return found


def _unequal(answers: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> list[str]:
    """How answers of the right shapes differ. Of translations as good as each other, rounding
    decides, so that where the text is another one, only the score has to be the same.
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
        elif np.abs(answer - value).max(initial=0) > TOLERANCE:
            found.append(f"{name} is off by {np.abs(answer - value).max():.2g}")
    return found


def problems(directory: str, path: str) -> list[str]:
    """What is wrong with a SavedModel, by the inputs and outputs in `EXPECTED.npz`."""
    found = []
    if ops := wrong_ops(directory):
        found.append(f"it has ops that TensorFlow Serving lacks: {', '.join(ops)}")
    with np.load(path) as file:
        found += differences(directory, dict(file))
    return found


def main() -> int:
    """Prints what is wrong."""
    found = problems(*sys.argv[1:])
    foreign = [name for name in ("keras_attn_nmt", "sentencepiece") if name in sys.modules]
    found += [f"{name} was imported" for name in foreign]
    print("; ".join(found), end="")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
