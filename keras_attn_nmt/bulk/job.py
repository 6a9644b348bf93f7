"""A bulk translation from check to report: what is asked for, run on Beam, and what came of it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from keras_attn_nmt.bulk import storage
from keras_attn_nmt.bulk.folders import (
    FAILED,
    LOG,
    SETTINGS,
    Job,
    Source,
    check_names,
    done_record,
    has_translations,
    part_folders,
)
from keras_attn_nmt.bulk.models import BulkOptions, check_model, model_digest
from keras_attn_nmt.bulk.parts import scan
from keras_attn_nmt.bulk.pipeline import translate_files
from keras_attn_nmt.bulk.progress import Progress
from keras_attn_nmt.bulk.runners import messages_kept, pipeline_options, run

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BulkReport:
    """What came of a job.

    Attributes:
        files: Number of files in the output, those that were finished before included.
        finished_before: Number of files that were finished before.
        lines: Number of their lines.
        failed_lines: Number of lines that are not translated as a whole, see `NAME.failed.jsonl`.
        unreadable: Paths of files that could not be read, see `NAME.failed.jsonl`.
        metrics: Beam's counters of this run by name.
    """

    files: int
    finished_before: int
    lines: int
    failed_lines: int
    unreadable: list[str]
    metrics: dict[str, int]


def bulk_translate(
    model: str,
    inputs: Sequence[str],
    output: str,
    options: BulkOptions | None = None,
    beam_arguments: Sequence[str] = (),
) -> BulkReport:
    """Translates files on Apache Beam: one file in, one file out, with the same lines.

    A finished file is skipped, and so are finished parts of the others: after an interruption, the
    same call goes on. Lines that cannot be translated are empty, and listed in `NAME.failed.jsonl`.
    Needs the extra `beam`.

    Args:
        model: A `.tflite` file, the folder of a SavedModel's version, or a model directory.
        inputs: Paths or patterns of files such as `in/*`, plain or `.gz`, in UTF-8.
        output: Folder of the translated files.
        options: How to translate.
        beam_arguments: Pipeline options of Beam, such as `--runner=DataflowRunner`.

    Raises:
        FileNotFoundError: The model or a file does not exist.
        FileExistsError: The output has files of another job.
        ValueError: Options do not go together, files have the same name, or a name is too long.
        JobFailed: The pipeline failed; the same call goes on.
    """
    options = options or BulkOptions()
    beam_options = pipeline_options(beam_arguments)
    sources = _sources(storage.find(inputs), output, options)
    check_model(model, options)
    job = Job(model, output, options)
    check_names(job, sources)
    _check_settings(job)
    records = {source: _record(job, source) for source in sources}
    left = [source for source, record in records.items() if record is None]
    # A kill may have left them.
    _remove_parts(job, records)
    before = len(sources) - len(left)
    if before:
        logger.info("%d of %d files are finished already", before, len(sources))
    metrics: dict[str, int] = {}
    if left:
        log = storage.join(job.work, LOG) if storage.is_local(job.work) else None
        with messages_kept(log) as terminal, Progress(job, left, terminal):
            metrics = run(lambda pipeline: translate_files(pipeline, job, left), beam_options)
        records |= {source: _record(job, source) for source in left}
        # Those of an earlier content of a source.
        _remove_parts(job, records)
    finished = [record for record in records.values() if record is not None]
    return BulkReport(
        files=len(finished),
        finished_before=before,
        lines=sum(record["lines"] for record in finished),
        failed_lines=sum(record["failed"] for record in finished),
        unreadable=[source.path for source, record in records.items() if record is None],
        metrics=metrics,
    )


def _sources(
    files: Sequence[storage.StoredFile], output: str, options: BulkOptions
) -> list[Source]:
    """The files to translate, none of whose outputs has the name of another."""
    sources = [Source(storage.name_of(each.path), *each) for each in files]
    taken: dict[str, str] = {}
    for source in sources:
        names = [source.name, source.name + FAILED]
        if options.alignment:
            names.append(source.output_name("align"))
        for name in names:
            if other := taken.get(name):
                raise ValueError(
                    f"{other} and {source.path} would both write {name}: give them other names, or "
                    "translate them into two folders."
                )
            taken[name] = source.path
        if storage.same_folder(source.path, output):
            raise ValueError(
                f"The output {output} is the folder of {source.path}, which would be replaced by "
                "its translation: give another output."
            )
    return sources


def _check_settings(job: Job) -> None:
    """Writes the settings of a job, or compares them with those that its output has.

    An output without any translation, as of a model that could not be loaded, belongs to no job.
    """
    settings = {
        "model": model_digest(job.model),
        **dataclasses.asdict(job.options),
    }
    settings = json.loads(json.dumps(settings))
    path = storage.join(job.work, SETTINGS)
    begun = json.loads(storage.read(path)) if storage.exists(path) else {}
    if settings == begun:
        return
    if not begun or not has_translations(job):
        storage.write(path, json.dumps(settings).encode(), job.work)
        return
    for name, value in settings.items():
        if begun.get(name) != value:
            raise FileExistsError(
                f"{job.output} was begun with another {name} ({begun.get(name)}, now {value}): "
                "give another output, or remove it."
            )


def _record(job: Job, source: Source) -> dict[str, Any] | None:
    """What is known of a finished file; nothing of others."""
    output = storage.join(job.output, source.name)
    if not storage.exists(output):
        return None
    path = done_record(job, source)
    if not storage.exists(path):
        raise FileExistsError(
            f"{output} exists and was not written by bulk-translate: give another output, or "
            "remove it."
        )
    record: dict[str, Any] = json.loads(storage.read(path))
    changed = record["size"] != source.size
    if not changed and record["modified"] != source.modified:
        # Perhaps copied, or written again with the same content.
        changed = scan(source.path, job.lines_per_part).digest != record["digest"]
    if changed:
        raise FileExistsError(
            f"{source.path} is not what it was when it was translated ({source.size:,} bytes, then "
            f"{record['size']:,}): remove {output} to translate it again."
        )
    return record


def _remove_parts(job: Job, records: Mapping[Source, Any]) -> None:
    """Removes all parts of files that are finished, of whatever content of their sources."""
    folders = part_folders(job)
    for source, record in records.items():
        if record is not None:
            for folder in folders.get(source.name, ()):
                storage.remove(folder)
