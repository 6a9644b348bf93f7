"""What `Tokenizer.learn` gives to SentencePiece's trainer and gets from it."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from keras_attn_nmt.text.normalization import is_hangul, nfc_tsv
from keras_attn_nmt.writing import named_errors

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def rules(normalization: str, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yields SentencePiece's training options for a normalization."""
    if normalization != "nfc":
        yield {"normalization_rule_name": normalization}
        return
    hangul = any(is_hangul(character) for text in texts for character in set(text))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "nfc.tsv")
        with named_errors(path):
            path.write_text(nfc_tsv(hangul), encoding="ascii")
        yield {"normalization_rule_tsv": str(path)}


def with_name(model_proto: bytes, normalization: str) -> bytes:
    """Stores the name of the normalization instead of the temporary rule file."""
    # Imported here, as devices load vocabularies without protobuf.
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(model_proto)  # type: ignore[attr-defined]
    model.normalizer_spec.name = normalization
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    return model.SerializeToString(deterministic=True)


def checked_text(text: str, index: int) -> str:
    """Returns a text that has a UTF-8 encoding; raises `ValueError` for others."""
    if not isinstance(text, str):
        raise ValueError(f"texts[{index}] must be a str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"texts[{index}] contains a lone surrogate (character {error.start}, "
            f"{text[error.start]!r}), which has no UTF-8 encoding; decode the text with "
            "errors='replace', or remove it"
        ) from error
    return text


def sample(texts: Iterable[str], maximum: int, seed: int) -> list[str]:
    """A uniform random sample of the non-empty texts (reservoir sampling).

    The seed of SentencePiece's own sampling cannot be set.
    """
    generator = random.Random(seed)
    drawn: list[str] = []
    seen = 0
    for index, text in enumerate(texts):
        if not checked_text(text, index):
            continue
        if seen < maximum:
            drawn.append(text)
        else:
            place = generator.randrange(seen + 1)
            if place < maximum:
                drawn[place] = text
        seen += 1
    if not drawn:
        raise ValueError("there is no text to learn a vocabulary from: pass at least one sentence")
    if seen > maximum:
        _logger.info("learning from a random sample of %s of %s texts", f"{maximum:,}", f"{seen:,}")
    return drawn


def learning_error(
    error: RuntimeError, vocabulary_size: int, coverage: float, byte_fallback: bool
) -> ValueError:
    """The error of SentencePiece's trainer in terms of the arguments of `Tokenizer.learn`."""
    too_small = re.search(r"smaller than required_chars\D*\d+ vs (\d+)", str(error))
    if too_small:
        also = ", 256 byte pieces" if byte_fallback else ""
        return ValueError(
            f"vocabulary_size={vocabulary_size} is too small for these texts: their characters"
            f"{also} and 4 special ids need at least {too_small[1]}; raise vocabulary_size, or "
            f"lower character_coverage (now {coverage})"
        )
    if "sentences_.empty()" in str(error):
        return ValueError(
            "SentencePiece found no usable text: it skips texts that consist of line breaks or "
            "contain its reserved character U+2585"
        )
    return ValueError(f"SentencePiece failed to learn a vocabulary: {error}")
