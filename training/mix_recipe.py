"""The tables `[[data.mix]]` of a recipe: corpora that are mixed into the training data."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.checks import check_known, is_number
from keras_attn_nmt.training.sections import make_section

if TYPE_CHECKING:
    from keras_attn_nmt.training.recipe import DataRecipe

# `corpus` of the training data of the parent model.
PARENT = "parent"
# Settings of [data] that apply to all corpora together, or to no training data.
_OF_ALL = ("max_length", "cache", "mix", "sample")
_UNUSED = ("test",)
_OF_PARENT = ("corpus", "ratio", "size")
# Not those of [data]: a limit of the new data does not limit the old data.
_NOT_INHERITED = ("size", "train", "validation")


@dataclasses.dataclass(frozen=True)
class MixedCorpus:
    """One table `[[data.mix]]`.

    Attributes:
        name: How messages refer to it, such as `data.mix[0]`.
        data: Its settings as a `[data]` section, or `None` for the training data of the parent.
        ratio: Its pairs per pair of `[data]` and epoch; `None` takes each pair once.
        size: Maximum number of pairs of the parent's training data, 0 for all.
    """

    name: str
    data: DataRecipe | None
    ratio: float | None
    size: int = 0


def check_ratio(name: str, ratio: Any, of: str) -> None:
    """Raises `ValueError` unless a ratio is a finite number above 0.

    Args:
        name: Name of the ratio, for the message.
        ratio: The ratio.
        of: What it refers to, for the message.
    """
    if not is_number(ratio) or not 0 < ratio < math.inf:
        raise ValueError(
            f"{name} is the number of its pairs per pair of {of}: it must be a number above 0, got "
            f"{ratio!r}. Without it, each of its pairs occurs once per epoch."
        )


def mixed_corpora(data: DataRecipe) -> list[MixedCorpus]:
    """The validated tables `[[data.mix]]` of a `[data]` section.

    Raises:
        ValueError: A table has an unknown setting or an invalid value.
    """
    if isinstance(data.mix, str | Mapping) or not isinstance(data.mix, Sequence):
        raise ValueError(
            "data.mix must be a list of tables, such as "
            f"[{{train='old', ratio=1.0}}], got {data.mix!r}."
        )
    return [_corpus(data, f"data.mix[{i}]", table) for i, table in enumerate(data.mix)]


def _corpus(data: DataRecipe, name: str, table: Any) -> MixedCorpus:
    if not isinstance(table, Mapping):
        raise ValueError(
            f"{name} must be a table, such as {{train='old', ratio=1.0}}, got {table!r}."
        )
    settings = dict(table)
    ratio = settings.pop("ratio", None)
    if ratio is not None:
        check_ratio(f"{name}.ratio", ratio, "[data]")
    for setting in settings:
        if setting in _OF_ALL:
            raise ValueError(
                f"{name}.{setting}: this setting applies to all corpora together: set it in [data]."
            )
        if setting in _UNUSED:
            raise ValueError(
                f"{name}.{setting} has no effect: only training data are mixed, and test data are "
                "those of [data]. Remove it."
            )
    if settings.get("corpus") == PARENT:
        check_known(f"setting of {name}, the training data of the parent,", settings, _OF_PARENT)
        size = make_section(type(data), name, {"size": settings.get("size", 0)}).size
        return MixedCorpus(name, None, ratio, size)
    fields = [field.name for field in dataclasses.fields(data)]
    known = [each for each in fields if each not in (*_OF_ALL, *_UNUSED)]
    check_known(f"setting of {name}", settings, [*known, "ratio"])
    kept = [*_OF_ALL[:2], "source_language", "target_language"]
    if "corpus" not in settings:
        kept = [each for each in fields if each not in ("mix", *_UNUSED, *_NOT_INHERITED)]
    inherited = {each: getattr(data, each) for each in kept}
    section = make_section(type(data), name, {**inherited, **settings})
    same = _trained_on(section) == _trained_on(data)
    if same and not data.validation and "validation" not in settings:
        # The end of its files is held out.
        section = dataclasses.replace(section, validation="")
    if section.corpus == data.corpus == "dictionary":
        # The split of a word depends on its spelling: what [data] holds out, no corpus trains on.
        held_out = {"validation": data.validation, "test": data.test}
        section = dataclasses.replace(section, **{**held_out, **_given(settings, held_out)})
    return MixedCorpus(name, section, ratio)


def _trained_on(data: DataRecipe) -> tuple[str, str]:
    """The training files of a section, however their path is spelled."""
    path = os.path.join(os.path.expanduser(data.folder), os.path.expanduser(data.train))
    return data.corpus, os.path.realpath(path).removesuffix(".gz")


def _given(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: settings[name] for name in names if name in settings}
