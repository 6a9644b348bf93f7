"""Export of a model directory as a `.tflite` file of builtin ops, with attention.

    translate(source_ids) -> target_ids, score, token_scores, attention       greedy search
    translate_1x16, ...: the same for shorter sentences, or for several at once (ROWSxPLACES)
    translate_beam(source_ids) -> target_ids, score, token_scores, attention  beam search
    encode(source_ids) -> memory, state                                       for custom
    decode_step(tokens, state, memory) -> log_probabilities, state, attention   beam search

or, with embedded vocabularies and TF Text's ops:

    translate(text) -> translation, score, tokens and attention, like the SavedModel

All shapes are fixed. Tensors are float32 or int32 (or text), as LiteRT.js has no bool: the
mask is 1 at real source positions and 0 at padding. `metadata.json` has languages, limits and
file names, in a zip archive at the end of the file (like TensorFlow Lite's metadata):
`unzip -p model.tflite metadata.json`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from keras_attn_nmt import __version__
from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.search_options import SearchOptions, check_exported_beam
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export import fast_sentencepiece, tflite_check
from keras_attn_nmt.export.device_decoder import (
    DeviceDecoder,
    DeviceOperations,
    fixed_shapes,
)
from keras_attn_nmt.export.device_metadata import METADATA, MODEL_DIGEST, model_digest
from keras_attn_nmt.export.device_shortlist import DeviceShortlist
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.flatbuffer import aligned, custom_ops
from keras_attn_nmt.export.interpreters import SIZED
from keras_attn_nmt.export.load_for_export import languages, load_for_export
from keras_attn_nmt.layers.decoder import EncodedSource
from keras_attn_nmt.model_directory import SHORTLIST, SOURCE, TARGET, ModelFiles
from keras_attn_nmt.quiet import quiet_command
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.writing import atomic_write, local_path, named_errors

QUANTIZATIONS = ("none", "float16", "int8")
SIGNATURES = ("translate", "encode", "decode_step")
# Source lengths of signatures for one sentence, and for several: the steps of a search take time
# in proportion to the places, also if they are empty.
SHORT_PLACES = (16, 24, 32)
BULK_ROWS, BULK_PLACES = 16, (12, 16, 20, 24, 32, 48)

logger = logging.getLogger(__name__)


def export_tflite(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    quantize: str = "none",
    max_source_length: int = 64,
    max_target_length: int = 64,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    coverage_penalty: float | None = None,
    diversity_penalty: float | None = None,
    text: bool = False,
    signatures: Sequence[str] | None = None,
    energies: bool = False,
    bulk: bool = False,
    shortlist: bool = False,
) -> Path:
    """Exports a model directory as a `.tflite` file of builtin ops, plus its vocabularies.

    Needs the extra `device`, which runs the file to compare it.

    Args:
        model: Model directory, trained on any backend and device.
        output: The file, `NAME.tflite`. Its vocabularies become `NAME.source.spm` and
            `NAME.target.spm`. Existing files are replaced after all are written.
        quantize: `"none"`, `"float16"` (weights of half the size) or `"int8"` (dynamic range: a
            quarter, and faster).
        max_source_length: Maximum source length in tokens, `</s>` included; at least 2.
        max_target_length: Maximum target length in tokens, `</s>` included.
        beam_size: Beam size of `translate_beam` and `decode_step`; defaults to the model's search
            options, or 1 (greedy) without those signatures.
        length_penalty: See `Translator.nbest`; defaults to the model's search options.
        coverage_penalty: See `Translator.nbest`; defaults to the model's search options.
        diversity_penalty: See `Translator.nbest`; defaults to the model's search options.
        text: Text in, text out, with embedded vocabularies: requires an interpreter with TF Text's
            two SentencePiece ops. Greedy search only; no vocabulary files are written.
        signatures: Signatures of the file: defaults to all (only `translate` with `text`), or
            `("translate",)`, greedy search only, for runtimes limited to one signature.
        energies: Adds the attention energies before the softmax to the outputs of `decode_step`,
            float32, `(1, beam_size, max_source_length)`, unless the model has no attention.
        bulk: Adds signatures that translate 16 sentences at once, for `TFLiteTranslator` on
            computers; with `"int8"`, several times the sentences per second.
        shortlist: Restricts the softmax to the vocabulary shortlist, see `Translator.nbest`; faster
            for one short sentence in greedy search.

    Returns:
        The written file.

    Raises:
        FileNotFoundError: The model directory or one of its files is missing.
        ValueError: The model directory or its shortlist is damaged, an option is out of range,
            Keras does not run on TensorFlow, or `text` is set and the vocabulary is not a unigram
            model.
        ExportError: The model has ops that are not builtins, or the float file disagrees with the
            model; no file is written.
        OSError: The disk is full or not writable.
    """
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"quantize must be one of {', '.join(QUANTIZATIONS)}, got {quantize!r}.")
    signatures = _check_signatures(signatures, text)
    greedy = "decode_step" not in signatures
    max_source_length = check_whole("max_source_length", max_source_length, 2)
    # Check the options before loading the model, which has the defaults.
    check_exported_beam(
        SearchOptions().replaced(
            beam_size=beam_size,
            length_penalty=length_penalty,
            max_length=max_target_length,
            coverage_penalty=coverage_penalty,
            diversity_penalty=diversity_penalty,
        )
    )
    if greedy and beam_size is not None and beam_size > 1:
        raise ValueError(
            f"beam_size must be 1 for a file with only the signature translate, got {beam_size}: "
            "omit it, or export text=False and all signatures."
        )
    if energies and greedy:
        raise ValueError(
            "energies are an output of decode_step, which this file lacks: export text=False and "
            "all signatures."
        )
    if bulk and greedy:
        raise ValueError(
            "bulk adds signatures, which this file must not have: export text=False and all "
            "signatures."
        )
    output = local_path(output)
    if not output.parent.is_dir():
        raise FileNotFoundError(f"The folder {output.parent} for {output.name} does not exist.")
    if output.suffix != ".tflite":
        raise ValueError(f"The file name must end with .tflite, got {str(output)!r}.")
    files = load_for_export(model)
    search = files.search.replaced(
        beam_size=1 if greedy else beam_size,
        length_penalty=length_penalty,
        max_length=max_target_length,
        coverage_penalty=coverage_penalty,
        diversity_penalty=diversity_penalty,
    )
    check_exported_beam(search)
    known = None
    if shortlist:
        path = Path(model, SHORTLIST)
        known = Shortlist.load(path, files.source_tokenizer, files.target_tokenizer)
    decoder = DeviceDecoder(files.model, shortlist=known and DeviceShortlist.of(known))
    if isinstance(decoder.shortlist, DeviceShortlist):
        sizes = [] if greedy else _short_places(max_source_length)
        shortest = min([*sizes, max_source_length])
        decoder.shortlist.warn_if_useless(shortest, decoder.parts.vocabulary_size)
    vocabularies = [output.with_suffix(f".{side}.spm") for side in ("source", "target")]
    metadata: dict[str, Any] = {
        "producer": f"keras_attn_nmt {__version__}",
        **languages(model),
        "max_source_length": max_source_length,
        "max_target_length": search.max_length,
        "beam_size": search.beam_size,
        "length_penalty": search.length_penalty,
        "coverage_penalty": search.coverage_penalty,
        "diversity_penalty": search.diversity_penalty,
        "shortlist": shortlist,
        "attention": decoder.decoder.attention is not None,
        "quantization": quantize,
        "text": text,
    }
    if not text:
        metadata |= {
            "source_vocabulary": vocabularies[0].name,
            "target_vocabulary": vocabularies[1].name,
            "source_vocabulary_sha256": files.source_tokenizer.digest,
            "target_vocabulary_sha256": files.target_tokenizer.digest,
        }
    module = _module(decoder, files, metadata, greedy, energies, bulk)
    metadata["signatures"] = list(module.functions)
    content = _convert(module, metadata)
    own = [Path(model, SOURCE), Path(model, TARGET)]
    names = [output] if text else [output, *vocabularies]
    with contextlib.ExitStack() as stack:  # Replaces the files after all are complete.
        temporary, *others = [stack.enter_context(atomic_write(name)) for name in names]
        metadata[MODEL_DIGEST] = model_digest(content)
        with named_errors(output):
            temporary.write_bytes(content)
            with zipfile.ZipFile(temporary, "a") as archive:
                # Without the time, so that the same model gives the same file.
                archive.writestr(zipfile.ZipInfo(METADATA), json.dumps(metadata, indent=2) + "\n")
        with tf.device("/CPU:0"):  # Like the device, and more precise than a GPU.
            tflite_check.check(files, temporary, own, metadata, known)
        tokenizers = (files.source_tokenizer, files.target_tokenizer)
        for path, tokenizer in zip(others, tokenizers, strict=not text):
            tokenizer.save(path)
    checked = "verified" if quantize == "none" else "run"
    logger.info(f"{output.name}: {output.stat().st_size / 1e6:.1f} MB, {checked}; {search}")
    return output


def _check_signatures(signatures: Sequence[str] | None, text: bool) -> list[str]:
    possible = SIGNATURES[:1] if text else SIGNATURES
    chosen = possible if signatures is None else signatures
    if isinstance(chosen, str) or set(chosen) not in ({"translate"}, set(possible)):
        allowed = "('translate',)" if text else f"('translate',) or {SIGNATURES}"
        raise ValueError(f"signatures must be {allowed}, got {signatures!r}.")
    return [name for name in possible if name in chosen]


def _convert(module: tf.Module, metadata: dict[str, Any]) -> bytes:
    functions = module.functions
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
            # One scale per table, so that a tied embedding is stored once.
            converter._experimental_disable_per_channel = True
        if metadata["quantization"] == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            with quiet_command():
                content = converter.convert()
        except Exception as error:  # Not exported by the converter.
            if named := re.findall(r"^(?:Custom|Flex) ops: (.*)$", str(error), re.MULTILINE):
                raise ExportError(_foreign_ops(named)) from error
            raise ExportError(f"The model cannot be converted: {error}") from error
    allowed = fast_sentencepiece.OPS if metadata["text"] else ()
    if foreign := custom_ops(content) - set(allowed):
        raise ExportError(_foreign_ops(foreign))
    return aligned(content)


def _foreign_ops(names: Iterable[str]) -> str:
    return f"The model has ops that are not builtins: {', '.join(sorted(names))}."


def _module(
    decoder: DeviceDecoder,
    files: ModelFiles,
    metadata: dict[str, Any],
    greedy: bool,
    energies: bool,
    bulk: bool,
) -> tf.Module:
    """The signatures of the file as `functions`: concrete, with fixed shapes."""
    limit = metadata["max_source_length"]
    weights = files.model.weights
    # Shared by all signatures: constants would be copied for each of them, many times over.
    module = tf.Module()
    module.weights = [tf.Variable(weight.numpy(), trainable=False) for weight in weights]

    def concrete(function: Callable, *specs: tf.TensorSpec) -> Any:
        # The converter makes constants of variables that are read outside of loops.
        def frozen(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            values = [variable.read_value() for variable in module.weights]
            mapping = list(zip(weights, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping), fixed_shapes(files.model):
                return function(**{spec.name: x for spec, x in zip(specs, inputs, strict=True)})

        return tf.function(frozen, autograph=False).get_concrete_function(*specs)

    def search(source_ids: tf.Tensor, beam_size: int) -> dict[str, tf.Tensor]:
        options = SearchOptions(
            beam_size,
            metadata["length_penalty"],
            metadata["max_target_length"],
            metadata["coverage_penalty"],
            metadata["diversity_penalty"] if beam_size > 1 else 0.0,
        )
        found = searching.search(decoder, source_ids, options, DeviceOperations())
        return {
            "target_ids": found.tokens,
            "score": found.scores,
            "token_scores": found.token_scores,
            "attention": found.attention,
        }

    def translate(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return {name: value[:, 0] for name, value in search(source_ids, 1).items()}

    def translate_beam(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return search(source_ids, metadata["beam_size"])

    def encode(source_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        memory, state = decoder.encode(source_ids)
        # Without attention there are no keys, and TensorFlow Lite has no empty tensors.
        kept = {name: value for name, value in memory._asdict().items() if 0 not in value.shape}
        # Those of dot-product attention: of two outputs that are one tensor, LiteRT.js returns one.
        if _origin(memory.keys) == _origin(memory.annotations):
            del kept["keys"]
        kept["mask"] = tf.cast(kept["mask"], tf.int32)
        if isinstance(decoder.shortlist, DeviceShortlist):
            size = decoder.parts.vocabulary_size
            kept["allowed"] = decoder.shortlist.allowed(source_ids, size)
        return {**kept, **_named(state)}

    def decode_step(tokens: tf.Tensor, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs["mask"] = inputs["mask"] > 0
        allowed = inputs.pop("allowed", None)
        keys = inputs["annotations"]
        keys = keys[:, :, :0] if decoder.decoder.attention is None else keys
        memory = EncodedSource(*(inputs.get(name, keys) for name in EncodedSource._fields))
        state = tuple(inputs[name] for name in sorted(set(inputs) - set(EncodedSource._fields)))
        shown = energies and decoder.decoder.attention is not None
        extra = {"energies": decoder.energies(tokens, state, memory)} if shown else {}
        logits, state, attention = decoder.step(tokens, state, memory)
        if allowed is not None:
            logits = tf.where(tf.expand_dims(allowed > 0, 1), logits, MASKED)
        normalizer = ops.logsumexp(logits, axis=-1, keepdims=True)
        return {
            "log_probabilities": logits - normalizer,
            "attention": attention,
            **extra,
            **_named(state),
        }

    if metadata["text"]:
        text = tf.TensorSpec((1,), tf.string, "text")
        tokenizers = files.source_tokenizer, files.target_tokenizer
        with_text = fast_sentencepiece.with_text(translate, *tokenizers, limit)
        module.functions = {"translate": concrete(with_text, text)}
        return module
    source = tf.TensorSpec((1, limit), tf.int32, "source_ids")
    functions = {"translate": concrete(translate, source)}
    if greedy:
        module.functions = functions
        return module
    tokens = tf.TensorSpec((1, metadata["beam_size"]), tf.int32, "tokens")
    encoded = concrete(encode, source)
    inputs = []
    for name, output in encoded.structured_outputs.items():
        shape = list(output.shape)
        if name.startswith("state_"):  # One for each hypothesis.
            shape[1] = metadata["beam_size"]
        inputs.append(tf.TensorSpec(shape, output.dtype, name))
    functions |= {"encode": encoded, "decode_step": concrete(decode_step, tokens, *inputs)}
    if metadata["beam_size"] > 1:
        functions["translate_beam"] = concrete(translate_beam, source)
    sizes = [(1, places) for places in _short_places(limit)]
    if bulk:
        sizes += [(BULK_ROWS, places) for places in BULK_PLACES if places < limit]
        sizes.append((BULK_ROWS, limit))
    for size in sizes:
        ids = tf.TensorSpec(size, tf.int32, "source_ids")
        functions[SIZED.format(*size)] = concrete(translate, ids)
    module.functions = functions
    return module


def _short_places(limit: int) -> list[int]:
    return [places for places in SHORT_PLACES if 2 * places <= limit]


def _named(state: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
    return {f"state_{number}": each for number, each in enumerate(state)}


def _origin(tensor: tf.Tensor) -> str:
    """The name of a tensor, or of that which it is a copy of."""
    while tensor.op.type == "Identity":
        tensor = tensor.op.inputs[0]
    return str(tensor.name)
