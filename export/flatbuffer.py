"""Alignment and custom ops of `.tflite` files, FlatBuffers of schema version 3."""

import flatbuffers
from tensorflow.lite.python import schema_py_generated as schema

IDENTIFIER = b"TFL3"
# `force_align` of a buffer's data in the schema.
ALIGNMENT = 16


class _AlignedBuilder(flatbuffers.Builder):
    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        if elemSize == 1:  # Data of tensors, and the few other vectors of bytes.
            alignment = ALIGNMENT
        offset: int = super().StartVector(elemSize, numElems, alignment)
        return offset


def aligned(content: bytes) -> bytes:
    """The same model, with the data of its tensors at multiples of 16 bytes in the file.

    TensorFlow's converter writes from Python, whose generated code does not know `force_align`. A
    runtime that maps the file into memory may have to copy what is not aligned: LiteRT's nightly
    build 2.4.0.dev20261026 copies 64-bit integers that are not at multiples of 8, with a warning.
    """
    builder = _AlignedBuilder(len(content))
    model = schema.ModelT.InitFromPackedBuf(content)
    builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def custom_ops(content: bytes) -> set[str]:
    """Names of the custom ops in a `.tflite` file, which are not builtins."""
    model = schema.Model.GetRootAs(content)
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    return {code.CustomCode().decode() for code in codes if code.CustomCode()}
