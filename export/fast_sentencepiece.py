"""Converts vocabularies for TF Text's TensorFlow Lite tokeniser, with the ids of `Tokenizer`.

TF Text's `FastSentencepieceTokenizer` finds the best path through the bytes of a text. It supports
neither byte pieces nor identity normalization, treats tabs and line ends as spaces, and only
implements the unigram model. The vocabulary is therefore converted: byte pieces become ordinary
pieces of one byte, and spaces are literal in all pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import sentencepiece
import tensorflow as tf
import tensorflow_text
from sentencepiece import sentencepiece_model_pb2

from keras_attn_nmt.text.blank import BLANK, is_blank
from keras_attn_nmt.text.special_ids import EOS, PAD
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import IMPOSSIBLE

OPS = ("TFText>FastSentencepieceTokenize", "TFText>FastSentencepieceDetokenize")

# SentencePiece scores an unknown character this far below the lowest score.
_UNKNOWN_PENALTY = 10.0
_SPACE = "▁".encode()
_UNIGRAM = 1

# Generated at import; unknown to mypy.
_ModelProto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
# Types of pieces (sentencepiece_model.proto).
_NORMAL, _CONTROL, _USER_DEFINED, _BYTE = 1, 3, 4, 6


def with_text(
    translate: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    limit: int,
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Wraps `translate` of `limit` ids to take text, with the outputs of the SavedModel."""

    def translate_text(text: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = tokenize(source_tokenizer, text)
        is_empty = blank(source_tokenizer, ids)
        length = tf.where(is_empty, 0, tf.size(ids) + 1)
        readable = length <= limit
        last = tf.where(readable, length, 0) - 1
        position = tf.range(limit)
        padded = tf.concat([ids[:limit], tf.fill([limit], PAD)], axis=0)[:limit]
        padded = tf.where(position < last, padded, tf.where(position == last, EOS, PAD))
        source_ids = padded[tf.newaxis]
        found = translate(source_ids)
        target_ids = found.pop("target_ids")
        source_pieces, target_pieces = (
            tf.constant(pieces(tokenizer)) for tokenizer in (source_tokenizer, target_tokenizer)
        )
        return {
            **found,
            "translation": detokenize(target_tokenizer, target_ids[0]),
            "score": tf.where(readable, found["score"], IMPOSSIBLE),
            "source_tokens": tf.gather(source_pieces, source_ids),
            "target_tokens": tf.gather(target_pieces, target_ids),
            "source_length": length[tf.newaxis],
            "target_length": tf.reduce_sum(tf.cast(target_ids != PAD, tf.int32), axis=1),
        }

    return translate_text


def tokenize(tokenizer: Tokenizer, text: tf.Tensor) -> tf.Tensor:
    """Ids of one text, without EOS.

    Args:
        tokenizer: The vocabulary.
        text: String, shape `(1,)`.

    Returns:
        int32, shape `(length,)`.

    Raises:
        ValueError: The vocabulary is not a unigram model, or has another feature that TF Text's
            TensorFlow Lite tokeniser lacks.
    """
    rows = _fast(tokenizer, encoding=True).tokenize(text)
    # For several texts, the interpreter joins the ids of all, and the converter has fixed the
    # number of rows to 1. The size of a boolean mask is known only at run time, so that this
    # reshape fails unless there is one text.
    splits = tf.reshape(tf.boolean_mask(rows.row_splits, rows.row_splits >= 0), [2])
    return rows.values[: splits[1]]


def detokenize(tokenizer: Tokenizer, ids: tf.Tensor) -> tf.Tensor:
    """Decodes ids; special ids are ignored.

    Args:
        tokenizer: The vocabulary.
        ids: int32, shape `(length,)`.

    Returns:
        String, shape `(1,)`.
    """
    model = _ModelProto.FromString(tokenizer.model_proto)
    if model.normalizer_spec.remove_extra_whitespaces:
        # SentencePiece removes all spaces at the start, the op only the first one.
        is_space = tf.constant([piece.piece == _SPACE.decode() for piece in model.pieces])
        others = tf.cumsum(tf.cast(~tf.gather(is_space, ids), tf.int32))
        spaces = tf.reduce_sum(tf.cast(others == 0, tf.int32))
        length = tf.size(ids)
        place = tf.minimum(tf.range(length) + spaces, length)
        ids = tf.gather(tf.concat([ids, [PAD]], axis=0), place)
    # The TensorFlow Lite op only supports int32 row splits.
    rows = tf.RaggedTensor.from_tensor(ids[tf.newaxis], row_splits_dtype=tf.int32)
    return _fast(tokenizer, encoding=False).detokenize(rows)


def blank(tokenizer: Tokenizer, ids: tf.Tensor) -> tf.Tensor:
    """Whether the text of ids is blank, like `keras_attn_nmt.text.is_blank`.

    Args:
        tokenizer: The vocabulary.
        ids: int32, shape `(length,)`, without special ids.

    Returns:
        bool, shape `()`.
    """
    model = _ModelProto.FromString(tokenizer.model_proto)
    contents = [_bytes(piece) for piece in model.pieces]
    blanks = [is_blank(content.decode(errors="replace")) for content in contents]
    # Blank characters without a piece are up to three byte pieces.
    values = [
        content[0] if piece.type == _BYTE else -1
        for content, piece in zip(contents, model.pieces, strict=True)
    ]
    length = tf.size(ids)
    value = tf.gather(tf.constant(values, tf.int32), ids)
    found = tf.cast(tf.gather(tf.constant(blanks), ids), tf.int32)
    for size in (2, 3):
        spelled = [each.encode() for each in BLANK if len(each.encode()) == size]
        # Compare as integers: the bytes from each position, and those of each blank character.
        padded = tf.pad(value, [[0, size - 1]], constant_values=-1)
        encoded = tf.zeros_like(ids)
        for place in range(size):
            encoded = 256 * encoded + padded[place : place + length]
        wanted = tf.constant([int.from_bytes(each, "big") for each in spelled])
        starts = tf.cast(tf.reduce_any(encoded[:, tf.newaxis] == wanted, axis=1), tf.int32)
        for place in range(size):
            found += tf.pad(starts, [[place, 0]])[:length]
    return tf.reduce_all(found > 0)


def pieces(tokenizer: Tokenizer) -> list[str]:
    """The piece of each id, `""` for padding."""
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    names[PAD] = ""
    return names


def _fast(tokenizer: Tokenizer, encoding: bool) -> tensorflow_text.FastSentencepieceTokenizer:
    model = _ModelProto.FromString(tokenizer.model_proto)
    _check(model)
    known = {_bytes(piece) for piece in model.pieces if piece.type == _NORMAL}
    lowest = min(piece.score for piece in model.pieces)
    written = b""
    for piece in model.pieces:
        content, score, kind = _bytes(piece), piece.score, piece.type
        if kind == _BYTE:
            # A character in bytes has the score of an unknown one, for any length.
            continues = 0x80 <= content[0] < 0xC0
            score = 0.0 if continues else lowest - _UNKNOWN_PENALTY
            # Bytes with their own piece need no byte piece; the op's strings end at NUL.
            hidden = content == b"\0" or (encoding and content in known)
            kind = _CONTROL if hidden else _NORMAL
        written += _field(
            1, _field(1, content) + struct.pack("<Bf", 0x15, score) + bytes([0x18, kind])
        )
    rest = _ModelProto(trainer_spec=model.trainer_spec, normalizer_spec=model.normalizer_spec)
    rest.normalizer_spec.escape_whitespaces = False
    if not rest.normalizer_spec.precompiled_charsmap:
        # An empty table of replacements; a missing one is misread as a table of arbitrary size.
        rest.normalizer_spec.precompiled_charsmap = struct.pack("<I", 0)
    return tensorflow_text.FastSentencepieceTokenizer(written + rest.SerializeToString())


def _check(model: Any) -> None:
    trainer, default = model.trainer_spec, type(model.trainer_spec)()
    changed = _normalized_symbols(model)
    reasons = {
        "is not a unigram model": trainer.model_type != _UNIGRAM,
        "has no space before the first word (add_dummy_prefix=false)": (
            not model.normalizer_spec.add_dummy_prefix
        ),
        f"decodes unknown pieces as {trainer.unk_surface!r}": (
            trainer.unk_surface != default.unk_surface
        ),
        "has normalization rules for decoded texts": bool(
            model.denormalizer_spec.precompiled_charsmap
        ),
        f"normalizes its user-defined symbols {', '.join(changed)}": bool(changed),
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(
                f"TF Text's tokeniser for TensorFlow Lite does not support a vocabulary that "
                f"{reason}: export without text, or train with a unigram vocabulary of "
                "Tokenizer.learn."
            )


def _normalized_symbols(model: Any) -> list[str]:
    """User-defined symbols that the op would change, whereas SentencePiece leaves them alone."""
    symbols = [each.piece for each in model.pieces if each.type == _USER_DEFINED]
    if not symbols:
        return []
    normalizer = sentencepiece.SentencePieceNormalizer(model_proto=model.SerializeToString())

    def is_changed(symbol: str) -> bool:
        text = symbol.replace(_SPACE.decode(), " ")
        # From 0.2.3 on, SentencePiece returns spaces as they are in pieces, and repeated ones once.
        found = normalizer.normalize(text).replace(_SPACE.decode(), " ")
        # A space that is no `▁` is in no text for SentencePiece, and for the op in all of them.
        return " " in symbol or "  " in text or found.strip(" ") != text.strip(" ")

    return list(filter(is_changed, symbols))


def _bytes(piece: Any) -> bytes:
    if piece.type == _BYTE:
        return bytes([int(piece.piece[3:5], 16)])  # "<0xE2>"
    return piece.piece.encode().replace(_SPACE, b" ")


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer; Python's accept only UTF-8 strings."""
    return bytes([number << 3 | 2]) + _variable(len(content)) + content


def _variable(number: int) -> bytes:
    rest, low = number >> 7, number & 0x7F
    return bytes([low | 0x80]) + _variable(rest) if rest else bytes([low])
