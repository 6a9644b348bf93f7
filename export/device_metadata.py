"""Metadata of a `.tflite` file: what it is, its vocabularies, and digests of all of them.

They lie as a ZIP archive behind the model in the file. Requires only the standard library.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.reading import check_archive, parse_object

METADATA = "metadata.json"
MODEL_DIGEST = "model_sha256"
_TEXTS = (
    "source_vocabulary",
    "target_vocabulary",
    "source_vocabulary_sha256",
    "target_vocabulary_sha256",
)
# The arguments of `SearchOptions`; older files lack the others.
_SEARCH = ("beam_size", "length_penalty", "max_target_length")


def shortlist_advice(path: str) -> str:
    """What to do about a shortlist that is asked for: the file uses its own, or has none."""
    if read_metadata(path).get("shortlist"):
        return f"{path} already uses its shortlist: remove --shortlist."
    return f"{path} has no shortlist: remove --shortlist, or export the file with --shortlist."


def check_limits(metadata: Mapping[str, Any], beam_size: int, max_length: int) -> None:
    """Raises `ValueError` for a beam size or maximum target length above that of the export."""
    for name, value, limit in (
        ("beam_size", beam_size, "beam_size"),
        ("max_length", max_length, "max_target_length"),
    ):
        if value > metadata[limit]:
            raise ValueError(
                f"{name} must be at most {metadata[limit]}, got {value}: export the file with a "
                f"larger --{limit.replace('_', '-')}."
            )


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the metadata of a `.tflite` file.

    Raises:
        FileNotFoundError: The file does not exist.
        IsADirectoryError: It is a folder.
        ValueError: The file was not written by `export_tflite`, or is damaged.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; expected a .tflite file. Export a model directory with "
            "keras-attn-nmt export tflite, or use it with Translator.load."
        )
    if not Path(path).is_file():
        raise FileNotFoundError(f"The model {path} does not exist.")
    try:
        check_archive(path, [METADATA])
        with zipfile.ZipFile(path) as archive:
            metadata = parse_object(archive.read(METADATA))
        if metadata.get("text") is not True:
            return _checked(metadata)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged, or was not written by keras-attn-nmt export tflite: {error}"
        ) from error
    raise ValueError(
        f"{path} was exported with --text and requires TF Text's ops, which this runtime lacks: "
        "see docs/devices.md, or export it without --text."
    )


def _checked(metadata: dict[str, Any]) -> dict[str, Any]:
    if missing := [
        name for name in (*_TEXTS, "max_source_length", *_SEARCH) if name not in metadata
    ]:
        raise ValueError(f"its metadata lack {', '.join(missing)}")
    for name in _TEXTS:
        if not isinstance(metadata[name], str):
            raise ValueError(f"its {name} must be a text, got {metadata[name]!r}")
    for name in _TEXTS[:2]:
        if metadata[name] != Path(metadata[name]).name:
            raise ValueError(f"its {name} must be a file in its folder, got {metadata[name]!r}")
    check_whole("max_source_length", metadata["max_source_length"], 2)
    beam_size, length_penalty, max_length = (metadata[name] for name in _SEARCH)
    others = (metadata.get(name, 0.0) for name in ("coverage_penalty", "diversity_penalty"))
    SearchOptions(beam_size, length_penalty, max_length, *others)
    return metadata


def model_digest(model: bytes) -> str:
    """SHA-256 of a `.tflite` file without metadata, in hexadecimal."""
    return hashlib.sha256(model).hexdigest()


def check_model_digest(content: bytes, metadata: dict[str, Any]) -> None:
    """Raises `ValueError` if the model is not the one of its metadata.

    LiteRT may end the process at a damaged model. Files of earlier releases have no digest.
    """
    if MODEL_DIGEST not in metadata:
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        first = min(each.header_offset for each in archive.infolist())
    if model_digest(content[:first]) != metadata[MODEL_DIGEST]:
        raise ValueError("the SHA-256 of the model is not that of its metadata")
