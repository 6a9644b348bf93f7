"""Puts the translated parts of a file together, and counts what is put together."""

from __future__ import annotations

import json
import re
from typing import IO

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.folders import FAILED, FileFolder, Job, done_record

# The number of the line in a row, and that of the first line.
_NUMBERS = {
    "json": (re.compile(rb'\{"line": (\d+),'), 1),
    "moses": (re.compile(rb"(\d+) \|\|\| "), 0),
}


class Mismatch(ValueError):
    """What was put together is not what there was to translate."""


def merge(job: Job, folder: FileFolder) -> None:
    """Writes the outputs of a file whose parts are all there, and removes the parts.

    The translation appears last. A kill at any moment leaves either the parts or the outputs.

    Raises:
        Mismatch: The output does not have the lines of the file, or a part is missing.
    """
    record, source = done_record(job, folder.source), folder.source
    outputs = {form: storage.join(job.output, source.output_name(form)) for form in job.forms}
    if storage.exists(record) and storage.exists(outputs["text"]):
        # By another attempt of the runner.
        storage.remove(folder.folder)
        return
    if missing := set(folder.numbers) - folder.finished_parts():
        raise Mismatch(f"{source.path}: part {min(missing)} is missing; start the job again.")
    failed = _merge_failures(job, folder)
    for form in job.forms[1:]:
        with storage.writing(outputs[form], folder.folder) as output:
            _join(job, folder, form, output)
    with storage.writing(outputs["text"], folder.folder) as output:
        _join(job, folder, "text", output)
        values = {
            "lines": folder.lines,
            "failed": failed,
            "size": source.size,
            "modified": source.modified,
            "digest": folder.digest,
        }
        storage.write(record, json.dumps(values).encode(), job.work)
    storage.remove(folder.folder)


def _merge_failures(job: Job, folder: FileFolder) -> int:
    """Writes the rows of lines that fail, if there are any; their number."""
    path = storage.join(job.output, folder.source.name + FAILED)
    names = set(storage.listed(folder.folder))
    parts = [folder.part(number, "failed") for number in folder.numbers]
    parts = [part for part in parts if storage.name_of(part) in names]
    if not parts:
        # Of an earlier attempt, when the file could not be read.
        storage.delete(path)
        return 0
    rows = 0
    with storage.writing(path, folder.folder) as output:
        for part in parts:
            content = storage.read(part)
            rows += content.count(b"\n")
            output.write(content)
    return rows


def _join(job: Job, folder: FileFolder, form: str, output: IO[bytes]) -> None:
    """Copies parts in order, and checks that each has the rows of its lines."""
    for number in folder.numbers:
        path = folder.part(number, form)
        first = number * folder.lines_per_part
        with storage.reading(path) as content:
            lines = _lines_in(content, job, form, first, None if folder.source.suffix else output)
        if lines != folder.lines_of(number):
            raise Mismatch(
                f"{path} has {lines} of {folder.lines_of(number)} lines: delete it and start the "
                "job again."
            )
        if folder.source.suffix:
            # Members of a gzip file may follow each other.
            output.write(storage.read(path))
    if folder.source.suffix and not folder.numbers:
        output.write(storage.compressed(b""))


def _lines_in(content: IO[bytes], job: Job, form: str, first: int, output: IO[bytes] | None) -> int:
    """Number of input lines that rows are of, all in order; copies the rows to `output`."""
    numbered = _NUMBERS.get(job.options.form) if form == "text" else None
    rows, line = 0, first
    for row in content:
        if output:
            output.write(row)
        rows += 1
        if numbered:
            pattern, one = numbered
            found = pattern.match(row)
            number = int(found[1]) - one + 1 if found else -1
            if number not in (line, line + 1) or number == first:
                return -1
            line = number
    if numbered:
        return line - first
    per_line = job.options.n_best if form == "text" else 1
    return -1 if rows % per_line else rows // per_line
