"""Loads the train, validation and test splits of a recipe's `[data]` section."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_attn_nmt.model_directory import check_complete
from keras_attn_nmt.training.corpora import (
    concatenated,
    decoded,
    from_pairs,
    header_columns,
    read_lines,
    read_tfds,
    read_tsv,
)
from keras_attn_nmt.training.datasets.multi30k import STEMS
from keras_attn_nmt.training.datasets.phrases import ALIGNMENT
from keras_attn_nmt.training.dictionaries import Entry, held_out_split, read_dictionary
from keras_attn_nmt.training.json_lines import read_json_lines
from keras_attn_nmt.training.large_corpora import LargeCorpus
from keras_attn_nmt.training.large_splits import kept_pairs, open_split
from keras_attn_nmt.training.mix_recipe import MixedCorpus, mixed_corpora
from keras_attn_nmt.training.mixing import MixedPairs, Other, mixed
from keras_attn_nmt.training.recipe import DataRecipe, Recipe
from keras_attn_nmt.training.recipe_files import read_run
from keras_attn_nmt.training.tmx import read_tmx

SPLITS = ("train", "validation", "test")


def load_split(data: DataRecipe, split: str, aligned: bool = False) -> tf.data.Dataset:
    """Loads the sentence pairs of one split, without the corpora of `data.mix`.

    Args:
        data: The `[data]` section.
        split: `"train"`, `"validation"` or `"test"`.
        aligned: Whether to load word alignments.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, or the corpus lacks the split or word alignments.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, got {split!r}.")
    if not data.concatenate:
        return _load(data, split, aligned)
    if aligned:
        raise ValueError("data.concatenate does not support word alignments.")
    return concatenated(_load(data, split, aligned), data.concatenate)


def load_training(
    data: DataRecipe, aligned: bool = False, parent: Mapping[str, Any] | None = None
) -> tf.data.Dataset | MixedPairs | LargeCorpus:
    """Loads the training pairs with all corpora of `data.mix`, or opens them if they are sampled.

    Args:
        data: The `[data]` section.
        aligned: Whether to load word alignments, which all corpora must have.
        parent: The `parent` of `training.json`, for `corpus = "parent"`.

    Raises:
        FileNotFoundError, ValueError: See `load_split`.
    """
    if data.sample:
        return open_split(data, "train")
    pairs = load_split(data, "train", aligned)
    others: list[Other] = []
    for corpus in mixed_corpora(data):
        try:
            if corpus.data is not None:
                others.append((load_split(corpus.data, "train", aligned), corpus.ratio))
            else:
                others += _load_parents(corpus, aligned, parent)
        except (FileNotFoundError, ValueError) as error:
            kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
            raise kind(f"{corpus.name}: {error}") from error
    return mixed(pairs, *others) if others else pairs


def _load_parents(
    corpus: MixedCorpus, aligned: bool, parent: Mapping[str, Any] | None
) -> list[Other]:
    """The training corpora of the parent, in the shares that they had in its epochs."""
    if not parent:
        raise ValueError('corpus = "parent" needs a run with a parent: give --from MODEL.')
    if not parent["recipe"]:
        raise ValueError(
            f'corpus = "parent", but {parent["path"]} does not record its training data: name the '
            "corpus and its files."
        )
    data = Recipe.from_dict(parent["recipe"]).data
    if data.sample:
        raise ValueError(
            f'corpus = "parent", but {parent["path"]} was trained on a corpus that is streamed '
            f"(data.sample={data.sample}), which cannot be mixed: name a part of its files."
        )
    loaded = load_training(data, aligned, parent["parent"])
    corpora = loaded if isinstance(loaded, MixedPairs) else mixed(loaded)
    if corpus.size:
        if data.mix:
            raise ValueError(
                f"size={corpus.size}, but the parent was trained on several corpora itself: remove "
                "it and set ratio, or name the corpora."
            )
        corpora = mixed(corpora.once().take(corpus.size))
    return list(corpora.scaled(corpus.ratio))


def vocabulary_pairs(
    data: DataRecipe, pairs: tf.data.Dataset | MixedPairs | LargeCorpus
) -> tf.data.Dataset:
    """The pairs of `load_training` that vocabularies are learned on: all, or the sample."""
    if isinstance(pairs, LargeCorpus):
        return pairs.sample(data.sample).dataset()
    return pairs.once() if isinstance(pairs, MixedPairs) else pairs


def _load(data: DataRecipe, split: str, aligned: bool) -> tf.data.Dataset:
    held_out = data.corpus in ("lines", *_FILE_READERS) and not data.validation
    if data.sample and (split == "train" or (split == "validation" and held_out)):
        return open_split(data, split).dataset()
    if data.corpus == "dictionary":
        _check_aligned(data, aligned)
        entries = _dictionary_split(data, split)
        return from_pairs(entries[: data.size or None] if split == "train" else entries)
    if split == "validation" and held_out:
        return _held_out(data, aligned)[1]
    if split == "train":
        pairs = _held_out(data, aligned)[0] if held_out else _read(data, split, aligned)
        return pairs.take(data.size) if data.size else pairs
    return _read(data, split, aligned)


@contextlib.contextmanager
def missing_files(advice: str) -> Iterator[None]:
    """Adds what to do to the errors of missing files in the block."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} {advice}") from error


def training_files_advice(data: DataRecipe) -> str:
    """What to do about a missing file of a recipe that is to be trained."""
    if data.corpus == "multi30k":
        other = "leave it out to download the corpus"
    else:
        other = "the file names of [data]; data.validation='' holds out a part of the training data"
    return f"Correct the folder in the recipe or with --set data.folder=FOLDER, or {other}."


def load_recorded(
    model_directory: str | os.PathLike[str], split: str, aligned: bool = False
) -> tf.data.Dataset:
    """Loads a split of a model's corpus; `"train"` has each pair of all its corpora once.

    Raises:
        FileNotFoundError, ValueError: See `load_split` and `recorded_data`.
    """
    recorded = _recorded(model_directory)
    data = Recipe.from_dict(recorded["recipe"]).data
    with missing_files(
        "The model records it as part of its corpus: put it back, or give files of your own or "
        "another split (--split), see --help."
    ):
        if split != "train" or not data.mix:
            return load_split(data, split, aligned)
        pairs = load_training(data, aligned, recorded.get("parent"))
    return vocabulary_pairs(data, pairs)


def recorded_data(model_directory: str | os.PathLike[str]) -> DataRecipe:
    """The `[data]` section of a model's recipe.

    Raises:
        FileNotFoundError: There is no model.
        ValueError: The recipe is not recorded, or damaged.
    """
    return Recipe.from_dict(_recorded(model_directory)["recipe"]).data


def named_files(data: DataRecipe) -> Iterator[Path]:
    """The files that a `[data]` section names, whether it reads all of them or not."""
    languages = data.source_language, data.target_language
    for each in (data, *(corpus.data for corpus in mixed_corpora(data) if corpus.data)):
        names = (each.train, each.validation, each.test)
        for name in STEMS.values() if each.corpus == "multi30k" else filter(None, names):
            for end in ("", *(f".{end}" for end in (*languages, each.alignment) if end)):
                path = Path(_folder(each), os.path.expanduser(name) + end)
                yield from (path, path.with_name(path.name + ".gz"))


def _recorded(model_directory: str | os.PathLike[str]) -> dict[str, Any]:
    recorded = read_run(model_directory)
    if not recorded:
        check_complete(model_directory)
        raise ValueError(
            f"{model_directory} does not record its training corpus: pass files explicitly, see "
            "--help."
        )
    return recorded


def _held_out(data: DataRecipe, aligned: bool) -> tuple[tf.data.Dataset, tf.data.Dataset]:
    pairs = _read(data, "train", aligned)
    count = int(pairs.cardinality())
    kept = kept_pairs(count)
    return pairs.take(kept), pairs.skip(kept)


def _read(data: DataRecipe, split: str, aligned: bool) -> tf.data.Dataset:
    data.check_languages()
    source, target = data.source_language, data.target_language
    name = getattr(data, split)
    if data.corpus == "phrases":
        sizes = f"{data.size or 50_000}-{data.validation_size}-{data.validation_size}"
        name = f"phrases/{source}-{target}.{sizes}.seed0" + (".aligned" if aligned else "")
        alignment = ALIGNMENT if aligned else None
        return read_tfds(name, split, source, target, _folder(data) or None, alignment=alignment)
    _check_aligned(data, aligned)
    if data.corpus == "multi30k":
        if data.folder:
            stem = STEMS[split]
            return read_lines(_file(data, f"{stem}.{source}"), _file(data, f"{stem}.{target}"))
        return read_tfds(f"multi30k/{source}-{target}", split, source, target)
    if not name:
        other = " or evaluate another split (--split validation)" if split == "test" else ""
        raise ValueError(f"The recipe has no {split} data: set data.{split}{other}.")
    if data.corpus == "lines":
        sources, targets = (_file(data, f"{name}.{language}") for language in (source, target))
        if not aligned:
            return read_lines(sources, targets)
        try:
            return read_lines(sources, targets, _file(data, f"{name}.{data.alignment}"))
        except FileNotFoundError:
            if split == "train":
                raise
            return read_lines(sources, targets).map(lambda source, target: (source, target, ""))
    if data.corpus in _FILE_READERS:
        return _FILE_READERS[data.corpus](data, _file(data, name))
    return read_tfds(data.corpus, name, source, target, _folder(data) or None)


def _check_aligned(data: DataRecipe, aligned: bool) -> None:
    if aligned and not data.aligned:
        raise ValueError(
            f"The corpus {data.corpus} has no word alignments: set data.alignment for "
            "data.corpus='lines', or use data.corpus='phrases'."
        )


def _dictionary_split(data: DataRecipe, split: str) -> list[Entry]:
    """The entries of one split; splits without a file are held out from the training file."""
    if split != "train" and (name := getattr(data, split)):
        return _dictionary(data, name)
    if not data.train:
        raise ValueError(
            "The recipe has no dictionary: name one, for example with --set "
            "data.train=cmudict.dict."
        )
    held_out = [each for each in ("validation", "test") if not getattr(data, each)]
    return [
        entry
        for entry in _dictionary(data, data.train)
        if held_out_split(entry[0], held_out) == split
    ]


def _dictionary(data: DataRecipe, name: str) -> list[Entry]:
    two_files = [f"{name}.{language}" for language in (data.source_language, data.target_language)]
    path = Path(_folder(data), os.path.expanduser(name))
    if not any(path.with_name(path.name + end).is_file() for end in ("", ".gz")):
        try:
            words, pronunciations = (_file(data, each) for each in two_files)
            dataclasses.replace(data, corpus="lines").check_languages()
        except FileNotFoundError:
            # Also the error of a dictionary in one file.
            return read_dictionary(_file(data, name))
        return [(word, phones) for word, phones in decoded(read_lines(words, pronunciations))]
    return read_dictionary(_file(data, name))


def _read_tsv(data: DataRecipe, path: Path) -> tf.data.Dataset:
    wanted = [each - 1 if each else None for each in (data.source_column, data.target_column)]
    named = header_columns(path, data.source_language, data.target_language, *wanted)
    columns = list(named or (0, 1))
    for place, side in enumerate(("source", "target")):
        given = getattr(data, f"{side}_column")
        if named and given and given - 1 != named[place]:
            raise ValueError(
                f"The header of {path} has the {side} language in column {named[place] + 1}, but "
                f"data.{side}_column={given}: remove the setting, or correct the header."
            )
        if given:
            columns[place] = given - 1
    if columns[0] == columns[1]:
        raise ValueError(
            f"Source and target are both in column {columns[0] + 1} of {path}: set "
            "data.source_column and data.target_column to different columns."
        )
    return read_tsv(path, *columns, header=named is not None)


def _read_json_lines(data: DataRecipe, path: Path) -> tf.data.Dataset:
    fields = (
        data.source_field or data.source_language,
        data.target_field or data.target_language,
    )
    return read_json_lines(path, *fields)


def _read_tmx(data: DataRecipe, path: Path) -> tf.data.Dataset:
    return read_tmx(path, data.source_language, data.target_language)


# Formats with both languages in one file.
_FILE_READERS = {"tsv": _read_tsv, "jsonl": _read_json_lines, "tmx": _read_tmx}


def _folder(data: DataRecipe) -> str:
    return os.path.expanduser(data.folder)


def _file(data: DataRecipe, name: str) -> Path:
    path = Path(_folder(data), os.path.expanduser(name))
    packed = path.with_name(path.name + ".gz")
    if not path.is_file() and packed.is_file():
        return packed
    if not path.is_file():
        raise FileNotFoundError(f"Neither {path} nor {packed.name} exists.")
    return path
