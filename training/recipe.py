"""Recipes: all settings of a training run. Files are read by `training/recipe_files.py`.

The section `[training]` is in `training/training_recipe.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.checks import check_known
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.deprecation import with_new_names
from keras_attn_nmt.text.tokenizer import check_vocabulary
from keras_attn_nmt.training.data_recipe import DataRecipe
from keras_attn_nmt.training.sections import RENAMED, accepts_old_names, make_section
from keras_attn_nmt.training.training_recipe import TrainingRecipe

__all__ = ["DataRecipe", "Recipe", "TrainingRecipe", "VocabularyRecipe"]


@accepts_old_names("vocabulary")
@dataclasses.dataclass(frozen=True)
class VocabularyRecipe:
    """SentencePiece vocabularies, learned on the training data or given.

    Attributes:
        source_model: Path of a SentencePiece model for the source language, relative to the working
            directory, `~` is the home directory; see `Tokenizer.from_sentencepiece`. If empty, the
            vocabulary is learned. With `shared`, the model of both languages.
        target_model: Same for the target language.
        source_vectors: Path of pretrained word vectors in word2vec's text form (GloVe, fastText
            `.vec`, plain or gzip), of `model.embedding_units` numbers each, as the initial
            embeddings of the source pieces that have one; see `read_vectors`.
        target_vectors: Same for the target language.
        source_size: Number of source pieces, special and byte pieces included. At least 261, or 5
            without `byte_fallback`.
        target_size: Same for the target.
        shared: Share one vocabulary of `source_size` pieces between both languages.
        model_type: `"unigram"`, `"bpe"`, `"char"` or `"word"`, see `Tokenizer.learn`.
        target_model_type: Same for the target; if empty, it is `model_type`.
        normalization: `"nfc"`, `"nmt_nfkc"` or `"identity"`, see `Tokenizer.learn`.
        character_coverage: Share of the text covered by character pieces. In [0.98, 1].
        byte_fallback: Encode uncovered characters as bytes instead of `<unk>`.
        segmentation_samples: Segmentations of each training pair per epoch: the deterministic one
            and sampled ones, drawn before training (subword regularization, Kudo 2018;
            BPE-dropout, Provilkov et al. 2020). Epochs get longer in proportion. Validation and
            translation use the deterministic segmentation. At least 1.
        sampling_alpha: Smoothing or dropout rate, see `SubwordSampler`. With 6,000 pieces, German
            Multi30k text becomes 1.3 times as long with `unigram` and 0.2, twice as long with 0.1;
            with `bpe`, 1.2 times with 0.1 (the paper's value). In (0, 1].
    """

    source_model: str = ""
    target_model: str = ""
    source_vectors: str = ""
    target_vectors: str = ""
    source_size: int = 8000
    target_size: int = 8000
    shared: bool = False
    model_type: str = "unigram"
    target_model_type: str = ""
    normalization: str = "nfc"
    character_coverage: float = 0.9995
    byte_fallback: bool = True
    segmentation_samples: int = 1
    sampling_alpha: float = 0.2

    @property
    def learned(self) -> tuple[str, ...]:
        """The sides whose vocabulary is learned: `source` (of both if shared) and `target`."""
        sides = ("source",) if self.shared else ("source", "target")
        return tuple(side for side in sides if not getattr(self, f"{side}_model"))

    def __post_init__(self) -> None:
        for side in self.learned:
            size = getattr(self, f"{side}_size")
            if self.segmentation_samples > 1 and self.model_type_of(side) in ("char", "word"):
                raise ValueError(
                    f"vocabulary.segmentation_samples={self.segmentation_samples} requires the "
                    "model type 'unigram' or 'bpe': a text has one segmentation into characters "
                    "or words. Use segmentation_samples=1."
                )
            try:
                check_vocabulary(
                    size,
                    self.model_type_of(side),
                    self.normalization,
                    self.character_coverage,
                    self.byte_fallback,
                )
            except ValueError as error:
                reason = str(error).replace("vocabulary_size", f"{side}_size")
                raise ValueError(f"[vocabulary] of the recipe: {reason}.") from error
        if self.segmentation_samples < 1:
            raise ValueError(
                "vocabulary.segmentation_samples must be at least 1, got "
                f"{self.segmentation_samples}."
            )
        if not 0 < self.sampling_alpha <= 1:
            raise ValueError(
                f"vocabulary.sampling_alpha must be in (0, 1], got {self.sampling_alpha}."
            )

    def model_type_of(self, side: str) -> str:
        """The model type of `"source"` or `"target"`."""
        return (side == "target" and self.target_model_type) or self.model_type


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All settings of a run: data, vocabulary, model, training and default search options.

    `model` holds the settings of `ModelConfig` except the vocabulary sizes, which are determined by
    the learned vocabularies.
    """

    data: DataRecipe = dataclasses.field(default_factory=DataRecipe)
    vocabulary: VocabularyRecipe = VocabularyRecipe()
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: TrainingRecipe = dataclasses.field(default_factory=TrainingRecipe)
    search: SearchOptions = dataclasses.field(default_factory=SearchOptions)

    @property
    def has_dropout(self) -> bool:
        """Whether the model has any dropout."""
        return any(rate for name, rate in self.model.items() if name.endswith("_dropout"))

    def __post_init__(self) -> None:
        if self.data.sample and self.vocabulary.segmentation_samples > 1:
            raise ValueError(
                f"vocabulary.segmentation_samples={self.vocabulary.segmentation_samples} is not "
                "supported with data.sample: use segmentation_samples=1."
            )
        if self.data.sample and self.training.guided_alignment:
            raise ValueError(
                f"training.guided_alignment={self.training.guided_alignment} is not supported with "
                "data.sample: use guided_alignment=0."
            )
        if self.training.r_drop and not self.has_dropout:
            raise ValueError(
                f"training.r_drop={self.training.r_drop} compares two dropout passes, but the "
                "model has no dropout: set model.embedding_dropout or another rate, or "
                "training.r_drop=0."
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries, including default values."""
        values = dataclasses.asdict(self)
        # As in JSON.
        values["data"]["mix"] = list(values["data"]["mix"])
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Creates a recipe; unknown names and values of the wrong type raise `ValueError`.

        Old names of settings, as in the files of an older release, are accepted.
        """
        check_sections(values)
        values = with_new_settings(values)
        model = dict(values.get("model", {}))
        _check_model(model)
        return cls(
            data=make_section(DataRecipe, "data", values.get("data", {})),
            vocabulary=make_section(VocabularyRecipe, "vocabulary", values.get("vocabulary", {})),
            model=model,
            training=make_section(TrainingRecipe, "training", values.get("training", {})),
            search=make_section(SearchOptions, "search", values.get("search", {})),
        )


def check_sections(values: Mapping[str, Any]) -> None:
    """Raises `ValueError` for an unknown section, or a value that is not a section."""
    known = sorted(field.name for field in dataclasses.fields(Recipe))
    check_known("section of a recipe:", values, known)
    for name, section in values.items():
        if not isinstance(section, Mapping):
            raise ValueError(f"[{name}] must be a section of a recipe, got {section!r}.")


def with_new_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a recipe with the new names of renamed settings."""
    return {
        name: with_new_names(section, RENAMED.get(name, {}))
        if isinstance(section, Mapping)
        else section
        for name, section in values.items()
    }


def _check_model(model: Mapping[str, Any]) -> None:
    for name in ("source_vocabulary_size", "target_vocabulary_size"):
        if name in model:
            raise ValueError(
                f"model.{name} is determined by the vocabulary: set vocabulary.source_size and "
                "vocabulary.target_size."
            )
    ModelConfig.from_dict({**model, "source_vocabulary_size": 1000, "target_vocabulary_size": 1000})
