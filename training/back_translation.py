"""Back-translation: a parallel corpus from monolingual text and a model of the reverse direction.

    text in the target language -> reverse model -> synthetic source -> filters -> aligned files

References:
    [Sennrich et al. 2016](https://arxiv.org/abs/1511.06709), back-translation;
    [Edunov et al. 2018](https://arxiv.org/abs/1808.09381), sampling instead of search;
    [Graça et al. 2019](https://arxiv.org/abs/1906.07286), sampling restricted to likely tokens;
    [Caswell et al. 2019](https://arxiv.org/abs/1906.06442), tags
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from keras_attn_nmt import model_directory
from keras_attn_nmt.checks import is_number
from keras_attn_nmt.decoding.sampling import SamplingOptions
from keras_attn_nmt.decoding.shortlist import check_learned
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.training.evaluation import comparable
from keras_attn_nmt.training.output_directory import taken
from keras_attn_nmt.training.textfiles import is_pipe, iterate_lines, sha256_of
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator
from keras_attn_nmt.writing import (
    check_replaced_folder,
    local_path,
    named_errors,
    sync,
    write_text,
)

REPORT = "back-translation.json"
UNFINISHED = ".unfinished"
# Lines translated before they are saved: at most a minute's work is lost with a kill.
PART = 4096
# Reasons to leave a line out, in the order in which they are checked.
FILTERS = ("blank", "too_long", "incomplete", "empty", "copy", "ratio")
_SETTINGS, _PARTS = "settings.json", "parts"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class BackTranslationOptions:
    """How text is back-translated.

    Args:
        sampling: Sample with these options, by default from the ten most likely tokens; `None` runs
            a search.
        seed: Seed of the samples.
        beam_size: Beam size of the search; defaults to the model's setting.
        length_penalty: Length penalty of the search; defaults to the model's setting.
        coverage_penalty: Coverage penalty of the search; defaults to the model's setting.
        max_length: Maximum length of a translation in tokens; defaults to the model's setting.
        shortlist: Restrict the softmax to the model's shortlist.
        copy: Copy rare words, see `Translation.copying`.
        tag: Word put before each synthetic source, so that the model can tell it from real ones.
        max_ratio: Largest ratio of the lengths of both sides in tokens.

    Raises:
        ValueError: A value is out of range, or options of search and sampling are mixed.
    """

    sampling: SamplingOptions | None = dataclasses.field(
        default_factory=lambda: SamplingOptions(top_k=10)
    )
    seed: int = 0
    beam_size: int | None = None
    length_penalty: float | None = None
    coverage_penalty: float | None = None
    max_length: int | None = None
    shortlist: bool = False
    copy: bool = False
    tag: str = ""
    max_ratio: float = 3.0

    def __post_init__(self) -> None:
        given = (self.beam_size, self.length_penalty, self.coverage_penalty)
        if self.sampling and given != (None, None, None):
            raise ValueError(
                "beam_size, length_penalty and coverage_penalty are options of a search, and these "
                "translations are sampled: use sampling=None."
            )
        if self.sampling is None and self.seed:
            raise ValueError(
                f"seed={self.seed} is of samples, but sampling=None searches: leave seed out."
            )
        if self.tag and (is_blank(self.tag) or self.tag.split() != [self.tag]):
            raise ValueError(f"tag must be one word without white space, got {self.tag!r}.")
        if not is_number(self.max_ratio) or not 1 <= self.max_ratio < math.inf:
            raise ValueError(f"max_ratio must be a number of at least 1, got {self.max_ratio!r}.")

    def translate(
        self, translator: Translator, texts: Sequence[str], first_line: int, batch_size: int
    ) -> list[Translation]:
        """Translates the lines of a file, the first of which has the 0-based number given."""
        search: dict[str, Any] = {
            "max_length": self.max_length,
            "shortlist": self.shortlist,
            "copy": self.copy,
            "batch_size": batch_size,
        }
        if self.sampling is None:
            search |= {
                "beam_size": self.beam_size,
                "length_penalty": self.length_penalty,
                "coverage_penalty": self.coverage_penalty,
                "diversity_penalty": 0.0,  # Only the best translation is kept.
            }
            return translator(texts, **search)
        found = translator.sample(
            texts,
            temperature=self.sampling.temperature,
            top_k=self.sampling.top_k,
            seed=self.seed,
            first_line=first_line,
            **search,
        )
        return [samples[0] for samples in found]


def back_translate(
    model: str | os.PathLike[str],
    target: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    source_language: str,
    target_language: str,
    options: BackTranslationOptions | None = None,
    batch_size: int = 64,
) -> dict[str, Any]:
    """Makes a parallel corpus from monolingual text with a model of the reverse direction.

    The corpus is a folder with the line-aligned files `train.SOURCE` (synthetic) and
    `train.TARGET` (the text given), and `back-translation.json`, the returned report. It appears
    under its name when it is complete. Until then, finished parts are kept in
    `OUTPUT.unfinished`, and the same call continues there. The result does not depend on
    interruptions.

    Lines are left out that are blank or too long for the model, or whose translation is
    incomplete (cut at the maximum length), empty, a copy of the line (ignoring case, white space
    and Unicode form), or of a very different length. They are counted in the report.

    Args:
        model: Model directory, which translates from the target to the source language.
        target: Text in the target language, one sentence per line, plain or gzip.
        output: Folder to write; it must not exist, or must be empty.
        source_language: Language code of the synthetic side, such as `"de"`.
        target_language: Language code of the text given, such as `"en"`.
        options: How to translate and filter.
        batch_size: Sentences per batch.

    Raises:
        FileNotFoundError: The text or the model does not exist.
        FileExistsError: `output` exists, is a mount point or the current folder, or its unfinished
            folder has other settings or is in use.
        ValueError: The text is damaged, empty, a pipe, or changed during the run, or a language
            code is not valid.
    """
    options = options or BackTranslationOptions()
    for language in (source_language, target_language):
        if not language or Path(language).name != language:
            raise ValueError(f"Expected a language code such as 'de', got {language!r}.")
    if source_language == target_language:
        raise ValueError(
            f"Source and target language are both {source_language!r}: their files would have the "
            "same name."
        )
    output = local_path(output).resolve()
    check_replaced_folder(output)
    if is_pipe(target):
        raise ValueError(
            f"{target} is a pipe, which can be read only once, but the text is read again when a "
            "stopped run continues: write it to a file."
        )
    count, digest = _count_and_digest(target)
    settings = {
        "source_language": source_language,
        "target_language": target_language,
        "lines": count,
        "sha256_of_text": digest,
        "sha256_of_model": _model_digest(model, options.shortlist),
        **dataclasses.asdict(options),
    }
    if (output / REPORT).is_file():
        report = json.loads((output / REPORT).read_text("utf-8"))
        _check_same(report["settings"], settings, output)
        logger.info("%s is complete already", output)
        return report
    if output.exists() and any(output.iterdir()):
        raise FileExistsError(f"{output} exists: give a new folder as output.")
    with taken(output.with_name(output.name + UNFINISHED)) as folder:
        finished = folder / REPORT
        if finished.is_file():
            _check_same(json.loads(finished.read_text("utf-8"))["settings"], settings, folder)
        else:
            if (folder / _SETTINGS).is_file():
                _check_same(json.loads((folder / _SETTINGS).read_text("utf-8")), settings, folder)
            write_text(folder / _SETTINGS, json.dumps(settings))
            (folder / _PARTS).mkdir(exist_ok=True)
            translator = Translator.load(model)
            lines = _unchanged_lines(target, settings)
            _write_parts(folder, translator, lines, count, options, batch_size)
            _join_parts(folder, settings)
        shutil.rmtree(folder / _PARTS, ignore_errors=True)
        (folder / _SETTINGS).unlink(missing_ok=True)
        os.replace(folder, output)
        sync(output.parent)
    return json.loads((output / REPORT).read_text("utf-8"))


def _count_and_digest(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Validates a text file before any work; its number of lines, and a digest of them."""
    digest, count = hashlib.sha256(), 0
    for line in iterate_lines(path):
        digest.update(line + b"\n")
        count += 1
    if not count:
        raise ValueError(f"{path} is empty. It needs at least one line of text.")
    return count, digest.hexdigest()


def _model_digest(directory: str | os.PathLike[str], shortlist: bool) -> str:
    model_directory.check_complete(directory)
    names = [model_directory.MODEL, model_directory.CONFIG]
    names += [model_directory.SOURCE, model_directory.TARGET]
    if shortlist:
        check_learned(Path(directory, model_directory.SHORTLIST))
        names.append(model_directory.SHORTLIST)
    return sha256_of(*(Path(directory, name) for name in names))


def _check_same(begun: dict[str, Any], wanted: dict[str, Any], folder: Path) -> None:
    """Raises `FileExistsError` if a corpus was begun with other settings."""
    # As JSON has them.
    wanted = json.loads(json.dumps(wanted))
    others = [name for name in wanted if begun.get(name) != wanted[name]]
    if others:
        raise FileExistsError(
            f"{folder} was written with another {others[0]} ({begun.get(others[0])}, now "
            f"{wanted[others[0]]}): give another output, or remove it."
        )


def _write_parts(
    folder: Path,
    translator: Translator,
    lines: Iterator[str],
    count: int,
    options: BackTranslationOptions,
    batch_size: int,
) -> None:
    begin, before = time.monotonic(), 0
    for number in range(-(-count // PART)):
        texts = list(itertools.islice(lines, PART))
        path, done = _part(folder, number), number * PART + len(texts)
        digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if path.is_file() and json.loads(path.read_text("utf-8")).get("sha256") == digest:
            before = done
            continue
        if before and before == number * PART:
            logger.info("continues at line %s of %s", f"{before + 1:,}", f"{count:,}")
        counts, pairs = _translated(translator, texts, number * PART, options, batch_size)
        part = {"counts": counts, "pairs": pairs, "sha256": digest}
        write_text(path, json.dumps(part, ensure_ascii=False))
        rate = (done - before) / max(time.monotonic() - begin, 1e-9)
        logger.info(
            "%s of %s lines, %.0f lines/s, %.0f min left",
            f"{done:,}",
            f"{count:,}",
            rate,
            (count - done) / rate / 60,
        )


def _unchanged_lines(path: str | os.PathLike[str], settings: dict[str, Any]) -> Iterator[str]:
    """The lines of the text; raises `ValueError` if they are not those of the settings.

    The last line comes only when that is known, so that no wrong corpus can be completed.
    """
    changed = ValueError(
        f"{path} has changed since the run began to read it. Type the command again with the text "
        "as it was, or give another output."
    )
    digest, count = hashlib.sha256(), 0
    last = b""
    for count, line in enumerate(iterate_lines(path), 1):
        digest.update(line + b"\n")
        if count > 1:
            yield last.decode("utf-8")
        if count > settings["lines"]:
            raise changed
        last = line
    if (count, digest.hexdigest()) != (settings["lines"], settings["sha256_of_text"]):
        raise changed
    yield last.decode("utf-8")


def _part(folder: Path, number: int) -> Path:
    return folder / _PARTS / f"{number:08}.json"


def _translated(
    translator: Translator,
    lines: Sequence[str],
    first_line: int,
    options: BackTranslationOptions,
    batch_size: int,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Counts of lines left out, and pairs of synthetic source and line."""
    counts: Counter[str] = Counter()
    lengths = [len(ids) + 1 for ids in translator.source_tokenizer.encode(lines)]
    fits = [length <= translator.max_source_length for length in lengths]
    # Blank lines are not translated, and keep the numbers of the others.
    texts = [line if fit else "" for line, fit in zip(lines, fits, strict=True)]
    found = options.translate(translator, texts, first_line, batch_size)
    pairs = []
    for line, fit, translation in zip(lines, fits, found, strict=True):
        reason = _reason(line, fit, translation, options.max_ratio)
        if reason:
            counts[reason] += 1
        else:
            synthetic = " ".join(translation.text.split("\n"))
            pairs.append((f"{options.tag} {synthetic}" if options.tag else synthetic, line))
    return dict(counts), pairs


def _reason(line: str, fits: bool, found: Translation, max_ratio: float) -> str | None:
    """The first of `FILTERS` that applies to a translated line."""
    sizes = len(found.source_tokens), len(found.target_tokens)
    if is_blank(line):
        return "blank"
    if not fits:
        return "too_long"
    if not found.complete:
        return "incomplete"
    if is_blank(found.text):
        return "empty"
    if _words(found.text) == _words(line):
        return "copy"
    return "ratio" if max(sizes) > max_ratio * min(sizes) else None


def _words(text: str) -> list[str]:
    """The words of a text, equal for texts that differ in case, white space or Unicode form."""
    return comparable(text).casefold().split()


def _join_parts(folder: Path, settings: dict[str, Any]) -> None:
    """Writes the aligned files, and then the report."""
    counts: Counter[str] = Counter()
    paths = [folder / f"train.{settings[f'{side}_language']}" for side in ("source", "target")]
    with (
        named_errors(folder),
        paths[0].open("w", encoding="utf-8") as source,
        paths[1].open("w", encoding="utf-8") as target,
    ):
        for part in sorted((folder / _PARTS).glob("*.json")):
            content = json.loads(part.read_text("utf-8"))
            counts.update(content["counts"])
            counts["pairs"] += len(content["pairs"])
            for one, other in content["pairs"]:
                source.write(f"{one}\n")
                target.write(f"{other}\n")
        for file in (source, target):
            file.flush()
            os.fsync(file.fileno())
    left_out = {name: counts[name] for name in FILTERS}
    report = {"pairs": counts["pairs"], "left_out": left_out, "settings": settings}
    write_text(folder / REPORT, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
