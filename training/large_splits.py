"""Opens the splits of a recipe whose corpus is streamed (`data.sample`)."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from keras_attn_nmt.training.large_corpora import LargeCorpus, open_line_files, open_tfds
from keras_attn_nmt.training.recipe import DataRecipe

# Held out from the end of the training data if a recipe has no validation data.
_HELD_OUT_SHARE, _HELD_OUT_MOST = 0.05, 2000


def open_split(data: DataRecipe, split: str) -> LargeCorpus:
    """Opens the training or the held-out validation split.

    Raises:
        FileNotFoundError: A file is missing, or a pattern matches none.
        ValueError: See `open_line_files` and `open_tfds`.
    """
    data.check_languages()
    if data.corpus == "lines":
        corpus = open_line_files(*line_files(data))
        if not data.validation:
            kept = kept_pairs(corpus.pairs)
            if split == "validation":
                return corpus.without_first(kept)
            corpus = corpus.first(kept)
    else:
        folder = os.path.expanduser(data.folder) or None
        languages = data.source_language, data.target_language
        corpus = open_tfds(data.corpus, getattr(data, split), *languages, folder)
    return corpus.first(data.size) if data.size else corpus


def kept_pairs(count: int) -> int:
    """How many of the training pairs remain if the others are held out for validation."""
    held_out = min(_HELD_OUT_MOST, int(count * _HELD_OUT_SHARE))
    if not held_out:
        raise ValueError(
            f"{count} sentence pairs are too few for a held-out validation split: set "
            "data.validation."
        )
    return count - held_out


def line_files(data: DataRecipe) -> tuple[list[Path], list[Path]]:
    """The source and the target files that `data.train` names, in order.

    Raises:
        FileNotFoundError: A file is missing, or a pattern matches none.
    """
    folder = Path(os.path.expanduser(data.folder))
    languages = data.source_language, data.target_language
    if all(_plain_or_packed(folder, f"{data.train}.{each}") for each in languages):
        names = [data.train]
    else:
        names = []
        for pattern in data.train.split():
            names += _matching(folder, data, pattern, names)
    sides: tuple[list[Path], list[Path]] = ([], [])
    for name in names:
        for side, language in zip(sides, languages, strict=True):
            path = _plain_or_packed(folder, f"{name}.{language}")
            if path is None:
                path = folder / f"{name}.{language}"
                raise FileNotFoundError(f"Neither {path} nor {path.name}.gz exists.")
            side.append(path)
    return sides


def _matching(folder: Path, data: DataRecipe, pattern: str, known: Sequence[str]) -> list[str]:
    """Expands a pattern to sorted file names without the language suffix.

    Each file once, also if several paths lead to it, and without those of validation and test data
    and those that are known. A name that is no pattern is returned as it is, also again.
    """

    def place(name: str) -> str:
        return os.path.realpath(folder / os.path.expanduser(name))

    languages = data.source_language, data.target_language
    pattern = os.path.expanduser(pattern)
    if not any(character in pattern for character in "*?["):
        return [pattern]
    names = set()
    for language in languages:
        for end in (f".{language}", f".{language}.gz"):
            found = glob.glob(f"{pattern}{end}", root_dir=folder)
            names |= {name.removesuffix(end) for name in found}
    held_out = {place(data.validation), place(data.test)}
    found_at = {place(name): name for name in sorted(names, reverse=True)}
    found_at = {where: name for where, name in found_at.items() if where not in held_out}
    if not found_at:
        raise FileNotFoundError(
            f"No file in {folder} matches {pattern}.{languages[0]} or {pattern}.{languages[1]} "
            "(data.train), apart from those of data.validation and data.test."
        )
    seen = {place(name) for name in known}
    return sorted(name for where, name in found_at.items() if where not in seen)


def _plain_or_packed(folder: Path, name: str) -> Path | None:
    for end in ("", ".gz"):
        path = folder / (os.path.expanduser(name) + end)
        if path.is_file():
            return path
    return None
