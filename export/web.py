"""Model directories to a web page that translates offline, with the attention live.

    index.html  page.js, page.css, ...   the page, which loads everything into a worker
    worker.js   litert.js, litert.wasm   the worker, and LiteRT.js (see `web_runtime`)
    models.json models/NAME.tflite       the models, with NAME.source.spm and NAME.target.spm

or all of it in one `index.html`, which runs without a server.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from keras_attn_nmt import __version__
from keras_attn_nmt.export import web_single_file
from keras_attn_nmt.export.device_metadata import read_metadata
from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.load_for_export import languages
from keras_attn_nmt.export.tflite import export_tflite
from keras_attn_nmt.export.web_energies import check_energies
from keras_attn_nmt.export.web_runtime import runtime_files
from keras_attn_nmt.model_directory import SOURCE, TARGET, check_complete
from keras_attn_nmt.pages.document import ATTENTION_SCRIPTS, ATTENTION_STYLES, asset
from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.writing import (
    check_replaced_folder,
    local_path,
    make_folder,
    named_errors,
    replace_folder,
    temporary_sibling,
)

PAGE, MODELS = "index.html", "models.json"
FILES = (
    PAGE,
    "page.css",
    "page.js",
    "resources.js",
    "results.js",
    "sentences.js",
    "step_view.js",
    "translations.js",
    "decoding.js",
    "sentencepiece.js",
    "worker.js",
    "LICENSE",
)
RUNTIME_FILES = ("litert.js", "litert_wasm.js", "litert.wasm", "NOTICE")
# The scripts that the worker is made of, in order.
WORKER = (
    "attention_text.js",
    "sentences.js",
    "sentencepiece.js",
    "litert.js",
    "litert_wasm.js",
    "decoding.js",
    "worker.js",
)
# All that a folder of a page has, models aside.
WRITTEN = frozenset(
    (*FILES, *ATTENTION_SCRIPTS, *ATTENTION_STYLES, *RUNTIME_FILES, MODELS, "models")
)
_VIEW = b"<!-- scripts of the attention view -->"
# In the page; a folder whose page has it may be replaced.
GENERATOR = '<meta name="generator" content="keras_attn_nmt'

logger = logging.getLogger(__name__)


def export_web(
    models: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    single_file: bool = False,
    quantize: str = "int8",
    max_source_length: int = 64,
    max_target_length: int = 64,
    steps: bool = False,
    examples: Sequence[str] = (),
    runtime: str | os.PathLike[str] | None = None,
) -> Path:
    """Exports models as a web page that translates in the browser, without a server behind it.

    Needs the extra `device`, and for the first export npm or a network: the runtime, LiteRT.js, is
    fetched, checked and cached.

    Args:
        models: Model directory, or several for translations side by side.
        output: Folder of the page. A page that an earlier export wrote there is replaced once the
            new one is complete; any other folder that is not empty is refused.
        single_file: Write one `index.html` that runs by double click, instead of a folder for a
            static web server.
        quantize: Weights: `"int8"`, `"float16"` or `"none"`; see `export_tflite`.
        max_source_length: Maximum source length in tokens, `</s>` included.
        max_target_length: Maximum target length in tokens, `</s>` included.
        steps: Add the step-through: energies, softmax, context and candidates of every step.
        examples: Sentences that the page offers as buttons.
        runtime: Folder with the npm archives of LiteRT.js, for use without a network; see
            `web_runtime.runtime_files`.

    Returns:
        The page, `output/index.html`.

    Raises:
        FileExistsError: The output folder contains files that no export wrote.
        FileNotFoundError: A model directory or one of its files is missing.
        ValueError: There is no model, a model is given twice or is inside of the output folder,
            source languages differ, an example is blank, or see `export_tflite`.
        ExportError: The page cannot read a vocabulary, the runtime is not the pinned one, or see
            `export_tflite`; no file is written.
        OSError: The runtime cannot be downloaded, or the disk is full or not writable.
    """
    directories = [models] if isinstance(models, str | os.PathLike) else list(models)
    if not directories:
        raise ValueError("models is empty: pass at least one model directory.")
    if isinstance(examples, str):
        raise ValueError("examples must be a list of sentences, got one string: wrap it in [].")
    if blank := [text for text in examples if is_blank(text)]:
        raise ValueError(f"An example must have text, got {blank[0]!r}: it names a button.")
    output = _checked_output(output, directories)
    names = model_names(directories)
    _check_languages(directories)
    for directory in directories:
        check_complete(directory)
        for side, name in (("source", SOURCE), ("target", TARGET)):
            check_vocabulary(Tokenizer.load(Path(directory, name)), f"{side} vocabulary")
    files = _page_files() | runtime_files(runtime)
    with _replaced_folder(output) as folder:
        (folder / "models").mkdir()
        described = []
        for directory, name in zip(directories, names, strict=True):
            path = export_tflite(
                directory,
                folder / "models" / f"{name}.tflite",
                quantize=quantize,
                max_source_length=max_source_length,
                max_target_length=max_target_length,
                beam_size=1,
                # Greedy search ranks nothing.
                coverage_penalty=0.0,
                diversity_penalty=0.0,
                signatures=None if steps else ("translate",),
                energies=steps,
            )
            if steps:
                check_energies(path)
            described.append(_described(name, path))
        size = sum(path.stat().st_size for path in (folder / "models").iterdir())
        page = {
            "steps": steps,
            "examples": list(examples),
            "bytes": size + len(files["litert.wasm"]),
            "runtime": _versioned("litert.wasm", files["litert.wasm"]),
            "worker": [_versioned(name, files[name]) for name in WORKER],
            "models": described,
        }
        files[MODELS] = (json.dumps(page, indent=2, ensure_ascii=False) + "\n").encode()
        if single_file:
            for path in sorted((folder / "models").iterdir()):
                files[f"models/{path.name}"] = path.read_bytes()
            shutil.rmtree(folder / "models")
            files = {PAGE: web_single_file.joined(files)}
        else:
            files[PAGE] = _with_versions(files[PAGE].decode(), files)
        for name, content in files.items():
            with named_errors(output / name):
                (folder / name).write_bytes(content)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    logger.info("%s: %.1f MB", output / PAGE if single_file else output, size / 1e6)
    return output / PAGE


def check_vocabulary(tokenizer: Tokenizer, name: str) -> None:
    """Checks that `sentencepiece.js` can read a vocabulary, which the error calls by its name.

    Raises:
        ExportError: It has a feature that is not implemented there.
    """
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto.FromString(tokenizer.model_proto)  # type: ignore[attr-defined]
    trainer = model.trainer_spec
    reasons = {
        "it treats white space as a suffix": trainer.treat_whitespace_as_suffix,
        "it has a denormalizer": bool(model.denormalizer_spec.precompiled_charsmap),
        "a piece contains NUL": any("\0" in piece.piece for piece in model.pieces),
    }
    for reason, applies in reasons.items():
        if applies:
            raise ExportError(
                f"The page cannot read the {name}: {reason}. Train the model with a vocabulary of "
                "Tokenizer.learn, as recipes do."
            )


def model_names(directories: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Short distinct names of model directories: as many last parts of the paths as needed.

    Raises:
        ValueError: A directory is given twice.

    Example:
        >>> model_names(["study/attention/model", "study/fixed/model"])
        ['attention-model', 'fixed-model']
    """
    paths = [Path(os.path.realpath(directory)) for directory in directories]
    if twice := [str(path) for path in paths if paths.count(path) > 1]:
        raise ValueError(f"The model directory {twice[0]} is given twice: pass it once.")
    names = [""] * len(paths)
    for number in range(1, max(len(path.parts) for path in paths)):
        last = ["-".join(path.parts[1:][-number:]) for path in paths]
        names = [re.sub(r"[^\w.-]+", "-", name) or "model" for name in last]
        if len(set(map(_file_key, names))) == len(names):
            return names
    return [f"{name}-{number}" for number, name in enumerate(names, 1)]


def _file_key(name: str) -> str:
    """Equal for names that are one file on some file system."""
    return unicodedata.normalize("NFC", name).casefold()


def _check_languages(directories: Sequence[str | os.PathLike[str]]) -> None:
    """Raises `ValueError` if models of one page read different languages."""
    known: dict[str, str | os.PathLike[str]] = {}
    for directory in directories:
        if source := languages(directory).get("source_language"):
            known.setdefault(source, directory)
    if len(known) > 1:
        (first, model), (second, other) = list(known.items())[:2]
        raise ValueError(
            f"Models on one page translate the same text, but {model} reads {first!r} and {other} "
            f"reads {second!r}: export one page each."
        )


def _described(name: str, path: Path) -> dict[str, Any]:
    files = {
        "tflite": path,
        "sourceVocabulary": path.with_suffix(".source.spm"),
        "targetVocabulary": path.with_suffix(".target.spm"),
    }
    return {
        "name": name,
        "metadata": read_metadata(path),
        "bytes": path.stat().st_size,
        **{
            kind: _versioned(f"models/{file.name}", file.read_bytes())
            for kind, file in files.items()
        },
    }


def _versioned(name: str, content: bytes) -> str:
    """A URL that changes with the content, so that browsers do not mix files of two exports."""
    return f"{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


def _with_versions(page: str, files: Mapping[str, bytes]) -> bytes:
    """The page with the versions of its scripts and styles, and of the file of its models."""

    def versioned(match: re.Match[str]) -> str:
        return f'{match[1]}"{_versioned(match[2], files[match[2]])}"'

    return re.sub(r'( (?:src|href|data-models)=)"([\w.]+)"', versioned, page).encode()


def _page_files() -> dict[str, bytes]:
    own = resources.files("keras_attn_nmt.export").joinpath("web_page")
    files = {name: own.joinpath(name).read_bytes() for name in FILES}
    files |= {name: asset(name).encode() for name in (*ATTENTION_STYLES, *ATTENTION_SCRIPTS)}
    scripts = "\n".join(f'<script src="{name}"></script>' for name in ATTENTION_SCRIPTS)
    page = files[PAGE].replace(_VIEW, scripts.encode())
    files[PAGE] = page.replace(b"VERSION", __version__.encode(), 1)
    return files


def _checked_output(
    output: str | os.PathLike[str], directories: Sequence[str | os.PathLike[str]]
) -> Path:
    """The real path of the output folder, which an export may create or replace."""
    output = Path(os.path.realpath(local_path(output)))
    if output.suffix == ".html":
        raise ValueError(
            f"output is a folder, whose page is {PAGE}, got {output.name!r}: leave out .html."
        )
    check_replaced_folder(output)
    for directory in directories:
        if output in (model := Path(os.path.realpath(directory)), *model.parents):
            raise ValueError(
                f"The model {directory} is inside of the output folder {output}, which an export "
                "replaces: use another --output."
            )
    _check_replaceable(output)
    return output


def _check_replaceable(output: Path) -> None:
    """Raises `FileExistsError` unless a folder is empty or has nothing but an earlier export."""
    if not output.is_dir() or not any(output.iterdir()):
        return
    page = output / PAGE
    if not page.is_file() or GENERATOR not in page.read_text("utf-8", errors="replace")[:2000]:
        raise FileExistsError(
            f"{output} was not written by keras-attn-nmt export web: use another --output."
        )
    foreign = [path.name for path in output.iterdir() if path.name not in WRITTEN]
    models = output / "models"
    if models.is_dir():
        foreign += [p.name for p in models.iterdir() if p.suffix not in (".tflite", ".spm")]
    if foreign:
        raise FileExistsError(
            f"{output} has other files than an exported page, which would be deleted "
            f"({', '.join(sorted(foreign)[:3])}): use another --output."
        )


@contextlib.contextmanager
def _replaced_folder(output: Path) -> Iterator[Path]:
    """Yields a temporary sibling folder that takes the place of `output` on success."""
    make_folder(output.parent)
    with temporary_sibling(output) as directory:
        folder = directory / "new"
        folder.mkdir()  # Readable by a web server, unlike the temporary folder itself.
        yield folder
        if output.exists():
            _check_replaceable(output)
        replace_folder(folder, output)
