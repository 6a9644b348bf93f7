"""Metadata of a `.tflite` file, in a zip archive at its end."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

METADATA = "metadata.json"
_FIELDS = (
    "source_vocabulary",
    "target_vocabulary",
    "source_vocabulary_sha256",
    "target_vocabulary_sha256",
    "max_source_length",
    "max_target_length",
    "beam_size",
    "length_penalty",
)


def shortlist_advice(path: str) -> str:
    """What to do about a shortlist that is asked for: the file uses its own, or has none."""
    if read_metadata(path).get("shortlist"):
        return f"{path} already uses its shortlist: remove --shortlist."
    return f"{path} has no shortlist: remove --shortlist, or export the file with --shortlist."


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the metadata of a `.tflite` file.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file was not written by `export_tflite`, or is damaged.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"The model {path} does not exist.")
    try:
        with zipfile.ZipFile(path) as archive:
            metadata = json.loads(archive.read(METADATA))
            if not metadata["text"]:
                return {name: metadata[name] for name in _FIELDS} | metadata
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged, or was not written by keras-attn-nmt export tflite: {error}"
        ) from error
    raise ValueError(
        f"{path} was exported with --text and requires TF Text's ops, which this runtime lacks: "
        "see docs/devices.md, or export it without --text."
    )
