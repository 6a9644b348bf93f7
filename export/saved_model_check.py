"""A program of its own: is a SavedModel what it should be, with TensorFlow and TF Text alone?

    python -I saved_model_check.py SAVED_MODEL EXPECTED.npz

`EXPECTED.npz` holds inputs as `input/NAME` and outputs as `SIGNATURE/NAME`. Prints what is wrong
and exits with 1, or prints nothing.
"""

import sys

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

TOLERANCE = 1e-4
# In Python, or on some machines only.
FORBIDDEN = ("PyFunc", "EagerPyFunc", "PyFuncStateless")


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
        answers = function(**{name: tf.constant(inputs[name]) for name in names})
        for name, answer in answers.items():
            wanted, answer = expected.get(f"{signature}/{name}"), answer.numpy()
            if answer.dtype.kind == "f" and not np.isfinite(answer).all():
                found.append(f"{signature}: {name} is not finite")
            if wanted is None:
                continue
            if answer.shape != wanted.shape:
                found.append(f"{signature}: {name} has shape {answer.shape}, not {wanted.shape}")
            elif wanted.dtype.kind != "f":
                if (answer != wanted).any():
                    found.append(f"{signature}: {name} differs")
            elif np.abs(answer - wanted).max(initial=0) > TOLERANCE:
                found.append(f"{signature}: {name} is off by {np.abs(answer - wanted).max():.2g}")
    return found


def main() -> int:
    """Prints what is wrong."""
    directory, path = sys.argv[1:]
    problems = []
    if ops := wrong_ops(directory):
        problems.append(f"it has ops that TensorFlow Serving lacks: {', '.join(ops)}")
    with np.load(path) as file:
        problems += differences(directory, dict(file))
    foreign = [name for name in ("keras_attn_nmt", "sentencepiece") if name in sys.modules]
    problems += [f"{name} was imported" for name in foreign]
    print("; ".join(problems), end="")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
