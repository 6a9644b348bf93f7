"""SentencePiece tokenizer with fixed special ids.

TensorFlow is not required; `Tokenizer.tf_tokenizer` imports TF Text when called.
"""

from __future__ import annotations

import functools
import hashlib
import io
import logging
import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import sentencepiece

from keras_attn_nmt.quiet import quiet_command
from keras_attn_nmt.text import learning
from keras_attn_nmt.text.foreign_models import load_processor, with_special_ids
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD, UNK
from keras_attn_nmt.writing import atomic_write

if TYPE_CHECKING:
    import tensorflow_text

_SPECIAL_IDS = (PAD, BOS, EOS, UNK)
MODEL_TYPES = ("unigram", "bpe", "char", "word")
NORMALIZATIONS = ("nfc", "nmt_nfkc", "identity")

# Decimal digits that SentencePiece does not split: all but ASCII and full-width ones.
_OTHER_DIGIT = re.compile(r"[^\D0-9０-９]")
# A Unicode noncharacter, which does not occur in text.
_BOUNDARY = "\ufdd0"
# Reserved by SentencePiece, which skips lines that contain it.
_RESERVED = "\u2585"

# Affects the result: SentencePiece sums expected counts per thread.
_LEARNING_THREADS = 16
# For fewer texts, starting SentencePiece's threads takes longer than encoding.
_THREADED_TEXTS = 64

_logger = logging.getLogger(__name__)


class Tokenizer:
    """A SentencePiece model with PAD 0, BOS 1, EOS 2 and UNK 3.

    Tokenization with a model from `Tokenizer.learn` is lossless up to normalization: white space is
    preserved, and characters outside of the vocabulary are encoded as UTF-8 bytes. With
    `normalization="identity"`, `decode(encode(texts)) == texts` for every text, including control
    characters and NUL, with two exceptions:

    - U+2581 (`▁`), SentencePiece's symbol for a space, is decoded as a space;
    - lone surrogates (`"\\ud800"`) have no UTF-8 encoding and are rejected.

    Args:
        model_proto: The serialized SentencePiece model, the content of an `.spm` file.

    Raises:
        ValueError: The bytes are not a SentencePiece model, or its special ids differ, see
            `Tokenizer.from_sentencepiece`.

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
                "Tokenizer expects the bytes of a SentencePiece model, got "
                f"{type(model_proto).__name__}; to read a file, use Tokenizer.load(path)"
            )
        processor = load_processor(model_proto)
        found = (processor.pad_id(), processor.bos_id(), processor.eos_id(), processor.unk_id())
        if found != _SPECIAL_IDS:
            raise ValueError(
                f"the SentencePiece model has pad, bos, eos, unk = {found}, expected "
                f"{_SPECIAL_IDS}; Tokenizer.from_sentencepiece(path) moves them (in a recipe: "
                "vocabulary.source_model and target_model)"
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
        """Learns a vocabulary from texts, deterministically for each SentencePiece version.

        Decimal digits of all scripts are separate pieces, so that unseen numbers are segmented
        consistently.

        Args:
            texts: Sentences. Iterated once.
            vocabulary_size: Number of ids, including special ids and the 256 byte pieces. The
                vocabulary is smaller, with a warning, if the texts do not support it.
            model_type: `"unigram"` (Kudo 2018), `"bpe"` (Sennrich et al. 2016), `"char"` (single
                characters, such as the letters of a word) or `"word"` (whole words between spaces,
                such as phones; without `byte_fallback`).
            normalization: Text normalization, stored in the model: `"nfc"` composes characters (u
                with combining diaeresis to ü) and removes invisible ones, see `nfc_rules`;
                `"nmt_nfkc"` is SentencePiece's default, which also replaces compatibility
                characters (ligatures) and keeps soft hyphens; `"identity"` does nothing.
            character_coverage: Share of the text covered by character pieces; the rarest other
                characters are encoded as bytes.
            byte_fallback: Encode uncovered characters as bytes. Otherwise they become `<unk>`,
                which loses text but saves 256 pieces.
            maximum_texts: Maximum number of texts; of more, a random sample is used.
            seed: Seed of the sample.

        Raises:
            ValueError: There is no text, an element is not a string, or the vocabulary is too small
                for the characters of the texts.
        """
        check_vocabulary(
            vocabulary_size, model_type, normalization, character_coverage, byte_fallback
        )
        if maximum_texts < 1:
            raise ValueError(f"maximum_texts must be positive, got {maximum_texts}")
        if isinstance(texts, str):
            raise ValueError("texts must be a collection of strings, got one string: wrap it in []")
        sample = learning.sample(texts, maximum_texts, seed)
        unread = sum(_RESERVED in text for text in sample)
        if unread:
            _logger.warning(
                "skipping %s of %s texts with the character U+2585, which SentencePiece reserves",
                f"{unread:,}",
                f"{len(sample):,}",
            )
        model = io.BytesIO()
        options: dict[str, Any] = {}
        subwords = model_type in ("unigram", "bpe")
        if subwords and any(_OTHER_DIGIT.search(text) for text in sample):
            options["pretokenization_delimiter"] = _BOUNDARY
            sample = [_OTHER_DIGIT.sub(f"{_BOUNDARY}\\g<0>{_BOUNDARY}", text) for text in sample]
        try:
            with learning.rules(normalization, sample) as rules:
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
                    split_digits=subwords,
                    # Characters need no marker at the start; words do, to equal those in between.
                    add_dummy_prefix=model_type != "char",
                    remove_extra_whitespaces=False,
                    # SentencePiece would silently skip longer texts; its own limit is 4,192 bytes.
                    max_sentence_length=2**30,
                    num_threads=_LEARNING_THREADS,
                    minloglevel=2,
                )
        except RuntimeError as error:
            raise learning.learning_error(
                error, vocabulary_size, character_coverage, byte_fallback
            ) from error
        tokenizer = cls(learning.with_name(model.getvalue(), normalization))
        if tokenizer.vocabulary_size < vocabulary_size:
            _logger.warning(
                "learned only %s of %s requested pieces; the %s texts support no more",
                f"{tokenizer.vocabulary_size:,}",
                f"{vocabulary_size:,}",
                f"{len(sample):,}",
            )
        return tokenizer

    @classmethod
    def load(cls, path: str | os.PathLike[str], digest: str | None = None) -> Tokenizer:
        """Reads a SentencePiece model file.

        Args:
            path: The file.
            digest: Its expected SHA-256 in hexadecimal, compared before the file is parsed.

        Raises:
            OSError: The file cannot be read (`FileNotFoundError` if it does not exist).
            ValueError: It is not a SentencePiece model, its special ids differ, or it has another
                digest.
        """
        with open(path, "rb") as file:
            model_proto = file.read()
        if digest is not None and hashlib.sha256(model_proto).hexdigest() != digest:
            raise ValueError(
                f"{os.fspath(path)} is damaged, or does not belong to this model, which was "
                "trained with another vocabulary. Restore the original file."
            )
        try:
            return cls(model_proto)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    @classmethod
    def from_sentencepiece(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads a model of any SentencePiece trainer, whatever its special ids.

        The pieces of PAD, BOS, EOS and UNK are moved to ids 0 to 3, or added if the model lacks
        them, and the others keep their order; so ids differ from those of the file, but texts have
        the same pieces. User-defined symbols, language tags, normalization and byte pieces stay as
        they are. The end of a sentence is called `</s>`, an unknown piece `<unk>`.

        Args:
            path: The SentencePiece model, often called `spm.model`, `spiece.model` or
                `sentencepiece.bpe.model`.

        Raises:
            OSError: The file cannot be read (`FileNotFoundError` if it does not exist).
            ValueError: It is not a SentencePiece model, or text would be lost: the model treats
                white space as a suffix or does not escape it, or a piece of text is called `</s>`
                or `<unk>`.
        """
        with open(path, "rb") as file:
            model_proto = file.read()
        try:
            return cls(with_special_ids(model_proto))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the model file atomically."""
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
        """Number of ids, including special ids."""
        return self._processor.get_piece_size()

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Encodes texts as ids, without BOS and EOS.

        Raises:
            ValueError: An element is not a string or contains a lone surrogate.
        """
        if isinstance(texts, str):
            raise ValueError("texts must be a collection of strings, got one string: wrap it in []")
        checked = [learning.checked_text(text, index) for index, text in enumerate(texts)]
        if len(checked) < _THREADED_TEXTS:
            return [self._processor.encode(text) for text in checked]
        return self._processor.encode(checked)

    def decode(self, ids: Iterable[Iterable[int]]) -> list[str]:
        """Decodes sequences of ids; PAD, BOS and EOS are ignored.

        Raises:
            ValueError: It is a single sequence, or an id is outside of the vocabulary.
        """
        kept = [[i for i in self._known(each) if i not in (PAD, BOS, EOS)] for each in ids]
        texts = [self._processor.decode(each) for each in kept]
        # SentencePiece decodes UNK as " ⁇ ": remove the space at the start of a sentence.
        return [
            text.removeprefix(" ") if each[:1] == [UNK] else text
            for each, text in zip(kept, texts, strict=True)
        ]

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The SentencePiece piece of each id: `"▁Haus"`, `"</s>"`, `"<0xE2>"`.

        Raises:
            ValueError: An id is outside of the vocabulary.
        """
        return [self._pieces[i] for i in self._known(ids)]

    @functools.cached_property
    def _pieces(self) -> list[str]:
        pieces = []
        for i in range(self.vocabulary_size):
            try:
                pieces.append(self._processor.id_to_piece(i))
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"The SentencePiece model is damaged: piece {i} is not UTF-8 ({error}). "
                    "Restore the file, or learn it again."
                ) from error
        return pieces

    def tf_tokenizer(self) -> tensorflow_text.SentencepieceTokenizer:
        """The same model as a TF Text tokenizer for tf.data and SavedModels; ids are int32.

        Its ids equal those of `encode`, except for ties: of two best unigram segmentations with the
        same pieces in another order, sentencepiece 0.2.2 and later may choose the other one. Unlike
        `decode`, its `detokenize` strips leading spaces.
        """
        import tensorflow as tf
        import tensorflow_text

        # TensorFlow shares vocabularies by name within a process: use unique names.
        with quiet_command():
            return tensorflow_text.SentencepieceTokenizer(
                model=self._model_proto, out_type=tf.int32, name=f"spm_{self.digest[:16]}"
            )

    def _known(self, ids: Iterable[int]) -> list[int]:
        try:
            known = [int(i) for i in ids]
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"expected a sequence of ids, got {ids!r:.60}: decode takes a list of sequences of "
                "whole numbers, and pieces takes one sequence"
            ) from error
        if known and not 0 <= min(known) <= max(known) < self.vocabulary_size:
            wrong = next(i for i in known if not 0 <= i < self.vocabulary_size)
            raise ValueError(
                f"id {wrong} is out of range for this vocabulary, 0 to {self.vocabulary_size - 1}; "
                "do the ids belong to another vocabulary?"
            )
        return known


def check_vocabulary(
    vocabulary_size: int,
    model_type: str,
    normalization: str,
    character_coverage: float,
    byte_fallback: bool,
) -> None:
    """Raises `ValueError` for invalid arguments of `Tokenizer.learn`."""
    if model_type not in MODEL_TYPES:
        raise ValueError(f"model_type must be one of {MODEL_TYPES}, got {model_type!r}")
    if normalization not in NORMALIZATIONS:
        raise ValueError(f"normalization must be one of {NORMALIZATIONS}, got {normalization!r}")
    if not 0.98 <= character_coverage <= 1:
        raise ValueError(f"character_coverage must be from 0.98 to 1, got {character_coverage}")
    if model_type == "word" and byte_fallback:
        raise ValueError(
            "model_type='word' requires byte_fallback=false: an unknown word is <unk>, as "
            "SentencePiece would decode the bytes of its space as the symbol ▁"
        )
    fixed = len(_SPECIAL_IDS) + 256 * byte_fallback
    if vocabulary_size <= fixed:
        raise ValueError(
            f"vocabulary_size must be above {fixed} (special ids and, with byte_fallback, byte "
            f"pieces), got {vocabulary_size}"
        )
