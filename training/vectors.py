"""Pretrained word vectors as initial embeddings."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_attn_nmt.text.alignment import SPACE
from keras_attn_nmt.text.pieces import BYTE_PIECE
from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.text.word_boundaries import is_spaceless
from keras_attn_nmt.training.recipe import Recipe
from keras_attn_nmt.training.recipe_files import all_settings
from keras_attn_nmt.training.textfiles import iterate_lines, sha256_of

logger = logging.getLogger(__name__)

_HEADER = re.compile(r"(\d+) (\d+) ?")
# How a piece may be called in a file of vectors, the best form first.
_VERBATIM, _WORD, _LOWER, _INSIDE = range(4)


class Found(NamedTuple):
    """Vectors of the pieces of a vocabulary.

    Attributes:
        ids: The pieces that have a vector, `(found,)`.
        vectors: Their vectors, float32 `(found, units)`.
        lower: How many of them were found by their lower-case form only.
    """

    ids: np.ndarray
    vectors: np.ndarray
    lower: int


def check_vectors(recipe: Recipe) -> None:
    """Checks the files of `vocabulary.source_vectors` and `target_vectors` before any work.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: It is not a file of vectors, or its vectors have another size than the model's
            embeddings.
    """
    units = all_settings(recipe)["model.embedding_units"]
    for side, path in _paths(recipe):
        if not path.exists():
            raise FileNotFoundError(
                f"The file of vectors {path} (vocabulary.{side}_vectors) does not exist. Its path "
                "is relative to the working directory."
            )
        width = vector_size(path)
        if width != units:
            raise ValueError(
                f"The vectors of {path} have {width} numbers, but model.embedding_units={units}: "
                f"set model.embedding_units={width}, or give vectors of {units} numbers."
            )


def initialize_embeddings(
    model: keras.Model, recipe: Recipe, tokenizers: tuple[Tokenizer, Tokenizer]
) -> dict[str, dict[str, Any]]:
    """Sets the initial embeddings of the pieces that have a vector.

    The vectors of a file are scaled by one factor, so that their root mean square is that of the
    initial embeddings, which other pieces keep. They are trained like all embeddings.

    Args:
        model: Output of `build_model`.
        recipe: Its recipe.
        tokenizers: Source and target tokenizer.

    Returns:
        Path and SHA-256 of each file, with the number of its pieces, by setting.
    """
    records = {}
    for side, path in _paths(recipe):
        tokenizer = tokenizers[("source", "target").index(side)]
        found = read_vectors(path, tokenizer)
        embeddings = model.get_layer(f"{side}_embedding").embeddings
        values = keras.ops.convert_to_numpy(embeddings).copy()
        size = np.sqrt(np.mean(np.square(found.vectors, dtype="float64")))
        if size > 0:
            values[found.ids] = found.vectors * (np.sqrt(np.mean(np.square(values))) / size)
        embeddings.assign(values)
        logger.info(
            "%s vectors: %s of %s pieces have one in %s, %s of them in lower case",
            *(side, f"{len(found.ids):,}", f"{tokenizer.vocabulary_size:,}", path),
            f"{found.lower:,}",
        )
        records[f"{side}_vectors"] = {
            "path": str(path),
            "sha256": sha256_of(path),
            "pieces": len(found.ids),
            "lower_case": found.lower,
        }
    return records


def vector_size(path: str | os.PathLike[str]) -> int:
    """The number of numbers in each vector of a file, from its first line.

    Raises:
        ValueError: The first line is neither a header nor a vector.
    """
    first = next(_lines(path), "")
    if header := _HEADER.fullmatch(first):
        return int(header[2])
    width = len(first.rstrip().split(" ")) - 1
    if width < 2:
        raise ValueError(
            f"{path}, line 1: {first[:60]!r} is neither a header (number and size of the vectors) "
            "nor a word with its vector. Vectors are read in word2vec's text form: a word and its "
            "numbers per line, separated by single spaces."
        )
    return width


def read_vectors(path: str | os.PathLike[str], tokenizer: Tokenizer) -> Found:
    """Reads the vectors of the pieces of a vocabulary, in one pass over the file.

    A piece has the vector of the same string (`▁Haus`, as in BPEmb); otherwise, if it is a whole
    word, that of the word (`Haus`), or of the word in lower case (`haus`). Whole words are pieces
    that begin with a space, and those without letters and digits (`,`) or in scripts without spaces
    between words. A piece inside of a word has the vector of the same string where the file is one
    of pieces, so that most are found with their space, or the vocabulary has none but characters. A
    word of the same letters is another.

    Args:
        path: Text in the form of word2vec, GloVe or fastText (`.vec`), plain or gzip: a word and
            its numbers per line, after an optional header with the number and size of the vectors.
            The first vector of a word counts.
        tokenizer: The vocabulary.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The file is damaged or not in this form (with the line), or no piece has a
            vector.
    """
    width = vector_size(path)
    wanted: dict[str, list[tuple[int, int]]] = {}
    for number, piece in enumerate(tokenizer.pieces(range(tokenizer.vocabulary_size))):
        if number > UNK:
            for form, word in _forms(piece):
                wanted.setdefault(word, []).append((form, number))
    best: dict[int, tuple[int, np.ndarray]] = {}
    for number, line in enumerate(_lines(path), 1):
        if number == 1 and _HEADER.fullmatch(line):
            continue
        # From the right, as words of GloVe may contain spaces.
        word, *numbers = line.rstrip().rsplit(" ", width)
        if len(numbers) != width:
            raise ValueError(
                f"{path}, line {number}: found {len(numbers)} numbers, expected {width} as before."
            )
        for form, piece_id in wanted.get(word, ()):
            if piece_id not in best or form < best[piece_id][0]:
                best[piece_id] = form, _parsed(numbers, f"{path}, line {number}")
    # Pieces of words after a space tell a file of words from one of pieces.
    pieces = tokenizer.pieces(list(best))
    after_space = [
        form
        for piece, (form, _) in zip(pieces, best.values(), strict=True)
        if piece.startswith(SPACE) and any(map(str.isalnum, piece))
    ]
    if 2 * after_space.count(_VERBATIM) < len(after_space):
        best = {number: each for number, each in best.items() if each[0] != _INSIDE}
    if not best:
        raise ValueError(
            f"{path} has a vector for none of the {tokenizer.vocabulary_size:,} pieces: are the "
            "vectors those of another language?"
        )
    ids = sorted(best)
    return Found(
        np.array(ids),
        np.stack([best[i][1] for i in ids]),
        sum(best[i][0] == _LOWER for i in ids),
    )


def _forms(piece: str) -> Iterator[tuple[int, str]]:
    if BYTE_PIECE.fullmatch(piece):
        return
    word = piece.strip(SPACE)
    whole = (
        piece.startswith(SPACE)
        or not any(character.isalnum() for character in word)
        or is_spaceless(word[:1])
    )
    if not whole:
        yield _INSIDE, piece
        return
    if piece.startswith(SPACE):
        yield _VERBATIM, piece
    if word:
        yield _WORD, word
        if word.lower() != word:
            yield _LOWER, word.lower()


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    try:
        for line in iterate_lines(path):
            yield line.decode("utf-8")
    except ValueError as error:
        raise ValueError(
            f"{error} Vectors are read in word2vec's text form; binary files (.bin) must be "
            "converted, for example with gensim."
        ) from error


def _parsed(numbers: list[str], where: str) -> np.ndarray:
    try:
        vector = np.array(numbers, "float32")
    except ValueError as error:
        raise ValueError(f"{where}: {error}.") from error
    if not np.isfinite(vector).all():
        raise ValueError(f"{where}: the vector has numbers that are not finite.")
    return vector


def _paths(recipe: Recipe) -> Iterator[tuple[str, Path]]:
    for side in ("source", "target"):
        if name := getattr(recipe.vocabulary, f"{side}_vectors"):
            yield side, Path(os.path.expanduser(name))
