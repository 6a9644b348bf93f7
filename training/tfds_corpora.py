"""Translation data sets of TensorFlow Datasets; `read_tfds` is public in `corpora`."""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds

from keras_attn_nmt.writing import check_folder_output

logger = logging.getLogger(__name__)


def read_tfds(
    name: str,
    split: str,
    source_language: str,
    target_language: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    manual_dir: str | os.PathLike[str] | None = None,
    alignment: str | None = None,
) -> tf.data.Dataset:
    """Loads a translation data set from TensorFlow Datasets, preparing it on first use.

    Args:
        name: As in `tfds.load`: `"wmt14_translate/fr-en"`, `"multi30k/de-en"`,
            `"phrases/de-en.50000-1000-1000.seed0"`.
        split: As in `tfds.load`: `"train"`, `"validation[:10%]"`.
        source_language: Source language as named in the data set, such as `"de"`.
        target_language: Target language as named in the data set.
        data_dir: Directory of prepared data; defaults to that of TFDS.
        manual_dir: Directory of manually downloaded files, for data sets that require it.
        alignment: Optional name of the word alignment feature in the data set.

    Returns:
        Dataset of `(source, target)`, or `(source, target, alignment)`, tf.string of shape `()`, in
        the data set's order. The cardinality is known unless examples without one of the languages
        are dropped (logged).

    Raises:
        FileNotFoundError: `manual_dir` is missing.
        OSError: The data set cannot be prepared: its folder cannot be written, say.
        ValueError: unknown data set, config, split or language.
    """
    builder, read = open_builder(
        name, source_language, target_language, data_dir, manual_dir=manual_dir, alignment=alignment
    )
    return read(as_dataset(builder, split))


def open_builder(
    name: str,
    source_language: str,
    target_language: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    manual_dir: str | os.PathLike[str] | None = None,
    alignment: str | None = None,
) -> tuple[Any, Callable[[tf.data.Dataset], tf.data.Dataset]]:
    """Prepares a data set of TFDS.

    Args:
        name, source_language, target_language, data_dir, manual_dir, alignment: See `read_tfds`.

    Returns:
        Its builder, and a function from a data set of examples to one of texts.

    Raises:
        FileNotFoundError, ValueError: See `read_tfds`.
    """
    from keras_attn_nmt.training import datasets  # noqa: F401  registers them

    if manual_dir is not None and not Path(manual_dir).is_dir():
        raise FileNotFoundError(f"The folder {manual_dir} (manual_dir) does not exist.")
    try:
        builder = tfds.builder(name, data_dir=None if data_dir is None else os.fspath(data_dir))
    except tfds.core.DatasetNotFoundError:
        raise ValueError(f"Unknown TFDS data set {name!r}.{_close_name(name)}") from None
    wanted = (source_language, target_language, *([] if alignment is None else [alignment]))
    read = _reads_texts(name, builder.info.features, wanted)
    if not builder.data_path.exists():
        if data_dir is None:
            _check_default_folder(os.fspath(builder.data_dir_root))
        _prepare(builder, manual_dir)
    return builder, read


def as_dataset(builder: Any, split: Any) -> tf.data.Dataset:
    """The examples of a split of a prepared data set, in order."""
    return builder.as_dataset(
        split=split,
        shuffle_files=False,
        # Caching is up to the caller; TFDS would cache small data sets in memory.
        read_config=tfds.ReadConfig(try_autocache=False),
    )


def _check_default_folder(folder: str) -> None:
    if "://" in folder:
        return
    try:
        if folder.startswith("~"):  # Python leaves it there, and TFDS takes it for a name.
            raise OSError(f"Cannot write {folder}: this user has no home folder.")
        check_folder_output(folder)
    except OSError as error:
        raise OSError(
            f"{error} TensorFlow Datasets keeps corpora there: set the environment variable "
            "TFDS_DATA_DIR to another folder."
        ) from error


def _prepare(builder: Any, manual_dir: str | os.PathLike[str] | None) -> None:
    logger.info("preparing %s in %s", builder.info.full_name, builder.data_dir)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    config = tfds.download.DownloadConfig(
        manual_dir=None if manual_dir is None else os.fspath(manual_dir), try_download_gcs=False
    )
    # TFDS prints to stdout, which is reserved for the results of commands.
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            builder.download_and_prepare(download_config=config)
        except (ValueError, OSError):
            raise
        except Exception as error:  # TFDS and its downloader raise many types.
            nameless = re.search(r"get(pwu|grg)id\(\)", str(error))
            hint = ". Give user and group a name in /etc/passwd and /etc/group." if nameless else ""
            raise OSError(
                f"Could not prepare {builder.info.full_name}: {type(error).__name__}: {error}{hint}"
            ) from error


def _close_name(name: str) -> str:
    known = tfds.list_builders(with_community_datasets=False)
    close = difflib.get_close_matches(name.split("/")[0], known)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _reads_texts(
    name: str, features: Mapping[str, Any], wanted: tuple[str, ...]
) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Locates the text features of a TFDS data set, at the top level or one level below."""
    known: set[str] = set()
    for place, feature in [(None, features), *features.items()]:
        languages = _languages(feature, default=set(wanted))
        known |= languages
        if set(wanted) <= languages:
            several = isinstance(feature, tfds.features.TranslationVariableLanguages)
            read = _read_variable_languages if several else _read_fixed_languages
            return functools.partial(read, place=place, wanted=wanted)
    raise ValueError(
        f"{name} has no texts {' and '.join(map(repr, wanted))}. "
        f"It has: {', '.join(sorted(known)) or 'no texts'}."
    )


def _languages(feature: Any, default: set[str]) -> set[str]:
    if isinstance(feature, tfds.features.TranslationVariableLanguages):
        return set(feature.languages or default)
    if isinstance(feature, tfds.features.FeaturesDict):
        return {key for key, value in feature.items() if isinstance(value, tfds.features.Text)}
    return set()


def _read_fixed_languages(
    dataset: tf.data.Dataset, place: str | None, wanted: tuple[str, ...]
) -> tf.data.Dataset:
    def pick(example: Any) -> tuple[tf.Tensor, ...]:
        texts = example if place is None else example[place]
        return tuple(texts[name] for name in wanted)

    return dataset.map(pick)


def _read_variable_languages(
    dataset: tf.data.Dataset, place: str | None, wanted: tuple[str, ...]
) -> tf.data.Dataset:
    def pick(example: Any) -> tf.data.Dataset:
        texts = example if place is None else example[place]
        found = [texts["translation"][texts["language"] == name][:1] for name in wanted]
        all_of_them = tf.reduce_prod([tf.size(each) for each in found])
        return tf.data.Dataset.from_tensor_slices(tuple(each[:all_of_them] for each in found))

    logger.warning("dropping examples without a text in %s", " or ".join(wanted))
    return dataset.flat_map(pick)
