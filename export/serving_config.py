"""Generates the serving configuration of a SavedModel from `export/operator_templates`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import string
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.export.client import BATCH_SIZE, CONSTRAINED
from keras_attn_nmt.export.saved_model_runner import METADATA, read_metadata
from keras_attn_nmt.extras import extra
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.translation import IMPOSSIBLE, MAX_SOURCE_LENGTH
from keras_attn_nmt.writing import write_text

with extra("serve"):
    from keras_attn_nmt.export import warmup
    from keras_attn_nmt.export.saved_model_check import SessionModel

# What the client returns beside the texts, by the attention of the version.
CLIENT_ATTENTION = {
    "float32": ", and returns the attention weights as an array",
    "float16": " over gRPC, and returns the attention weights as an array",
    "none": "; attention weights are zeros",
}
FILES = ("models.config", "batching.config", "monitoring.config", "compose.yaml", "README.md")
IMAGE_VERSION = "2.20.0"
# A few seconds of work: later responses would be too late.
QUEUED_BATCHES_PER_CORE = 16
# Concurrent requests per protocol.
WAITING_REQUESTS = 128
# A second apart: enough for a folder that is still being copied by hand.
LOAD_RETRIES = 5


def export_serving(
    directory: str | os.PathLike[str],
    *,
    name: str | None = None,
    cores: int | None = None,
    text: str | None = None,
    overwrite: bool = False,
) -> list[Path]:
    """Writes the serving configuration of a SavedModel.

    It consists of configuration files, a `compose.yaml` for the stock image, and a README with
    example requests and the actual responses of the newest version. Needs the extra `serve`.

    Args:
        directory: Output directory of `export_saved_model`, with at least one version.
        name: Model name on the server; defaults to the directory name.
        cores: CPU cores of the server; defaults to those of this machine.
        text: Example sentence for the README; defaults to words from the vocabulary.
        overwrite: Replace existing files, including manual changes.

    Returns:
        The written files.

    Raises:
        FileExistsError: A file exists, and `overwrite` is not set.
        FileNotFoundError: The directory has no version.
        ValueError: The name is not valid in a URL, `cores` is not positive, the example text is
            blank or too long, or the newest version was not written by `export_saved_model` or is
            damaged.
        OSError: The disk is full or not writable.
    """
    directory = Path(directory)
    name = directory.resolve().name if name is None else name
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
        raise ValueError(
            f"A model name may only contain lower-case letters, digits, _ and -, got {name!r}: set "
            "another one with --name."
        )
    cores = (os.cpu_count() or 1) if cores is None else cores
    check_whole("cores", cores)
    newest = _newest(directory)
    present = [file for file in FILES if (directory / file).exists()]
    if present and not overwrite:
        raise FileExistsError(
            f"{directory} already has {', '.join(present)}, which may contain manual changes: "
            "remove them, or replace them with --overwrite."
        )
    metadata = _metadata(newest)
    if text is None:
        text = _sample(newest)
    if is_blank(text):
        raise ValueError("The example text must not be blank.")
    examples, constrained = _examples(newest, name, text)
    values = {
        **metadata,
        "name": name,
        "version": newest.name,
        "cores": cores,
        "queue": QUEUED_BATCHES_PER_CORE * cores,
        "batch": BATCH_SIZE,
        "waiting": WAITING_REQUESTS,
        "retries": LOAD_RETRIES,
        "image_version": IMAGE_VERSION,
        "languages": _languages(metadata),
        **examples,
        "client_attention": CLIENT_ATTENTION[metadata["attention"]],
    }
    parts = [f"rest_{metadata['attention']}.md", *(["constraints.md"] if constrained else [])]
    values["other_signatures"] = "\n\n".join(_filled(part, values).rstrip() for part in parts)
    for file in FILES:
        write_text(directory / file, _filled(file, values))
    return [directory / file for file in FILES]


def _filled(template: str, values: dict[str, Any]) -> str:
    path = resources.files("keras_attn_nmt.export") / "operator_templates" / template
    return string.Template(path.read_text(encoding="utf-8")).substitute(values)


def _newest(directory: Path) -> Path:
    versions = [path for path in directory.glob("*") if path.name.isdecimal() and path.is_dir()]
    if not versions:
        raise FileNotFoundError(
            f"{directory} has no model version: create one with keras-attn-nmt export saved-model "
            "MODEL --output DIR."
        )
    return max(versions, key=lambda path: int(path.name))


def _sample(version: Path) -> str:
    try:
        requests = warmup.read(version)
    except tf.errors.OpError as error:
        raise ValueError(f"{version} is damaged: {warmup.PATH} cannot be read: {error}") from error
    texts = [text.decode() for request in requests for text in request.inputs["text"].string_val]

    # Words rather than pieces of words, neither the shortest nor one that is hard to read.
    def distance(text: str) -> tuple[bool, bool, int]:
        return not text.replace(" ", "").isalpha(), " " not in text, abs(len(text) - 16)

    return min((text for text in texts if not is_blank(text)), key=distance)


def _metadata(version: Path) -> dict[str, Any]:
    metadata = read_metadata(version)
    names = ("beam_size", "length_penalty", "max_length", "max_source_length")
    missing = [name for name in names if name not in metadata]
    attention = metadata.get("attention", "float32")
    if missing or attention not in list(CLIENT_ATTENTION):
        fault = f"no {', '.join(missing)}" if missing else f"unknown attention {attention!r}"
        raise ValueError(
            f"{version / METADATA} has {fault}: it is damaged, or was not written by "
            "keras-attn-nmt export saved-model. Export the model again."
        )
    return {**metadata, "attention": attention}


def _languages(metadata: dict[str, Any]) -> str:
    if "source_language" not in metadata:
        return ""
    return f" from `{metadata['source_language']}` to `{metadata['target_language']}`"


def _examples(version: Path, name: str, text: str) -> tuple[dict[str, str], bool]:
    """Example requests and the responses of the model, and whether it takes constraints."""
    try:
        with contextlib.closing(SessionModel(version)) as model:
            answers = {
                signature: model.run(signature, {"text": [text]})
                for signature in ("translate", "serving_default")
            }
            constrained = CONSTRAINED in model.signatures
    except (OSError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{version} is damaged: {error}") from error
    if float(answers["translate"]["score"][0]) <= IMPOSSIBLE:
        raise ValueError(
            f"The example text has more than {MAX_SOURCE_LENGTH} tokens: give a shorter one."
        )
    translated = _as_json(answers["translate"])
    url = f"localhost:8501/v1/models/{name}:predict"

    def request(**body: Any) -> str:
        content = json.dumps({**body, "instances": [{"text": text}]}, ensure_ascii=False)
        return f"curl -d {shlex.quote(content)} {url}"

    examples = {
        "text": json.dumps(text, ensure_ascii=False),
        "translation": translated["translation"],
        "translate_request": request(signature_name="translate"),
        "translate_answer": _shown(translated),
        "attention_request": request(),
        "attention_answer": _shown(_as_json(answers["serving_default"])),
    }
    return examples, constrained


def _as_json(answers: dict[str, np.ndarray]) -> dict[str, Any]:
    """The outputs of the one text, as TensorFlow Serving writes them; floats rounded."""
    result = {}
    for name, output in sorted(answers.items()):
        value = output[0]
        if output.dtype == object:
            result[name] = _decoded(value)
        elif output.dtype.kind == "f":
            # A float32 has as many digits as these; the lists would be hard to read with all.
            result[name] = _rounded(value.tolist(), 6 if value.ndim == 0 else 3)
        else:
            result[name] = value.tolist()
    return result


def _decoded(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else [each.decode() for each in value]


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_rounded(each, digits) for each in value]
    return round(value, digits)


def _shown(row: dict[str, Any]) -> str:
    """An answer with one output a line."""
    lines = [
        f"    {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}"
        for name, value in row.items()
    ]
    return '{"predictions": [{\n' + ",\n".join(lines) + "\n}]}"
