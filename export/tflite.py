"""A model directory to one `.tflite` file for devices: builtin ops, and the attention.

    translate(source_ids) -> target_ids, score, token_scores, attention      greedy, all of it
    encode(source_ids) -> memory, state                                       for a beam of
    decode_step(tokens, state, memory) -> log_probabilities, state, attention   one's own

or, with the vocabularies inside and TF Text's ops for them:

    translate(text) -> translation, score, tokens and attention, as the SavedModel gives them

All shapes are fixed. What each side of the file needs to know of it stands in `metadata.json`, in
a zip archive at its end (as TensorFlow Lite's metadata has it): `unzip -p model.tflite
metadata.json`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_text
from keras import ops
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_attn_nmt import __version__
from keras_attn_nmt import search as searching
from keras_attn_nmt.decoder import Memory
from keras_attn_nmt.export import fast_sentencepiece, samples, trained
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.runner import METADATA, TFLiteTranslator
from keras_attn_nmt.files import SOURCE, TARGET, ModelFiles
from keras_attn_nmt.quiet import quiet_stderr
from keras_attn_nmt.special_ids import EOS, PAD
from keras_attn_nmt.translation import IMPOSSIBLE, Translation, check_penalty, check_positive
from keras_attn_nmt.translator import Translator
from keras_attn_nmt.writing import replacing

TOLERANCE = 1e-4
QUANTIZATIONS = ("none", "float16", "int8")

logger = logging.getLogger(__name__)


def export_tflite(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    quantize: str = "none",
    max_source_length: int = 64,
    max_target_length: int = 64,
    beam_size: int = 5,
    length_penalty: float = 1.0,
    text: bool = False,
) -> Path:
    """Writes a model directory as a `.tflite` file of builtin ops, with its vocabularies beside it.

    Args:
        model: Model directory, trained on whatever backend and device.
        output: The file, `NAME.tflite`. Its vocabularies become `NAME.source.spm` and
            `NAME.target.spm`. What is there of these names is replaced, each file whole.
        quantize: `"none"`, `"float16"` (weights of half the size) or `"int8"` (dynamic range: a
            quarter, and faster).
        max_source_length: Longest source in tokens, `</s>` included.
        max_target_length: Longest translation in tokens, `</s>` included.
        beam_size: Hypotheses that `decode_step` takes.
        length_penalty: As in `Translator.nbest`, for the score.
        text: Take and give text, with the vocabularies inside: needs an interpreter with TF Text's
            two SentencePiece ops. There is greedy search alone then, and no files beside it.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: The model directory or one of its files is missing.
        ValueError: The model directory is damaged, an option is out of its range, Keras does not
            run on TensorFlow, or `text` is asked for and the vocabulary is a BPE model.
        ExportError: The model has ops that are no builtins, which it names, or the float file
            translates other than the model does; no file is written then.
        OSError: The disk is full, or cannot be written to.
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}.")
    for name, value in (
        ("max_source_length", max_source_length),
        ("max_target_length", max_target_length),
        ("beam_size", beam_size),
    ):
        check_positive(name, value)
    check_penalty(length_penalty)
    output = Path(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {output.parent} to write {output.name} to.")
    if output.suffix != ".tflite":
        raise ValueError(f"The file has to end with .tflite, got {str(output)!r}.")
    files = trained.load(model)
    vocabularies = [output.with_suffix(f".{side}.spm") for side in ("source", "target")]
    metadata: dict[str, Any] = {
        "producer": f"keras_attn_nmt {__version__}",
        **trained.languages(model),
        "source_vocabulary": vocabularies[0].name,
        "target_vocabulary": vocabularies[1].name,
        "source_vocabulary_sha256": files.source_tokenizer.digest,
        "target_vocabulary_sha256": files.target_tokenizer.digest,
        "max_source_length": max_source_length,
        "max_target_length": max_target_length,
        "beam_size": beam_size,
        "length_penalty": float(length_penalty),
        "quantization": quantize,
        "text": text,
    }
    content = _convert(files, metadata)
    own = [Path(model, SOURCE), Path(model, TARGET)]
    with replacing(output) as temporary:
        temporary.write_bytes(content)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(METADATA, json.dumps(metadata, indent=2) + "\n")
        with tf.device("/CPU:0"):  # As where it is to run, and more exact than a GPU.
            _check(files, temporary, own, metadata)
        if not text:
            files.source_tokenizer.save(vocabularies[0])
            files.target_tokenizer.save(vocabularies[1])
    logger.info("%s: %.1f MB, run and compared", output, output.stat().st_size / 1e6)
    return output


def _convert(files: ModelFiles, metadata: dict[str, Any]) -> bytes:
    functions = _functions(files, metadata)
    module = tf.Module()
    module.functions = functions
    with tempfile.TemporaryDirectory() as directory:
        try:
            tf.saved_model.save(module, directory, signatures=functions)
        except tf.errors.OpError as error:
            raise OSError(f"Could not write to {directory}: {error.message}") from error
        converter = tf.lite.TFLiteConverter.from_saved_model(
            directory, signature_keys=list(functions)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        converter.allow_custom_ops = metadata["text"]
        if metadata["quantization"] != "none":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            # One scale a table, so that the tied one is stored once for both of its uses.
            converter._experimental_disable_per_channel = True
        if metadata["quantization"] == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            with quiet_stderr():
                content = converter.convert()
        except Exception as error:  # The converter's own, which it does not export.
            raise ExportError(f"The model cannot be converted to builtin ops: {error}") from error
    allowed = fast_sentencepiece.OPS if metadata["text"] else ()
    if foreign := sorted(_custom_ops(content) - set(allowed)):
        raise ExportError(f"The model has ops that are no builtins: {', '.join(foreign)}.")
    return content


def _custom_ops(content: bytes) -> set[str]:
    codes = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content)).operatorCodes
    return {code.customCode.decode() for code in codes if code.customCode}


def _functions(files: ModelFiles, metadata: dict[str, Any]) -> dict[str, Any]:
    """The signatures of the file as concrete functions with fixed shapes."""
    stepper = searching.Stepper(files.model)
    weights = files.model.weights
    values = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in weights]

    def concrete(function: Callable, *specs: tf.TensorSpec) -> Any:
        # Constants in place of variables, which the file would have to be given at run time.
        def frozen(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            constants = [tf.constant(value) for value in values]
            mapping = list(zip(weights, constants, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return function(**{spec.name: x for spec, x in zip(specs, inputs, strict=True)})

        return tf.function(frozen, autograph=False).get_concrete_function(*specs)

    limit = metadata["max_source_length"]

    def translate(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        source_ids = _real(source_ids)
        found = searching.search(
            stepper,
            source_ids,
            beam_size=1,
            length_alpha=metadata["length_penalty"],
            max_length=metadata["max_target_length"],
        )
        return {
            "target_ids": found.tokens[:, 0],
            "score": found.scores[:, 0],
            "token_scores": found.token_scores[:, 0],
            "attention": _filled(found.attention[:, 0], 2, limit),
        }

    def encode(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        memory, state = stepper.encode(_real(source_ids))
        # Without attention there are no keys, and a device has no tensors without numbers.
        filled = {
            name: _filled(value, 1, limit)
            for name, value in memory._asdict().items()
            if 0 not in value.shape
        }
        return {**filled, **_named(state)}

    def decode_step(tokens: tf.Tensor, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        nothing = inputs["annotations"][:, :, :0]
        memory = Memory(*(inputs.get(name, nothing) for name in Memory._fields))
        state = tuple(inputs[name] for name in sorted(set(inputs) - set(Memory._fields)))
        logits, state, attention = stepper.step(tokens, state, memory)
        normalizer = ops.logsumexp(logits, axis=-1, keepdims=True)
        return {
            "log_probabilities": logits - normalizer,
            "attention": attention,
            **_named(state),
        }

    if metadata["text"]:
        text = tf.TensorSpec((1,), tf.string, "text")
        return {"translate": concrete(_reading_text(translate, files, metadata), text)}
    source = tf.TensorSpec((1, metadata["max_source_length"]), tf.int32, "source_ids")
    tokens = tf.TensorSpec((1, metadata["beam_size"]), tf.int32, "tokens")
    encoded = concrete(encode, source)
    inputs = []
    for name, output in encoded.structured_outputs.items():
        shape = list(output.shape)
        if name not in Memory._fields:  # One state for each hypothesis.
            shape[1] = metadata["beam_size"]
        inputs.append(tf.TensorSpec(shape, output.dtype, name))
    return {
        "translate": concrete(translate, source),
        "encode": encoded,
        "decode_step": concrete(decode_step, tokens, *inputs),
    }


def _reading_text(
    translate: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    files: ModelFiles,
    metadata: dict[str, Any],
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`translate` of ids as one of text, which answers as the SavedModel does."""
    limit = metadata["max_source_length"]

    def translate_text(text: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = fast_sentencepiece.tokenize(files.source_tokenizer, text)
        blank = tf.reduce_all(tf.gather(fast_sentencepiece.blanks(files.source_tokenizer), ids))
        length = tf.where(blank, 0, tf.size(ids) + 1)
        readable = length <= limit
        last = tf.where(readable, length, 0) - 1
        position = tf.range(limit)
        padded = tf.concat([ids[:limit], tf.fill([limit], PAD)], axis=0)[:limit]
        padded = tf.where(position < last, padded, tf.where(position == last, EOS, PAD))
        source_ids = padded[tf.newaxis]
        found = translate(source_ids)
        target_ids = found.pop("target_ids")
        source_pieces, target_pieces = (
            tf.constant(fast_sentencepiece.pieces(tokenizer))
            for tokenizer in (files.source_tokenizer, files.target_tokenizer)
        )
        return {
            **found,
            "translation": fast_sentencepiece.detokenize(files.target_tokenizer, target_ids[0]),
            "score": tf.where(readable, found["score"], IMPOSSIBLE),
            "source_tokens": tf.gather(source_pieces, source_ids),
            "target_tokens": tf.gather(target_pieces, target_ids),
            "source_length": length[tf.newaxis],
            "target_length": tf.reduce_sum(tf.cast(target_ids != PAD, tf.int32), axis=1),
        }

    return translate_text


def _real(source_ids: tf.Tensor) -> tf.Tensor:
    """The ids without padding: every loop over them stops where the sentence does."""
    length = tf.reduce_sum(tf.cast(source_ids != PAD, tf.int32))
    return source_ids[:, : tf.maximum(length, 1)]


def _filled(tensor: tf.Tensor, axis: int, size: int) -> tf.Tensor:
    """`tensor` with zeros up to `size` where the length of the sentence was."""
    if tensor.shape[axis] is not None:  # Without attention there is one vector a sentence.
        return tensor
    if tensor.dtype == tf.bool:  # Which the op of the device does not fill up.
        return _filled(tf.cast(tensor, tf.int32), axis, size) > 0
    missing = size - tf.shape(tensor)[axis]
    paddings = [[0, missing if place == axis else 0] for place in range(len(tensor.shape))]
    shape = [size if place == axis else length for place, length in enumerate(tensor.shape)]
    return tf.reshape(tf.pad(tensor, paddings), shape)


def _named(state: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
    return {f"state_{number}": each for number, each in enumerate(state)}


def _check(
    files: ModelFiles, path: Path, vocabularies: list[Path], metadata: dict[str, Any]
) -> None:
    """Runs the file: greedy and with the beam, it has to translate as the model does."""
    run: Callable[..., list[Translation]]
    if metadata["text"]:
        runner, beams = TextRunner(path), [1]

        def run(texts: list[str], **_: Any) -> list[Translation]:
            return [runner(text) for text in texts]
    else:
        run, beams = TFLiteTranslator(path, *vocabularies), [1, metadata["beam_size"]]
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    texts = [
        text
        for text in samples.texts(files.source_tokenizer)
        if len(files.source_tokenizer.encode([text])[0]) < metadata["max_source_length"]
    ]
    options: dict[str, Any] = {
        "length_penalty": metadata["length_penalty"],
        "max_length": metadata["max_target_length"],
    }
    for beam_size in beams:
        found = run(texts, beam_size=beam_size, **options)
        for text, got, wanted in zip(
            texts, found, translator(texts, beam_size=beam_size, **options), strict=True
        ):
            if not _agree(got, wanted, exact=metadata["quantization"] == "none"):
                raise ExportError(
                    f"The exported model failed its check: with a beam of {beam_size}, it gives "
                    f"{got.text!r} ({got.score:.5f}) for {text!r}, and the model {wanted.text!r} "
                    f"({wanted.score:.5f})."
                )


class TextRunner:
    """Runs a file that takes text, where TensorFlow and TF Text are at hand.

    Args:
        path: What `export_tflite` wrote with `text=True`.
    """

    def __init__(self, path: str | os.PathLike[str]):
        with warnings.catch_warnings():  # Its successor has no place for other ops.
            warnings.simplefilter("ignore")
            self._interpreter = InterpreterWithCustomOps(
                model_path=str(path),
                custom_op_registerers=tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS,
            )
        self._translate = self._interpreter.get_signature_runner("translate")

    def __call__(self, text: str) -> Translation:
        """Translates one text; one that is too long gives `""` with a score of `IMPOSSIBLE`."""
        found = self._translate(text=np.array([text]))
        source, target = int(found["source_length"][0]), int(found["target_length"][0])
        return Translation(
            text=found["translation"][0].decode(),
            score=float(found["score"][0]),
            source_tokens=[piece.decode() for piece in found["source_tokens"][0, :source]],
            target_tokens=[piece.decode() for piece in found["target_tokens"][0, :target]],
            token_scores=found["token_scores"][0, :target],
            attention=found["attention"][0, :target, :source],
        )


def _agree(got: Translation, wanted: Translation, exact: bool) -> bool:
    if not exact:
        # How near a quantised file comes is a matter of BLEU; broken ones are found here.
        sums = got.attention.sum(axis=1)
        return bool(np.isfinite(got.score) and np.all((np.abs(sums - 1) < 0.01) | (sums == 0)))
    if abs(got.score - wanted.score) > TOLERANCE:
        return False
    if got.target_tokens != wanted.target_tokens:
        return True  # Of two translations as good as each other, rounding decides.
    return got.text == wanted.text and bool(
        np.abs(got.attention - wanted.attention).max(initial=0) <= TOLERANCE
    )
