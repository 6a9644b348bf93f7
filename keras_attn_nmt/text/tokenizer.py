"""Text to subword ids and back: SentencePiece with a fixed set of special ids.

Nothing here needs TensorFlow; `Tokenizer.tf_tokenizer` imports TF Text when it is called.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sentencepiece

from keras_attn_nmt.quiet import quiet_stderr
from keras_attn_nmt.text.normalization import is_hangul, nfc_tsv
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD, UNK
from keras_attn_nmt.writing import atomic_write

if TYPE_CHECKING:
    import tensorflow_text

_SPECIAL_IDS = (PAD, BOS, EOS, UNK)
MODEL_TYPES = ("unigram", "bpe")
NORMALIZATIONS = ("nfc", "nmt_nfkc", "identity")

# Made when it is imported, so that mypy cannot know of it.
# Decimal digits that SentencePiece does not split itself, which knows ASCII and full-width ones.
_OTHER_DIGIT = re.compile(r"[^\D0-9０-９]")
# No character (Unicode keeps it for internal use), so that it is in no text.
_BOUNDARY = "\ufdd0"
# Lines with it are left out by SentencePiece, which uses it itself.
_RESERVED = "\u2585"

# SentencePiece sums expected counts thread by thread, so this number is part of the result.
_LEARNING_THREADS = 16

_logger = logging.getLogger(__name__)


class Tokenizer:
    """A SentencePiece model with pad 0, bos 1, eos 2 and unk 3.

    A model made by `Tokenizer.learn` loses nothing but what its normalization changes: no white
    space is removed, and characters outside of the vocabulary become one id per UTF-8 byte. With
    `normalization="identity"`, `decode(encode(texts)) == texts` for every text, control characters
    and NUL included, but for two limits of SentencePiece and Unicode:

    - U+2581 (`▁`) is SentencePiece's own sign for a space and comes back as a space;
    - lone surrogates (`"\\ud800"`) have no UTF-8 form and are refused.

    Args:
        model_proto: The serialized SentencePiece model, that is the content of an `.spm` file.

    Raises:
        ValueError: The bytes are no SentencePiece model, or its special ids are other ones.

    Example:
        >>> tokenizer = Tokenizer.learn(["ein Haus", "zwei Häuser"], vocabulary_size=280)
        >>> tokenizer.decode(tokenizer.encode(["ein  Häuschen"]))
        ['ein  Häuschen']

    Reference:
        Kudo & Richardson, "SentencePiece: A simple and language independent subword tokenizer
        and detokenizer for Neural Text Processing", EMNLP 2018.
    """

    def __init__(self, model_proto: bytes) -> None:
        if not isinstance(model_proto, bytes):
            raise ValueError(
                "Tokenizer takes the content of a SentencePiece model as bytes, not "
                f"{type(model_proto).__name__}; to read a file, use Tokenizer.load(path)"
            )
        if not model_proto:
            raise ValueError("not a SentencePiece model: no bytes at all")
        try:
            processor = sentencepiece.SentencePieceProcessor(model_proto=model_proto)
        except RuntimeError as error:
            raise ValueError(
                f"not a SentencePiece model, or a damaged one ({len(model_proto):,} bytes: "
                f"{error}); restore the file or learn a new vocabulary with Tokenizer.learn"
            ) from error
        found = (processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id())
        if found != _SPECIAL_IDS:
            raise ValueError(
                f"the SentencePiece model has pad, bos, eos, unk = {found}, expected "
                f"{_SPECIAL_IDS}; learn it with Tokenizer.learn, or with pad_id=0, bos_id=1, "
                "eos_id=2, unk_id=3"
            )
        self._model_proto = model_proto
        self._processor = processor

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        *,
        model_type: str = "unigram",
        normalization: str = "nfc",
        character_coverage: float = 0.9995,
        byte_fallback: bool = True,
        maximum_texts: int = 1_000_000,
        seed: int = 0,
    ) -> Tokenizer:
        """Learns a vocabulary from texts; the same one each time (per SentencePiece version).

        Decimal digits of all scripts are pieces of their own, so that numbers never seen are
        spelled alike.

        Args:
            texts: Sentences. Read once, front to back.
            vocabulary_size: Number of ids, special ones and the 256 byte pieces included. Where
                the texts do not hold that many pieces the vocabulary is smaller, with a warning.
            model_type: `"unigram"` (Kudo 2018) or `"bpe"` (Sennrich et al. 2016).
            normalization: What is done to every text first, wherever the vocabulary is used:
                `"nfc"` composes characters (an u with a combining diaeresis is ü) and removes those
                that nobody sees, see `nfc_rules`; `"nmt_nfkc"` is SentencePiece's own, which also
                replaces compatibility characters (a ligature by its letters) and keeps soft
                hyphens; `"identity"` leaves texts as they are.
            character_coverage: Share of the text that is written in characters with a piece of
                their own; the rarest others are spelled in bytes.
            byte_fallback: Spell other characters in bytes. Without it they become the unknown
                piece, the vocabulary has 256 pieces less, and not every text survives.
            maximum_texts: Of more texts than these, a random sample of this size is learned from.
            seed: Seed of that sample.

        Raises:
            ValueError: There is no text, an element is no string, or the vocabulary is too small
                for the characters of the texts.
        """
        check_vocabulary(
            vocabulary_size, model_type, normalization, character_coverage, byte_fallback
        )
        if maximum_texts < 1:
            raise ValueError(f"maximum_texts must be positive, got {maximum_texts}")
        if isinstance(texts, str):
            raise ValueError("texts must be a collection of strings, got one string: wrap it in []")
        sample = _sample(texts, maximum_texts, seed)
        unread = sum(_RESERVED in text for text in sample)
        if unread:
            _logger.warning(
                "%s of %s texts hold the character U+2585, which SentencePiece keeps for itself: "
                "the vocabulary is learned without them",
                f"{unread:,}",
                f"{len(sample):,}",
            )
        model = io.BytesIO()
        options: dict[str, Any] = {}
        if any(_OTHER_DIGIT.search(text) for text in sample):
            options["pretokenization_delimiter"] = _BOUNDARY
            sample = [_OTHER_DIGIT.sub(f"{_BOUNDARY}\\g<0>{_BOUNDARY}", text) for text in sample]
        try:
            with _rules(normalization, sample) as rules:
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(sample),
                    model_writer=model,
                    **options,
                    **rules,
                    vocab_size=vocabulary_size,
                    hard_vocab_limit=False,
                    model_type=model_type,
                    character_coverage=character_coverage,
                    pad_id=PAD,
                    bos_id=BOS,
                    eos_id=EOS,
                    unk_id=UNK,
                    byte_fallback=byte_fallback,
                    split_digits=True,
                    remove_extra_whitespaces=False,
                    # SentencePiece would silently skip longer texts; its own limit is 4,192 bytes.
                    max_sentence_length=2**30,
                    num_threads=_LEARNING_THREADS,
                    minloglevel=2,
                )
        except RuntimeError as error:
            raise _learning_error(error, vocabulary_size, character_coverage) from error
        tokenizer = cls(_with_name(model.getvalue(), normalization))
        if tokenizer.vocabulary_size < vocabulary_size:
            _logger.warning(
                "vocabulary of %s pieces in place of %s: the %s texts hold no more",
                f"{tokenizer.vocabulary_size:,}",
                f"{vocabulary_size:,}",
                f"{len(sample):,}",
            )
        return tokenizer

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads a SentencePiece model file.

        Raises:
            OSError: The file cannot be read (`FileNotFoundError` where there is none).
            ValueError: It is no SentencePiece model, or its special ids are other ones.
        """
        with open(path, "rb") as file:
            model_proto = file.read()
        try:
            return cls(model_proto)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file, whole or not at all: a file that was there survives a failure."""
        with atomic_write(path) as temporary:
            temporary.write_bytes(self._model_proto)

    @property
    def model_proto(self) -> bytes:
        """The serialized SentencePiece model."""
        return self._model_proto

    @property
    def digest(self) -> str:
        """SHA-256 of `model_proto`, in hexadecimal."""
        return hashlib.sha256(self._model_proto).hexdigest()

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, special ones included."""
        return self._processor.get_piece_size()

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Ids of each text, without bos and eos.

        Raises:
            ValueError: An element is no string or holds a lone surrogate.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a collection of strings, got one string: wrap it in []")
        checked = [_checked(text, index) for index, text in enumerate(texts)]
        return self._processor.encode(checked) if checked else []

    def decode(self, ids: Iterable[Iterable[int]]) -> list[str]:
        """Text of each sequence of ids; pad, bos and eos are left out.

        Raises:
            ValueError: An id is outside of the vocabulary.
        """
        kept = [[i for i in self._known(each) if i not in (PAD, BOS, EOS)] for each in ids]
        texts = [self._processor.decode(each) for each in kept]
        # SentencePiece writes an unknown piece as " ⁇ ", but no sentence begins with a space of it.
        return [
            text.removeprefix(" ") if each[:1] == [UNK] else text
            for each, text in zip(kept, texts, strict=True)
        ]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id as SentencePiece writes it: `"▁Haus"`, `"</s>"`, `"<0xE2>"`.

        Raises:
            ValueError: An id is outside of the vocabulary.
        """
        return [self._processor.id_to_piece(i) for i in self._known(ids)]

    def tf_tokenizer(self) -> tensorflow_text.SentencepieceTokenizer:
        """The same model as a TF Text tokenizer for tf.data and SavedModels; ids are int32.

        Its ids equal those of `encode`. Its `detokenize` differs from `decode` in one way: it
        strips every leading space of a sentence.
        """
        import tensorflow as tf
        import tensorflow_text

        # A SavedModel's process keeps vocabularies by name: another one must have another name.
        with quiet_stderr():
            return tensorflow_text.SentencepieceTokenizer(
                model=self._model_proto, out_type=tf.int32, name=f"spm_{self.digest[:16]}"
            )

    def _known(self, ids: Iterable[int]) -> list[int]:
        known = [int(i) for i in ids]
        if known and not 0 <= min(known) <= max(known) < self.vocabulary_size:
            wrong = next(i for i in known if not 0 <= i < self.vocabulary_size)
            raise ValueError(
                f"id {wrong} is outside of this vocabulary, whose ids are 0 to "
                f"{self.vocabulary_size - 1}; do the ids come from another vocabulary?"
            )
        return known


def check_vocabulary(
    vocabulary_size: int,
    model_type: str,
    normalization: str,
    character_coverage: float,
    byte_fallback: bool,
) -> None:
    """Raises `ValueError` for what `Tokenizer.learn` cannot learn from any text."""
    if model_type not in MODEL_TYPES:
        raise ValueError(f"model_type must be one of {MODEL_TYPES}, got {model_type!r}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    if not 0.98 <= character_coverage <= 1:
        raise ValueError(f"character_coverage must be from 0.98 to 1, got {character_coverage}")
    fixed = len(_SPECIAL_IDS) + 256 * byte_fallback
    if vocabulary_size <= fixed:
        raise ValueError(
            f"vocabulary_size must be above {fixed} (special ids and, for byte_fallback, byte "
            f"pieces), got {vocabulary_size}"
        )


@contextlib.contextmanager
def _rules(normalization: str, texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """SentencePiece's options for a normalization; its table is a file while it learns."""
    if normalization != "nfc":
        yield {"normalization_rule_name": normalization}
        return
    hangul = any(is_hangul(character) for text in texts for character in set(text))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "nfc.tsv")
        path.write_text(nfc_tsv(hangul), encoding="ascii")
        yield {"normalization_rule_tsv": str(path)}


def _with_name(model_proto: bytes, normalization: str) -> bytes:
    """A model that names its normalization, in place of the temporary file that it came from."""
    # Devices load vocabularies without protobuf.
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(model_proto)  # type: ignore[attr-defined]
    model.normalizer_spec.name = normalization
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    return model.SerializeToString(deterministic=True)


def _checked(text: str, index: int) -> str:
    if not isinstance(text, str):
        raise ValueError(f"texts[{index}] must be a str, got {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"texts[{index}] holds a lone surrogate (character {error.start}, "
            f"{text[error.start]!r}), which has no UTF-8 form; decode the text with "
            "errors='replace', or remove it"
        ) from error
    return text


def _sample(texts: Iterable[str], maximum: int, seed: int) -> list[str]:
    """A uniform random sample of the texts that are not empty (reservoir sampling).

    SentencePiece can sample too, but takes its seed from the operating system.
    """
    generator = random.Random(seed)
    sample: list[str] = []
    seen = 0
    for index, text in enumerate(texts):
        if not _checked(text, index):
            continue
        if seen < maximum:
            sample.append(text)
        else:
            place = generator.randrange(seen + 1)
            if place < maximum:
                sample[place] = text
        seen += 1
    if not sample:
        raise ValueError("there is no text to learn a vocabulary from: give at least one sentence")
    if seen > maximum:
        _logger.info("learning from a random sample of %s of %s texts", f"{maximum:,}", f"{seen:,}")
    return sample


def _learning_error(error: RuntimeError, vocabulary_size: int, coverage: float) -> ValueError:
    too_small = re.search(r"smaller than required_chars\D*\d+ vs (\d+)", str(error))
    if too_small:
        return ValueError(
            f"vocabulary_size={vocabulary_size} is too small for these texts: their characters, "
            f"256 byte pieces and 4 special ids need at least {too_small[1]}; raise "
            f"vocabulary_size, or lower character_coverage (now {coverage})"
        )
    if "sentences_.empty()" in str(error):
        return ValueError(
            "SentencePiece found no text that it can learn from: it skips texts of nothing but "
            "line breaks and those with its reserved character U+2585; give other texts"
        )
    return ValueError(f"SentencePiece could not learn a vocabulary: {error}")
