"""Verifies the energies of a `.tflite` file that was exported for the step-through."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keras_attn_nmt.export.device_metadata import read_metadata
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.extras import extra
from keras_attn_nmt.quiet import quiet_command
from keras_attn_nmt.text.special_ids import BOS, EOS, UNK

with extra("device"):
    from ai_edge_litert.interpreter import Interpreter

# Softmax of quantised energies and quantised attention come from two computations.
TOLERANCE = 1e-2


def check_energies(path: Path) -> None:
    """Checks that the attention of `decode_step` is the softmax of its energies.

    It is not for a subclass of `Attention` that overrides `call`.

    Raises:
        ExportError: It is not.
    """
    with quiet_command():
        interpreter = Interpreter(model_path=str(path))
        encode, decode = (
            interpreter.get_signature_runner(each) for each in ("encode", "decode_step")
        )
    source = np.zeros((1, read_metadata(path)["max_source_length"]), "int32")
    source[0, :2] = UNK, EOS
    found = decode(tokens=np.array([[BOS]], "int32"), **encode(source_ids=source))
    if "energies" not in found:  # A model without attention.
        return
    energies = found["energies"][0, 0, :2]
    softmax = np.exp(energies - energies.max())
    difference = np.abs(softmax / softmax.sum() - found["attention"][0, 0, :2]).max()
    if not difference <= TOLERANCE:
        raise ExportError(
            "The attention weights of this model are not the softmax of its energies (they differ "
            f"by {difference:.2g}), so there is no step-through: export it without steps (--steps)."
        )
