"""Guarded reading of files and answers from elsewhere: JSON, and ZIP archives before others read
them.

Requires only the standard library.
"""

from __future__ import annotations

import errno
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

# Larger archives may expand to this multiple of their size: weights hardly compress.
MOST_EXPANSION = 20
_SMALL_BYTES = 64 * 2**20
_BLOCK_BYTES = 1 << 20
_ENCRYPTED = 0x1


def parse_json(text: str | bytes) -> Any:
    """`json.loads`, whose every error is a `ValueError`, also that of values nested too deep."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise ValueError("not JSON: its values are nested too deep") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Parses a JSON object; raises `ValueError` for anything else."""
    values = parse_json(text)
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}")
    return values


def check_archive(path: str | os.PathLike[str], members: Iterable[str]) -> None:
    """Checks a ZIP file before a library reads it: members, names, sizes and checksums.

    Args:
        path: The file.
        members: Names of members that it must have.

    Raises:
        ValueError: It is damaged, lacks a member, has one twice or outside of its folder, or
            expands to more than 64 MiB and 20 times its size.
        OSError: It cannot be read.
    """
    most = max(_SMALL_BYTES, MOST_EXPANSION * os.path.getsize(path))
    try:
        with zipfile.ZipFile(path) as archive:
            files = archive.infolist()
            _check_names([each.filename for each in files], members)
            if (size := sum(each.file_size for each in files)) > most:
                raise ValueError(
                    f"it expands to {size:,} bytes, more than {MOST_EXPANSION} times its size"
                )
            for each in files:
                if each.flag_bits & _ENCRYPTED:
                    raise ValueError(f"{each.filename!r} in it is encrypted")
                if each.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{each.filename!r} in it is compressed by another method")
                # The checksum is compared at the end of a member.
                with archive.open(each) as member:
                    while member.read(_BLOCK_BYTES):
                        pass
    # What `zipfile` raises for damage: NotImplementedError for another version of the format, and
    # EINVAL for a member whose offset is negative.
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"not a whole ZIP file ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError(f"not a whole ZIP file ({error})") from error


def _check_names(names: list[str], members: Iterable[str]) -> None:
    for name in names:
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in name:
            raise ValueError(f"the name {name!r} in it leads out of its folder")
    if len(set(names)) < len(names):
        raise ValueError("a name occurs twice in it")
    if missing := [name for name in members if name not in names]:
        raise ValueError(f"it lacks {', '.join(missing)}")
