"""SentencePiece models with other special ids: PAD, BOS, EOS and UNK become ids 0 to 3.

The id of a piece is its position in the model file. The four special pieces are moved to the front,
or added if they are missing, and all other pieces keep their order. Every program that reads the
file therefore agrees on the ids, and texts are segmented as before.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import sentencepiece

from keras_attn_nmt.text.alignment import END
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD, UNK

# Names that other parts of the package look for in the pieces of a text.
_UNKNOWN_PIECE = "<unk>"
_NAMES = {PAD: "<pad>", BOS: "<s>", EOS: END, UNK: _UNKNOWN_PIECE}
_CONTROL = 3

_TEXTS = (
    "",
    " ",
    "Two dogs  play in the snow.",
    " Zwei Hunde spielen im Schnee. ",
    "L’été, c’est 1 234,50 € (à peu près)!",
    "東京タワーは高いです。 한국어 문장입니다.",
    "Ελληνικά, русский язык, हिन्दी, العربية, עברית",
    "👨‍👩‍👧 ½ ﬁ ① Å e\u0301 \u00ad\u200b\t\n",
    "<s> </s> <pad> <unk> <mask> <2de> >>de<< __de__ <0x41> ▁▁",
)
_RANDOM_TEXTS, _PIECES_PER_TEXT = 200, 12


def with_special_ids(model_proto: bytes) -> bytes:
    """Moves the special pieces of a SentencePiece model to ids 0 to 3.

    Args:
        model_proto: The serialized model, with any special ids.

    Returns:
        The model with PAD 0, BOS 1, EOS 2 and UNK 3; the same bytes if they are there already. EOS
        is called `</s>` and UNK `<unk>` in it.

    Raises:
        ValueError: The bytes are not a SentencePiece model, or text would be lost.
    """
    # Imported here, as devices load vocabularies without protobuf.
    from sentencepiece import sentencepiece_model_pb2

    before = load_processor(model_proto)
    model = sentencepiece_model_pb2.ModelProto.FromString(model_proto)  # type: ignore[attr-defined]
    _check(model)
    found = {
        EOS: before.eos_id(),
        UNK: before.unk_id(),
        BOS: before.bos_id(),
        PAD: before.pad_id(),
    }
    # Of roles with the same piece, as when padding is </s>, the first one keeps it.
    old_ids: dict[int, int] = {}
    for new_id, old_id in found.items():
        if old_id >= 0 and old_id not in old_ids.values():
            old_ids[new_id] = old_id
    if all(
        old_ids.get(new_id) == new_id
        and (new_id not in (EOS, UNK) or model.pieces[new_id].piece == name)
        for new_id, name in _NAMES.items()
    ):
        return model_proto

    others = [i for i in range(len(model.pieces)) if i not in old_ids.values()]
    taken = {model.pieces[i].piece for i in others}
    special = []
    for new_id, name in _NAMES.items():
        piece = sentencepiece_model_pb2.ModelProto.SentencePiece()  # type: ignore[attr-defined]
        piece.type = _CONTROL
        if new_id in old_ids:
            piece.CopyFrom(model.pieces[old_ids[new_id]])
        if new_id in (EOS, UNK) or new_id not in old_ids:
            piece.piece = _free_name(name, taken, required=new_id in (EOS, UNK))
        special.append(piece)
        taken.add(piece.piece)
    pieces = [*special, *(model.pieces[i] for i in others)]
    after = type(model)()
    after.CopyFrom(model)
    del after.pieces[:]
    after.pieces.extend(pieces)
    for new_id, role in ((PAD, "pad"), (BOS, "bos"), (EOS, "eos"), (UNK, "unk")):
        setattr(after.trainer_spec, f"{role}_id", new_id)
        setattr(after.trainer_spec, f"{role}_piece", pieces[new_id].piece)
    after.trainer_spec.vocab_size = len(pieces)
    written: bytes = after.SerializeToString(deterministic=True)
    new_ids = {old_id: new_id for new_id, old_id in old_ids.items()}
    new_ids |= {old_id: new_id for new_id, old_id in enumerate(others, UNK + 1)}
    _verify(before, load_processor(written), new_ids)
    return written


def load_processor(model_proto: bytes) -> sentencepiece.SentencePieceProcessor:
    """Loads a serialized model; raises `ValueError` for other bytes."""
    if not model_proto:
        raise ValueError("not a SentencePiece model: it is empty")
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model_proto)
    except RuntimeError as error:
        raise ValueError(
            f"not a SentencePiece model, or a damaged one ({len(model_proto):,} bytes: "
            f"{error}){_advice(model_proto)}"
        ) from error


def _advice(content: bytes) -> str:
    if content.lstrip()[:1] == b"{":
        return (
            "; it looks like a tokenizer.json of Hugging Face: give the SentencePiece file of the "
            "same model, often called spiece.model, sentencepiece.bpe.model or tokenizer.model"
        )
    if b"\t" in content.partition(b"\n")[0]:
        return "; it looks like the .vocab file: give the .model file beside it"
    return "; restore the file or learn a new vocabulary with Tokenizer.learn"


def _check(model: Any) -> None:
    reasons = {
        "it treats white space as a suffix (trainer_spec.treat_whitespace_as_suffix), so "
        "SentencePiece ends every decoded sentence with a space and words cannot be aligned": (
            model.trainer_spec.treat_whitespace_as_suffix
        ),
        "it does not escape white space (normalizer_spec.escape_whitespaces), so the words of its "
        "pieces cannot be told apart": not model.normalizer_spec.escape_whitespaces,
    }
    for reason, applies in reasons.items():
        if applies:
            raise ValueError(
                f"this SentencePiece model cannot be used: {reason}; train it without this option, "
                "or learn a vocabulary with Tokenizer.learn"
            )


def _free_name(name: str, taken: set[str], required: bool) -> str:
    if name in taken and required:
        raise ValueError(
            f"this SentencePiece model cannot be used: {name!r} is an ordinary or user-defined "
            f"piece in it, but marks {'the end' if name == END else 'unknown text'} in the tokens "
            "of a translation; train the model without that piece"
        )
    while name in taken:
        name = f"{name[:-1]}_>"
    return name


def _verify(
    before: sentencepiece.SentencePieceProcessor,
    after: sentencepiece.SentencePieceProcessor,
    new_ids: dict[int, int],
) -> None:
    """Raises `ValueError` unless both models segment and decode sample texts in the same way."""
    for text in [*_TEXTS, *_random_texts(before)]:
        ids = before.encode(text)
        expected = [new_ids[i] for i in ids]
        if after.encode(text) != expected or after.decode(expected) != before.decode(ids):
            raise ValueError(
                "this SentencePiece model cannot be used: with its special pieces at ids 0 to 3, "
                f"it segments or decodes {text!r} differently; learn a vocabulary with "
                "Tokenizer.learn"
            )


def _random_texts(processor: sentencepiece.SentencePieceProcessor) -> Iterator[str]:
    generator = random.Random(0)
    size = processor.get_piece_size()
    for _ in range(_RANDOM_TEXTS):
        yield processor.decode([generator.randrange(size) for _ in range(_PIECES_PER_TEXT)])
