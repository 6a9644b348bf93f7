"""The TFDS data set `phrases`: a `Phrasebook` written to disk, so that it can be read by name."""

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

# Other data sets can do without the libraries that word phrases.
if TYPE_CHECKING:
    from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

# The feature with the links.
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
    """Which phrases: everything that their content depends on is in the configuration's name.

    Args:
        source_language: Such as `de`; see `wording.supported_languages`.
        target_language: Likewise.
        train_size: Number of training pairs.
        validation_size: Number of distinct validation pairs.
        test_size: Number of distinct test pairs.
        seed: Another seed draws other pairs; held-out values stay the same.
        kinds: Names of `values.KINDS`; all that the pair has by default.
        aligned: Whether examples have a third text, `"alignment"`: which words say the same, as
            links in the Pharaoh format, `0-0` for sure or `0p1` possibly (`provenance`).
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
        """Reads a name such as `de-en` or `de-en.50000-1000-1000.seed0`; the rest is default.

        Raises:
            ValueError: it is no such name, or names versions of libraries that are not installed.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"phrases has no configuration {name!r}. Expected SOURCE-TARGET with, if you like, "
                "sizes of train, validation and test, seed, kinds and 'aligned': 'de-en', "
                "'fr-en.50000-1000-1000.seed0' or "
                "'de-en.5000-100-100.seed1.cardinal+date_full.aligned'."
            )
        given = {key: text for key, text in match.groupdict().items() if text is not None}
        for library in _LIBRARIES:
            installed = _version(library)
            if given.pop(library, installed) != installed:
                raise ValueError(
                    f"{name} was made with another version of {library}; {installed} is installed "
                    "and may word phrases differently. Leave the versions out to make it anew."
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
    """TFDS's list of configurations, which needs Babel and num2words for their names."""

    def __get__(self, instance: object, owner: type) -> list[PhrasesConfig]:
        return _default_configs()


class Phrases(ShardBasedBuilder):
    """Numbers, dates, times and amounts of money in two languages, made on the fly, no download.

    Example:

        read_tfds("phrases/de-en.50000-1000-1000.seed0", "train", "de", "en")

    Args:
        config: A `PhrasesConfig` or a name that `PhrasesConfig.parse` reads.
        **kwargs: As for every TFDS builder: `data_dir`, `version`, `file_format`.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = _OnFirstUse()

    def __init__(self, *, config: PhrasesConfig | str | None = None, **kwargs: Any) -> None:
        if isinstance(config, str):
            config = PhrasesConfig.parse(config)
        if config is not None:
            # TFDS accepts the one object that it knows by a name.
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
        # Not a GeneratorBasedBuilder: that one shuffles in memory, and these come shuffled.
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
