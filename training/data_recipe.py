"""The `[data]` section of a recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.training.mix_recipe import mixed_corpora


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """The parallel corpus.

    Attributes:
        corpus: `"phrases"`, `"multi30k"`, `"lines"` (line-aligned files), `"tsv"`, `"jsonl"`
            (JSON lines), `"tmx"` (translation memory), `"dictionary"` (words and their
            pronunciations) or the name of a TFDS translation data set, such as
            `"wmt14_translate/fr-en"`.
        source_language: Source language, as a code such as `de`.
        target_language: Target language.
        folder: Directory of the files of `multi30k` and of corpora with a file name, or of TFDS
            data; `~` is the home directory. If empty, `multi30k` is downloaded and file names are
            relative to the working directory.
        train: `lines`: file name without the language suffix (`train` means `train.de` and
            `train.en`); `tsv`, `jsonl`, `tmx`: file name; TFDS: split; `dictionary`: name of a file
            like CMUdict (`WORD  P H O N E S`), else of two files as for `lines`. Files may be
            gzipped (`.gz`).
        validation: Same for validation. If empty, the end of the training files, or a twentieth
            of the words of a dictionary, is held out.
        test: Same for the test set of `evaluate`. If empty, another twentieth of the words of a
            dictionary is held out.
        source_column: `tsv`: 1-based source column. 0 uses the header, or the first column without
            a header. A first line that contains both `source_language` and `target_language` as
            cells is a header. At least 0.
        target_column: Same for the target; 0 without a header is the second column. At least 0.
        source_field: `jsonl`: field of the source text; default: the source language. It is looked
            up in the object of a line and in its object `translation`; a nested field is written as
            `texts.de`.
        target_field: Same for the target text.
        alignment: `lines`: suffix of the word alignment files in Pharaoh format (`align` means
            `train.align`, ...), for `training.guided_alignment` (sure links only). Optional for
            validation and test. `phrases` has its own.
        size: `phrases`: number of training pairs (0: 50,000); otherwise maximum number of pairs,
            0 for all. At least 0.
        validation_size: `phrases`: number of validation pairs and of test pairs. At least 1.
        concatenate: Concatenate consecutive pairs up to this many source words, with uniformly
            distributed limits; 0 disables it. `max_length` must be larger, about twice as large.
            At least 0.
        max_length: Longer pairs, in tokens, are dropped, counted and reported. At least 2.
        cache: Whether to cache tokenised sentences in memory.
        sample: For corpora of any size: stream the training data, see `StreamedPairs`, and learn
            the vocabularies and plan the batches on about this many pairs from all over it, such as
            1,000,000. 0 counts all pairs before training. For `lines` and TFDS. With `lines`,
            `train` may name several files, separated by spaces, and patterns such as `part-*`. At
            least 0.
        mix: More training corpora, as tables `[[data.mix]]` with settings of this section and
            `ratio`, the number of its pairs per pair of `[data]` in an epoch; without it, each of
            its pairs occurs once. A table with `corpus` inherits only the languages. `"parent"` is
            the training data of the model given by `--from`.
    """

    corpus: str = "lines"
    source_language: str = "de"
    target_language: str = "en"
    folder: str = ""
    train: str = "train"
    validation: str = "validation"
    test: str = "test"
    source_column: int = 0
    target_column: int = 0
    source_field: str = ""
    target_field: str = ""
    alignment: str = ""
    size: int = 0
    validation_size: int = 1000
    concatenate: int = 0
    max_length: int = 80
    cache: bool = True
    sample: int = 0
    mix: tuple[Mapping[str, Any], ...] = ()

    @property
    def aligned(self) -> bool:
        """Whether the corpus has word alignments."""
        return self.corpus == "phrases" or (self.corpus == "lines" and bool(self.alignment))

    def __post_init__(self) -> None:
        for name, least in (
            ("size", 0),
            ("source_column", 0),
            ("target_column", 0),
            ("concatenate", 0),
            ("validation_size", 1),
            ("max_length", 2),
            ("sample", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"data.{name} must be at least {least}, got {getattr(self, name)}."
                )
        if self.concatenate >= self.max_length:
            raise ValueError(
                f"data.concatenate={self.concatenate} creates sentences of that many words, but "
                f"data.max_length={self.max_length} would drop those with more tokens: set "
                f"data.max_length to about {2 * self.concatenate}."
            )
        mixed_corpora(self)
        if self.sample:
            self._check_streamed()

    def check_languages(self) -> None:
        """Raises `ValueError` if one language chooses the texts of both sides.

        Readers of files that hold both sides check this themselves.
        """
        in_one_file = ("tsv", "jsonl", "tmx", "dictionary")
        if self.source_language == self.target_language and self.corpus not in in_one_file:
            raise ValueError(
                f"data.source_language and data.target_language are both {self.source_language!r}, "
                "so that source and target would be the same texts: set two languages."
            )

    def _check_streamed(self) -> None:
        """Raises `ValueError` for settings that the streaming of `sample` does not support."""
        others = ("phrases", "multi30k", "tsv", "jsonl", "tmx", "dictionary")
        if self.corpus in others:
            raise ValueError(
                f"data.sample={self.sample} streams corpora of the kind 'lines' and TFDS data "
                f"sets, not {self.corpus!r}: write the texts to two line-aligned files, or set "
                "data.sample=0."
            )
        for name in ("alignment", "concatenate", "mix"):
            if getattr(self, name):
                raise ValueError(
                    f"data.sample={self.sample} does not support data.{name}: remove it, or set "
                    "data.sample=0."
                )
