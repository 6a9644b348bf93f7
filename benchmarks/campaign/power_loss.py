"""Whether a power failure can leave a file half-written, judged by the calls that wrote it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from campaign.outputs import LOGS


class Call(NamedTuple):
    """A line of the log of `write_faults.c`.

    Attributes:
        operation: Such as `"rename"`.
        path: Of the file or folder.
        other: The other path of a rename; of a write, the number of its bytes, parts or items.
        failed: Whether the call was made to fail.
    """

    operation: str
    path: str
    other: str
    failed: bool = False

    @property
    def is_of_a_log(self) -> bool:
        """Whether the file is a log, which is written line by line."""
        return bool(LOGS & set(self.path.split("/")))


def calls(log: str) -> list[Call]:
    """The calls of a log; those that were made to fail begin with an exclamation mark."""
    found = []
    for line in log.splitlines():
        operation, path, other = line.split("\t")
        found.append(Call(operation.lstrip("!"), path, other, operation.startswith("!")))
    return found


def unsafe(made: Iterable[Call]) -> list[str]:
    """What is unsafe about the calls of a program: write, fsync, rename, fsync of the folder.

    A name may be lost or kept by a power failure until its folder is synced, and so may the content
    of a file until the file is. Renames between unfinished files publish nothing.
    """
    faults: dict[str, None] = {}
    written: set[str] = set()
    named: set[str] = set()
    folders: dict[str, None] = {}
    pending = ""
    for call in made:
        operation, path, other = call.operation, call.path, call.other
        if operation in ("open", "write", "mkdir") and not call.is_of_a_log:
            if operation != "write":
                named.add(os.path.dirname(path))
            if operation == "mkdir":
                if not _depth(path):
                    folders[path] = None
                continue
            if operation == "write":
                written.add(path)
                if not _depth(path):
                    faults[f"{_short(path)} is written under its final name"] = None
        elif operation == "fsync":
            written.discard(path)
            named.discard(path)
            pending = "" if path == os.path.dirname(pending) else pending
            folders = {each: None for each in folders if os.path.dirname(each) != path}
        elif operation == "remove":
            written.discard(path)
            named.discard(path)
            folders.pop(path, None)
        elif operation == "rename":
            published = _depth(path) > _depth(other)
            if published and pending:
                faults[f"{_short(other)} is renamed before {_short(pending)} is durable"] = None
            if published and any(_below(each, path) for each in written | named):
                faults[f"{_short(other)} gets its name before its content is on the disk"] = None
            written = {_moved(each, path, other) for each in written}
            named = {_moved(each, path, other) for each in named}
            pending = other if published else pending
    for each in [*folders, *([pending] if pending else [])]:
        faults[f"the name {_short(each)} may be lost"] = None
    return list(faults)


def _depth(path: str) -> int:
    """Number of unfinished folders or files that a path names."""
    return sum(part.endswith(".unfinished") for part in path.split("/"))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _moved(path: str, source: str, target: str) -> str:
    return target + path[len(source) :] if _below(path, source) else path


def _short(path: str) -> str:
    return "/".join(path.split("/")[-2:])
