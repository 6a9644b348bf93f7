"""What lies in an output folder: whether files are whole, and whether two folders are the same."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

# Values of JSON files that differ between two runs with the same result.
VOLATILE = frozenset({"seconds", "tokens_per_second", "resumed_after_epoch", "date_saved"})
_TIMES = re.compile(rb'"(seconds|\w+_per_second)": ?[0-9.e+-]+')
# Keras numbers the layers of all models of a process, and names shared objects by their address.
_NUMBERED = re.compile(rb'"([a-z_]+?)_[0-9]+"')
_ADDRESS = re.compile(rb'"shared_object_id": [0-9]+')
# Logs are written line by line, and read as far as they go.
LOGS = frozenset({"tensorboard", "beam.log"})
# The content of such files tells whether they are whole.
_TELLING = (".json", ".jsonl", ".keras", ".npz", ".h5", ".tflite", ".png", ".html")
_UNFINISHED = re.compile(r"\.unfinished$|^\.bulk-translate$|\.tmp$")


class Broken(Exception):
    """A file under its final name that is not whole."""


def fingerprint(folder: Path) -> dict[str, str]:
    """Digest of the content of each finished file, without times of writing.

    Raises:
        Broken: A file cannot be read.
    """
    found = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not _UNFINISHED.search(each) and each not in LOGS]
        for name in names:
            if _UNFINISHED.search(name) or name in LOGS:
                continue
            file = Path(path, name)
            try:
                content = file.read_bytes()
            except FileNotFoundError:  # Replaced or removed meanwhile.
                continue
            try:
                digest = content_digest(name, content)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                raise Broken(f"{file.relative_to(folder)} is not whole ({reason})") from error
            found[str(file.relative_to(folder))] = digest
    return found


def unlike(found: dict[str, str], *allowed: dict[str, str]) -> list[str]:
    """Files that are as in none of the allowed fingerprints, though their content says nothing.

    A vocabulary without its last pieces is a vocabulary.
    """
    return [
        name
        for name, digest in found.items()
        if not name.endswith(_TELLING) and digest not in [each.get(name) for each in allowed]
    ]


def leftovers(folder: Path) -> list[str]:
    """Names of unfinished files and folders below a folder."""
    found = []
    for path, folders, names in os.walk(folder):
        found += [os.path.join(path, each) for each in names + folders if _UNFINISHED.search(each)]
        folders[:] = [each for each in folders if not _UNFINISHED.search(each)]
    return sorted(os.path.relpath(each, folder) for each in found)


def content_digest(name: str, content: bytes) -> str:
    """Digest of what a file says. Raises any exception if it is not whole."""
    if name == "config.json" and b'"registered_name"' in content:
        return _digest(_ADDRESS.sub(b"", _NUMBERED.sub(rb'"\1"', content)))
    if name == "fingerprint.pb" and content:  # TensorFlow gives each SavedModel an id of its own.
        return _digest(b"any")
    if name.endswith((".json", ".jsonl")):
        values = (
            [json.loads(each) for each in content.decode().splitlines()]
            if (name.endswith("l"))
            else json.loads(content)
        )
        return _digest(json.dumps(_without_times(values), sort_keys=True).encode())
    if name.endswith((".keras", ".npz")):
        return _digest(*_members(name, content))
    if name.endswith(".h5"):
        return _digest(*_arrays(content))
    if name.endswith(".tflite"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            begin = min(each.header_offset for each in archive.infolist())
        return _digest(content[:begin], *_members(name, content))
    if name.endswith(".png") and not content.rstrip().endswith(b"IEND\xaeB`\x82"):
        raise ValueError("no end of the picture")
    if name.endswith(".html") and b"</html>" not in content[-100:]:
        raise ValueError("no end of the page")
    if name.endswith(".html"):
        return _digest(_TIMES.sub(b"", content))
    if not content and name.endswith((".spm", ".pb")):
        raise ValueError("empty")
    return _digest(content)


def _members(name: str, content: bytes) -> list[bytes]:
    found: list[bytes] = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for each in sorted(archive.namelist()):
            found += [each.encode(), content_digest(each, archive.read(each)).encode()]
    return found


def _arrays(content: bytes) -> list[bytes]:
    import h5py

    found: list[bytes] = []

    def visit(name: str, item: Any) -> None:
        found.append(name.encode())
        if isinstance(item, h5py.Dataset):
            found.append(item[()].tobytes())

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(visit)
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in VOLATILE}
    return [_without_times(each) for each in value] if isinstance(value, list) else value


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
