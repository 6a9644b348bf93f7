"""The TFDS data set `phrases`: a `Phrasebook` written to disk, loaded by name."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.dataset_builder import ShardBasedBuilder

from keras_attn_nmt.extras import extra
from keras_attn_nmt.text.alignment import format_gold
from keras_attn_nmt.training.datasets.values import SPLITS

# Imported lazily: other data sets need neither Babel nor num2words.
if TYPE_CHECKING:
    from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

# Name of the feature with the word alignment.
ALIGNMENT = "alignment"

_LIBRARIES = ("babel", "num2words")

_NAME = re.compile(
    r"(?P<source_language>\w+)-(?P<target_language>\w+)"
    r"(\.(?P<train_size>\d+)-(?P<validation_size>\d+)-(?P<test_size>\d+))?"
    r"(\.seed(?P<seed>\d+))?"
    r"(\.(?P<kinds>(?!aligned\b)[a-z_]+(\+[a-z_]+)*))?"
    r"(?P<aligned>\.aligned)?"
    r"(\.babel(?P<babel>\d+(\.\d+)*)\.num2words(?P<num2words>\d+(\.\d+)*))?"
)

# TFDS holds the examples of one shard in memory.
_SHARD = 25_000

Example = tuple[int, dict[str, str]]


@dataclasses.dataclass(eq=False, kw_only=True)
class PhrasesConfig(tfds.core.BuilderConfig):
    """Configuration of `phrases`; its name contains everything that determines the content.

    Args:
        source_language: Such as `de`; see `wording.supported_languages`.
        target_language: Same for the target.
        train_size: Number of training pairs.
        validation_size: Number of distinct validation pairs.
        test_size: Number of distinct test pairs.
        seed: Random seed of the pairs; held-out values do not depend on it.
        kinds: Names of `values.KINDS`; defaults to all that the language pair supports.
        aligned: Whether examples have a third text, `"alignment"`: word links in the Pharaoh
            format, sure (`0-0`) or possible (`0p1`); see `provenance`.
    """

    name: str = dataclasses.field(init=False, default="")
    source_language: str = "de"
    target_language: str = "en"
    train_size: int = 50_000
    validation_size: int = 1_000
    test_size: int = 1_000
    seed: int = 0
    kinds: tuple[str, ...] | None = None
    aligned: bool = False

    def __post_init__(self) -> None:
        for split, size in self.sizes.items():
            if size < 1:
                raise ValueError(f"{split}_size is {size}; it must be at least 1.")
        if self.seed < 0:
            raise ValueError(f"The seed is {self.seed}; it must not be negative.")
        book = self.phrasebook()
        self.source_language, self.target_language = book.source.code, book.target.code
        parts = [
            f"{self.source_language}-{self.target_language}",
            "-".join(str(size) for size in self.sizes.values()),
            f"seed{self.seed}",
            *(["+".join(sorted(set(self.kinds)))] if self.kinds is not None else []),
            *(["aligned"] if self.aligned else []),
            *(f"{library}{_version(library)}" for library in _LIBRARIES),
        ]
        self.name = ".".join(parts)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of pairs by split."""
        return dict(
            zip(SPLITS, (self.train_size, self.validation_size, self.test_size), strict=True)
        )

    def phrasebook(self) -> Phrasebook:
        """The phrases of this language pair."""
        from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

        return Phrasebook(self.source_language, self.target_language, self.kinds)

    @classmethod
    def parse(cls, name: str) -> PhrasesConfig:
        """Parses a name such as `de-en` or `de-en.50000-1000-1000.seed0`; the rest has defaults.

        Raises:
            ValueError: The name is invalid, or names library versions that are not installed.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"phrases has no configuration {name!r}. Expected SOURCE-TARGET, optionally with "
                "sizes of train, validation and test, seed, kinds and 'aligned': 'de-en', "
                "'fr-en.50000-1000-1000.seed0' or "
                "'de-en.5000-100-100.seed1.cardinal+date_full.aligned'."
            )
        given = {key: text for key, text in match.groupdict().items() if text is not None}
        for library in _LIBRARIES:
            installed = _version(library)
            if given.pop(library, installed) != installed:
                raise ValueError(
                    f"{name} was generated with another version of {library}; {installed} is "
                    "installed and may differ. Omit the versions to regenerate it."
                )
        arguments: dict[str, Any] = {
            key: int(text) if text.isdecimal() else text for key, text in given.items()
        }
        arguments["aligned"] = "aligned" in given
        if "kinds" in given:
            arguments["kinds"] = tuple(given["kinds"].split("+"))
        return cls(**arguments)


def _version(library: str) -> str:
    with extra("train"):
        return importlib.metadata.version(library)


@functools.cache
def _default_configs() -> list[PhrasesConfig]:
    return [PhrasesConfig()]


class _OnFirstUse:
    """TFDS' list of configurations, created lazily: names contain library versions."""

    def __get__(self, instance: object, owner: type) -> list[PhrasesConfig]:
        return _default_configs()


class Phrases(ShardBasedBuilder):
    """Numbers, dates, times and amounts of money in two languages, generated without a download.

    Example:

        read_tfds("phrases/de-en.50000-1000-1000.seed0", "train", "de", "en")

    Args:
        config: A `PhrasesConfig`, or a name for `PhrasesConfig.parse`.
        **kwargs: Arguments of every TFDS builder: `data_dir`, `version`, `file_format`.
    """

    VERSION = tfds.core.Version("1.1.0")
    BUILDER_CONFIGS = _OnFirstUse()

    def __init__(self, *, config: PhrasesConfig | str | None = None, **kwargs: Any) -> None:
        if isinstance(config, str):
            config = PhrasesConfig.parse(config)
        if config is not None:
            # TFDS requires the registered object of a name, not an equal one.
            config = self.builder_configs.setdefault(config.name, config)
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        languages = (self.builder_config.source_language, self.builder_config.target_language)
        features = tfds.features.Translation(languages=languages)
        if self.builder_config.aligned:
            texts = (*languages, ALIGNMENT)
            features = tfds.features.FeaturesDict({name: tfds.features.Text() for name in texts})
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=features,
            supervised_keys=languages,
            homepage="https://cldr.unicode.org",
            disable_shuffling=True,
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> Mapping[str, Sequence[Callable[[], Iterator[Example]]]]:
        # Phrases are drawn in random order; a GeneratorBasedBuilder would shuffle in memory.
        shards = {}
        for split, size in self.builder_config.sizes.items():
            examples = self._examples(split, size)
            shards[split] = [
                functools.partial(itertools.islice, examples, _SHARD)
                for _ in range(0, size, _SHARD)
            ]
        return shards

    def _examples(self, split: str, size: int) -> Iterator[Example]:
        config = self.builder_config
        book = config.phrasebook()
        # A third of the training phrases occurred before.
        links = functools.lru_cache(2**16)(lambda phrase: format_gold(book.alignment(phrase)))
        for number, phrase in enumerate(itertools.islice(book.draw(split, config.seed), size)):
            texts = {config.source_language: phrase.source, config.target_language: phrase.target}
            if config.aligned:
                texts[ALIGNMENT] = links(phrase)
            yield number, texts
