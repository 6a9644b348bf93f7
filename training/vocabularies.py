"""The vocabularies of a run: given SentencePiece models, or learned on the training data."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.recipe import VocabularyRecipe
from keras_attn_nmt.training.textfiles import sha256_of

# Share of unknown pieces in the first sentences above which a given model does not fit the data.
_MOST_UNKNOWN, _CHECKED_SENTENCES = 0.02, 1000

logger = logging.getLogger(__name__)


class GivenModel(NamedTuple):
    """A SentencePiece model that a recipe names.

    Attributes:
        tokenizer: Its tokenizer.
        path: Its path.
        digest: SHA-256 of the file, in hexadecimal.
    """

    tokenizer: Tokenizer
    path: str
    digest: str

    def record(self) -> dict[str, Any]:
        """Path and digest, for `recipe.json` and `training.json`."""
        return {"path": self.path, "sha256": self.digest}


def load_given(vocabulary: VocabularyRecipe) -> dict[str, GivenModel]:
    """Loads the SentencePiece models of a recipe, by side; learned sides are left out.

    Args:
        vocabulary: The `[vocabulary]` section.

    Raises:
        FileNotFoundError: A model does not exist.
        ValueError: A file is not a SentencePiece model, or text would be lost, see
            `Tokenizer.from_sentencepiece`.
    """
    given = {}
    for side in ("source", "target"):
        setting = f"vocabulary.{side}_model"
        path = Path(os.path.expanduser(getattr(vocabulary, f"{side}_model")))
        if side in vocabulary.learned or (side == "target" and vocabulary.shared):
            continue
        if not path.exists():
            raise FileNotFoundError(
                f"The SentencePiece model {path} ({setting}) does not exist. Its path is relative "
                "to the working directory."
            )
        if path.is_dir():
            raise ValueError(f"{path} ({setting}) is a folder; expected a SentencePiece model.")
        try:
            tokenizer = Tokenizer.from_sentencepiece(path)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}.") from error
        digest = sha256_of(path)
        given[side] = GivenModel(tokenizer, str(path), digest)
    return given


def make_tokenizers(
    vocabulary: VocabularyRecipe, pairs: tf.data.Dataset, given: Mapping[str, GivenModel]
) -> tuple[Tokenizer, Tokenizer]:
    """The source and target tokenizers, given or learned; the same object twice if shared.

    Args:
        vocabulary: The `[vocabulary]` section.
        pairs: Training pairs from `load_split`.
        given: Output of `load_given`.
    """
    if vocabulary.learned:
        logger.info("learning the vocabularies ...")
    tokenizers = []
    for place, side in enumerate(("source",) if vocabulary.shared else ("source", "target")):
        columns = (0, 1) if vocabulary.shared else (place,)
        if side in given:
            _check_fit(given[side], side, _texts(pairs, columns))
            tokenizers.append(given[side].tokenizer)
        else:
            size = getattr(vocabulary, f"{side}_size")
            model_type = vocabulary.model_type_of(side)
            try:
                tokenizer = _learned(vocabulary, size, model_type, _texts(pairs, columns))
            except ValueError as error:
                raise ValueError(_with_settings(str(error), side)) from error
            tokenizers.append(tokenizer)
    return tokenizers[0], tokenizers[-1]


def _check_fit(given: GivenModel, side: str, texts: Iterator[str]) -> None:
    """Warns of a model that does not know the characters of the training data."""
    size = f"{given.tokenizer.vocabulary_size:,}"
    logger.info("%s vocabulary: %s pieces of %s", side, size, given.path)
    sample = list(itertools.islice(texts, _CHECKED_SENTENCES))
    ids = [i for each in given.tokenizer.encode(sample) for i in each]
    unknown = ids.count(UNK) / max(len(ids), 1)
    if unknown > _MOST_UNKNOWN:
        logger.warning(
            "%.1f %% of the %s pieces are <unk> with %s (first %s sentences): is it the model of "
            "another language, or were the sides swapped?",
            *(100 * unknown, side, given.path, f"{len(sample):,}"),
        )


def _with_settings(message: str, side: str) -> str:
    """A message of `Tokenizer.learn` with the names of the recipe."""
    message = message.replace("vocabulary_size", f"vocabulary.{side}_size")
    return message.replace("character_coverage", "vocabulary.character_coverage")


def _learned(
    vocabulary: VocabularyRecipe, size: int, model_type: str, texts: Iterator[str]
) -> Tokenizer:
    return Tokenizer.learn(
        texts,
        size,
        model_type=model_type,
        normalization=vocabulary.normalization,
        character_coverage=vocabulary.character_coverage,
        byte_fallback=vocabulary.byte_fallback,
    )


def _texts(pairs: tf.data.Dataset, sides: tuple[int, ...]) -> Iterator[str]:
    # In batches: iterating one by one would dominate the time.
    for chunk in pairs.batch(1024).as_numpy_iterator():
        columns: list[Any] = [chunk[side] for side in sides]
        for pair in zip(*columns, strict=True):
            yield from (text.decode("utf-8") for text in pair)
