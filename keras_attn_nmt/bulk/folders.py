"""Names of files in the output folder of bulk translation, and which of them are finished.

OUT/NAME                         a translated file, which appears when it is whole
OUT/NAME.failed.jsonl            lines that are not translated: file, line, reason
OUT/NAME.align                   word alignments, with --alignment
OUT/.bulk-translate/settings.json, beam.log
OUT/.bulk-translate/NAME.DIGEST/ parts of a file that is not finished, and its plan
OUT/.bulk-translate/NAME.done    what is known of a finished file
"""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import json
import os
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.models import BulkOptions
from keras_attn_nmt.bulk.parts import FileParts
from keras_attn_nmt.text.lines import BATCHES_AHEAD

WORK = ".bulk-translate"
PLAN, SETTINGS, LOG = "plan.json", "settings.json", "beam.log"
FAILED, ALIGN, DONE = ".failed.jsonl", ".align", ".done"
# Chunks of a part, after which it is saved: what a kill costs a worker.
_CHUNKS = 4
# Of a digest, in the name of a folder.
_DIGITS = 16


@dataclasses.dataclass(frozen=True)
class Job:
    """What the workers know of a job; small, as it travels with every function of the pipeline.

    Args:
        model: See `BulkModel`.
        output: The output folder.
        options: How to translate.
    """

    model: str
    output: str
    options: BulkOptions

    @property
    def lines_per_chunk(self) -> int:
        """Lines that are translated at a time, the same as in `translate`: so are the results."""
        return self.options.batch_size * BATCHES_AHEAD

    @property
    def lines_per_part(self) -> int:
        return self.lines_per_chunk * _CHUNKS

    @property
    def work(self) -> str:
        return storage.join(self.output, WORK)

    @property
    def forms(self) -> tuple[str, ...]:
        """Kinds of output that have a file of their own."""
        return ("text", "align") if self.options.alignment else ("text",)

    def fail(self, source: Source, error: BaseException) -> None:
        """Records why a whole file is not translated."""
        reason = str(error).strip() or type(error).__name__
        row = {"file": source.path, "line": None, "reason": reason}
        path = storage.join(self.output, source.name + FAILED)
        storage.write(path, _json_line(row), self.work)


class Source(NamedTuple):
    """A file to translate.

    Attributes:
        name: Its name in the output folder.
        path: Its path.
        size: Its size as stored, in bytes.
        modified: When it was modified, in seconds.
    """

    name: str
    path: str
    size: int
    modified: float

    @property
    def suffix(self) -> str:
        return ".gz" if self.path.endswith(".gz") else ""

    def output_name(self, form: str) -> str:
        if form == "text":
            return self.name
        return self.name.removesuffix(self.suffix) + ALIGN + self.suffix


class FileFolder(NamedTuple):
    """The unfinished parts of a file, and what is known of it.

    Attributes:
        source: The file.
        folder: Where its parts are, which depends on its content.
        digest: SHA-256 of its content.
        lines: Number of its lines.
        lines_per_part: Number of lines of all parts but the last.
    """

    source: Source
    folder: str
    digest: str
    lines: int
    lines_per_part: int

    @classmethod
    def of(cls, job: Job, source: Source, found: FileParts) -> FileFolder:
        folder = parts_folder(job, source, found.digest)
        return cls(source, folder, found.digest, found.lines, job.lines_per_part)

    @property
    def numbers(self) -> range:
        """Numbers of the parts."""
        return range(-(-self.lines // self.lines_per_part))

    def lines_of(self, number: int) -> int:
        """Number of lines of a part."""
        return min(self.lines_per_part, self.lines - number * self.lines_per_part)

    def begin(self) -> None:
        """Writes what progress is measured by."""
        plan = {"lines": self.lines, "lines_per_part": self.lines_per_part}
        storage.write(storage.join(self.folder, PLAN), _json_line(plan), self.folder)

    def part(self, number: int, form: str) -> str:
        """Path of a part: `text`, `align` or `failed`."""
        suffix = "" if form == "failed" else self.source.suffix
        return storage.join(self.folder, f"{number:08}.{form}{suffix}")

    def has_part(self, number: int) -> bool:
        return storage.exists(self.part(number, "text"))

    def finished_parts(self) -> set[int]:
        names = storage.listed(self.folder)
        return {int(name[:8]) for name in names if name[8:] == f".text{self.source.suffix}"}

    @contextlib.contextmanager
    def writing_part(self, number: int, forms: tuple[str, ...]) -> Iterator[PartFiles]:
        """Files of a part, which all appear with the last one, the text, or not at all."""
        failed: list[dict[str, Any]] = []
        with contextlib.ExitStack() as stack:
            files = {form: stack.enter_context(self._writing(number, form)) for form in forms}
            yield PartFiles(files, failed)
            if failed:
                rows = b"".join(map(_json_line, failed))
                storage.write(self.part(number, "failed"), rows, self.folder)

    @contextlib.contextmanager
    def _writing(self, number: int, form: str) -> Iterator[IO[bytes]]:
        with storage.writing(self.part(number, form), self.folder) as file:
            if not self.source.suffix:
                yield file
                return
            # Without name and time, the same content gives the same bytes.
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as member:
                yield member  # type: ignore[misc]


class PartFiles(NamedTuple):
    """Open files of a part by kind of output, and rows of lines that fail."""

    of: dict[str, IO[bytes]]
    failed: list[dict[str, Any]]


def has_translations(job: Job) -> bool:
    """Whether the output has a finished file, or a finished part of one."""
    names = map(storage.name_of, storage.below(job.work))
    return any(name.endswith((DONE, ".text", ".text.gz")) for name in names)


def check_names(job: Job, sources: Sequence[Source]) -> None:
    """Raises `ValueError` for a file whose name is too long with the suffixes of a job."""
    if not storage.is_local(job.output):
        return
    added = max(len(FAILED), len(ALIGN), len(DONE), 1 + _DIGITS)
    for source in sources:
        limit = storage.longest_name(job.output, source.name + "." * added)
        if limit is not None:
            raise ValueError(
                f"The name of {source.path} has {len(os.fsencode(source.name))} bytes: expected at "
                f"most {limit - added}, as names in {job.output} have at most {limit} and "
                f"bulk-translate adds up to {added}. Give the file a shorter name."
            )


def parts_folder(job: Job, source: Source, digest: str) -> str:
    return storage.join(job.work, f"{source.name}.{digest[:_DIGITS]}")


def part_folders(job: Job) -> dict[str, list[str]]:
    """Folders of parts by the name of their file: one for each content that it had."""
    found: dict[str, list[str]] = {}
    for name in storage.folders(job.work):
        stem, _, digest = name.rpartition(".")
        if len(digest) == _DIGITS:
            found.setdefault(stem, []).append(storage.join(job.work, name))
    return found


def done_record(job: Job, source: Source) -> str:
    return storage.join(job.work, source.name + DONE)


def _json_line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
