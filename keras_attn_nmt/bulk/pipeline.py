"""The pipeline of bulk translation: files, their parts, translated parts, whole files.

    files -> Plan -> parts -> Reshuffle -> TranslatePart -> parts on disk -> Merge -> files

Text never moves between workers: elements are places in files. A worker reads a part, translates it
and writes the result beside the output under the number of the part. What is written is not made
again, so a job that was killed goes on.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.folders import FileFolder, Job, PartFiles, Source
from keras_attn_nmt.bulk.merging import merge
from keras_attn_nmt.bulk.models import Outcome
from keras_attn_nmt.bulk.parts import UNREADABLE, Line, Part, read_lines, scan
from keras_attn_nmt.bulk.transform import NAMESPACE, Counters, SharedModel
from keras_attn_nmt.extras import extra
from keras_attn_nmt.results import alignment_row, translation_rows

with extra("beam"):
    import apache_beam as beam
    from apache_beam.metrics import Metrics
    from apache_beam.pvalue import TaggedOutput

# A compressed file is read from its beginning for each element, so it has at most so many.
_MOST_ELEMENTS = 64
_WORK, _FILES = "work", "files"


class Work(NamedTuple):
    """Consecutive parts of a file, which one worker translates."""

    folder: FileFolder
    parts: list[Part]


def translate_files(pipeline: beam.Pipeline, job: Job, sources: Sequence[Source]) -> Any:
    """Adds bulk translation of files to a pipeline.

    Args:
        pipeline: The pipeline.
        job: Model, output and settings.
        sources: The files to translate.
    """
    planned = (
        pipeline
        | "Files" >> beam.Create(list(sources), reshuffle=True)
        | "Plan" >> beam.ParDo(_Plan(job)).with_outputs(_WORK, _FILES)
    )
    # Without it, one worker gets all parts of a file.
    spread = planned[_WORK] | "Spread" >> beam.Reshuffle()
    model = SharedModel(job.model, job.options)
    translated = spread | "Translate" >> beam.ParDo(_TranslateParts(job, model))
    return (
        {"planned": planned[_FILES], "translated": translated}
        | "Wait for a file's parts" >> beam.CoGroupByKey()
        | "Merge" >> beam.ParDo(_Merge(job))
    )


class _Plan(beam.DoFn):
    """Scans a file for its parts and looks which are translated already."""

    def __init__(self, job: Job):
        self._job = job
        self._unreadable = Metrics.counter(NAMESPACE, "unreadable_files")

    def process(self, source: Source) -> Iterator[Any]:
        """Work to do, and the file itself; nothing of a file that cannot be read."""
        try:
            found = scan(source.path, self._job.lines_per_part)
        except UNREADABLE as error:
            self._unreadable.inc()
            self._job.fail(source, error)
            return
        folder = FileFolder.of(self._job, source, found)
        folder.begin()
        done = folder.finished_parts()
        left = [part for part in found.parts if part.number not in done]
        size = 1
        if source.suffix:
            size = max(1, -(-len(left) // _MOST_ELEMENTS))
        for start in range(0, len(left), size):
            yield TaggedOutput(_WORK, Work(folder, left[start : start + size]))
        yield TaggedOutput(_FILES, (source.name, folder))


class _TranslateParts(beam.DoFn):
    """Reads, translates and writes parts of a file."""

    def __init__(self, job: Job, model: SharedModel):
        self._job = job
        self._model = model
        self._counters = Counters()

    def setup(self) -> None:
        self._loaded = self._model.get()

    def process(self, work: Work) -> Iterator[tuple[str, int]]:
        """The name of the file with the number of each part."""
        with storage.reading(work.folder.source.path) as content:
            for part in work.parts:
                # Another attempt of a runner may have written it.
                if not work.folder.has_part(part.number):
                    self._translate(work.folder, part, content)
                yield work.folder.source.name, part.number

    def _translate(self, folder: FileFolder, part: Part, content: IO[bytes]) -> None:
        number = part.first_line
        with folder.writing_part(part.number, self._job.forms) as files:
            for lines in _chunks(read_lines(content, part), self._job.lines_per_chunk):
                begin = time.perf_counter()
                outcomes = self._loaded.translate([line.text for line in lines])
                outcomes = [
                    dataclasses.replace(outcome, failure=line.failure or outcome.failure)
                    for line, outcome in zip(lines, outcomes, strict=True)
                ]
                self._counters.count(outcomes, time.perf_counter() - begin)
                for line, outcome in zip(lines, outcomes, strict=True):
                    number += 1
                    self._write(files, folder.source, number, line, outcome)
            _check_unchanged(folder.source)

    def _write(
        self, files: PartFiles, source: Source, number: int, line: Line, outcome: Outcome
    ) -> None:
        options = self._job.options
        rows = translation_rows(options.form, number, line.text, outcome.best, options.n_best)
        files.of["text"].write("".join(f"{row}\n" for row in rows).encode())
        if options.alignment:
            links = alignment_row(outcome.source, outcome.best[0])
            files.of["align"].write(f"{links}\n".encode())
        if outcome.failure:
            files.failed.append({"file": source.path, "line": number, "reason": outcome.failure})


class _Merge(beam.DoFn):
    """Puts the parts of a file together."""

    def __init__(self, job: Job):
        self._job = job
        self._files = Metrics.counter(NAMESPACE, "files")

    def process(self, element: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[str]:
        """The name of the file."""
        name, groups = element
        for folder in groups["planned"]:
            merge(self._job, folder)
            self._files.inc()
            yield name


def _check_unchanged(source: Source) -> None:
    """Raises `ValueError` if a file is not what it was when the job began."""
    now = storage.stored_file(source.path)
    if (now.size, now.modified) != (source.size, source.modified):
        raise ValueError(f"{source.path} was changed while it was translated. Start again.")


def _chunks(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    chunk: list[Line] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
