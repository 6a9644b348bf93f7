"""What a model directory records of its training. Requires only the standard library."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keras_attn_nmt.reading import parse_object

# Written with the model at each new best epoch.
TRAINING = "training.json"
# Written at the start of a run, and compared with the given recipe on resume.
RECIPE = "recipe.json"
# Keys of both besides the recipe: path and SHA-256 of given SentencePiece models and vectors, the
# settings that resumptions changed, and digests of the tokenized pairs of each corpus, or of its
# sample.
VOCABULARY_FILES, CHANGES = "vocabulary_files", "changes"
DATA_DIGESTS, VALIDATION_DIGESTS = "data_digests", "validation_digests"


def read_record(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """What `training.json` or, of an interrupted run, `recipe.json` records.

    Returns:
        See `read_training` and `read_start`; empty without such a file.

    Raises:
        OSError, ValueError: The file cannot be read or is not a JSON object.
    """
    for read in (read_training, read_start):
        try:
            return read(directory)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return {}


def read_training(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of `training.json`; raises as `read_record`."""
    return _read(Path(directory, TRAINING))


def read_start(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """The recipe of `recipe.json` as `recipe`, and its other keys; raises as `read_record`."""
    values = _read(Path(directory, RECIPE))
    files, changes = values.pop(VOCABULARY_FILES, None), values.pop(CHANGES, None)
    digests = {key: values.pop(key) for key in (DATA_DIGESTS, VALIDATION_DIGESTS) if key in values}
    return {"recipe": values, VOCABULARY_FILES: files or {}, CHANGES: changes or [], **digests}


def _read(path: Path) -> dict[str, Any]:
    return parse_object(path.read_text(encoding="utf-8"))
