"""The TFDS data set `multi30k`: image captions in German, English and French."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from keras_attn_nmt.training.textfiles import count_aligned_lines, iterate_lines

URL = "https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw/"

LANGUAGES = ("de", "en", "fr")

# File name prefix of each split.
STEMS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}

# Size in bytes and SHA-256 of the files at URL.
_CHECKSUMS = {
    "test_2016_flickr.de.gz": (
        22_890,
        "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    ),
    "test_2016_flickr.en.gz": (
        21_077,
        "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
    ),
    "test_2016_flickr.fr.gz": (
        22_310,
        "6d326e188d259fb1d04ac19eae3af956559b3a0b93d7635e56c90987c40c8b90",
    ),
    "train.de.gz": (637_044, "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6"),
    "train.en.gz": (568_929, "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f"),
    "train.fr.gz": (604_242, "622e75069e9f4c577425c4f277116ce66e63a2401c0a2312d90073cb12379a3c"),
    "val.de.gz": (24_681, "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a"),
    "val.en.gz": (21_650, "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28"),
    "val.fr.gz": (23_001, "ca3106f1a72390591d25f6c45cb4cd39dec4cd3f123e099748a3ce5256c160e9"),
}

_CITATION = r"""
@inproceedings{elliott-etal-2016-multi30k,
    title = {Multi30{K}: Multilingual {E}nglish-{G}erman Image Descriptions},
    author = {Elliott, Desmond and Frank, Stella and Sima{'}an, Khalil and Specia, Lucia},
    booktitle = {Proceedings of the 5th Workshop on Vision and Language},
    year = {2016},
    pages = {70--74},
    url = {https://aclanthology.org/W16-3210},
}
@inproceedings{elliott-etal-2017-findings,
    title = {Findings of the Second Shared Task on Multimodal Machine Translation
             and Multilingual Image Description},
    author = {Elliott, Desmond and Frank, Stella and Barrault, Lo{\"i}c and Bougares, Fethi
              and Specia, Lucia},
    booktitle = {Proceedings of the Second Conference on Machine Translation},
    year = {2017},
    pages = {215--233},
    url = {https://aclanthology.org/W17-4718},
}
"""


class Multi30k(tfds.core.GeneratorBasedBuilder):
    """Multi30k, task 1: 29,000 training, 1,014 validation and 1,000 test (2016, Flickr) captions.

    Configurations are ordered pairs of de, en and fr, such as `de-en`. Files are downloaded from
    the public repository multi30k/dataset, or read from a folder with the same file names, plain
    or gzip (`train.de` or `train.de.gz`, ...). For non-commercial research.

    Example:

        read_tfds("multi30k/de-en", "train", "de", "en", manual_dir="folder/of/multi30k")

    References:
        Elliott et al. 2016, https://aclanthology.org/W16-3210 (English and German)
        Elliott et al. 2017, https://aclanthology.org/W17-4718 (French)
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name=f"{source}-{target}")
        for source, target in itertools.permutations(LANGUAGES, 2)
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Optional: a folder with train.de.gz, val.de.gz, test_2016_flickr.de.gz, train.en.gz, ..."
    )

    url_infos = {  # noqa: RUF012
        URL + name: UrlInfo(size=tfds.core.utils.Size(size), checksum=checksum, filename=None)
        for name, (size, checksum) in _CHECKSUMS.items()
    }

    def __init__(
        self, *, config: tfds.core.BuilderConfig | str | None = None, **kwargs: Any
    ) -> None:
        if isinstance(config, str) and config not in self.builder_configs:
            raise ValueError(
                f"multi30k has no configuration {config!r}. "
                f"It has: {', '.join(self.builder_configs)}."
            )
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        languages = tuple(self.builder_config.name.split("-"))
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.Translation(languages=languages),
            supervised_keys=languages,
            homepage="https://github.com/multi30k/dataset",
            citation=_CITATION,
            # Preserves the order of the files, for line-by-line comparison.
            disable_shuffling=True,
        )

    def download_and_prepare(
        self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any
    ) -> None:
        """Prepares the data set; reads `download_config.manual_dir` instead of downloading, if set.

        Raises:
            FileNotFoundError: A file is missing from the folder; the message names it.
            ValueError: The files of a split differ in their number of lines, or are not UTF-8.
        """
        folder = download_config.manual_dir if download_config is not None else None
        self._folder = None if folder is None else Path(folder).expanduser()
        super().download_and_prepare(download_config=download_config, **kwargs)

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, str]]]]:
        names = {
            (split, language): f"{stem}.{language}.gz"
            for split, stem in STEMS.items()
            for language in self.info.supervised_keys
        }
        if self._folder is None:
            paths = dl_manager.download({key: URL + name for key, name in names.items()})
        else:
            paths = {key: _find(self._folder, name) for key, name in names.items()}
        for split in STEMS:
            count_aligned_lines(*(paths[split, language] for language in self.info.supervised_keys))
        return {
            split: self._generate_examples(
                {language: paths[split, language] for language in self.info.supervised_keys}
            )
            for split in STEMS
        }

    def _generate_examples(self, paths: dict[str, Path]) -> Iterator[tuple[int, dict[str, str]]]:
        lines = [iterate_lines(path) for path in paths.values()]
        for number, texts in enumerate(zip(*lines, strict=True)):
            yield number, dict(zip(paths, (text.decode() for text in texts), strict=True))


def _find(folder: Path, name: str) -> Path:
    for candidate in (folder / name, folder / name.removesuffix(".gz")):
        if candidate.exists():
            return candidate
    raise FileNotFoundError(
        f"There is no {name} or {name.removesuffix('.gz')} in {folder}. "
        f"Download it from {URL}{name}."
    )
