"""A recipe: everything that a training run depends on. Its file: `training/recipe_files.py`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.tokenizer import check_vocabulary


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Where the sentence pairs come from.

    Attributes:
        corpus: `"phrases"`, `"multi30k"`, `"lines"` (line-aligned files), `"tsv"` or the name of
            a TFDS translation data set, such as `"wmt14_translate/fr-en"`.
        source_language: Source language, as a code such as `de`.
        target_language: Target language.
        folder: Where the files of `multi30k`, `lines` and `tsv` are, or TFDS keeps its data; `~` is
            the home directory. An empty string: `multi30k` is downloaded, file names are relative
            to the working directory.
        train: `lines`: file name without the language, so that `train` means `train.de` and
            `train.en`; `tsv`: file name; TFDS: split. All but TFDS may end with `.gz`.
        validation: Likewise. Empty: the last sentences of `lines` or `tsv` are held out.
        test: Likewise, for `evaluate`.
        source_column: `tsv`: number of the column with the source, counted from 1. 0 takes the
            column that the header names, or the first one where there is no header. A first line
            that holds both `source_language` and `target_language` as cells is the header.
        target_column: Likewise, of the target; without a header 0 is the second column.
        alignment: `lines`: ending of the files of links between words, in the Pharaoh format, so
            that `align` means `train.align`, ...; for `training.guided_alignment`. Those of
            validation and test may be missing. `phrases` knows its own.
        size: `phrases`: number of training pairs; else at most so many are used, 0 for all.
        validation_size: `phrases`: number of validation pairs, and of test pairs.
        concatenate: Consecutive pairs become one, of up to so many source words, all lengths up to
            it alike; 0 leaves them alone. A word is one token or more, so that `max_length` has to
            be larger, best twice as large.
        max_length: Pairs with a longer side, in tokens, are left out, counted and reported.
        cache: Whether tokenised sentences are kept in memory.
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
    alignment: str = ""
    size: int = 0
    validation_size: int = 1000
    concatenate: int = 0
    max_length: int = 80
    cache: bool = True

    @property
    def aligned(self) -> bool:
        """Whether links between words are known."""
        return self.corpus == "phrases" or (self.corpus == "lines" and bool(self.alignment))

    def __post_init__(self) -> None:
        for name, least in (
            ("size", 0),
            ("source_column", 0),
            ("target_column", 0),
            ("concatenate", 0),
            ("validation_size", 1),
            ("max_length", 2),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"data.{name} must be at least {least}, got {getattr(self, name)}."
                )
        if self.concatenate >= self.max_length:
            raise ValueError(
                f"data.concatenate={self.concatenate} makes sentences of so many words, and "
                f"data.max_length={self.max_length} would leave out those of more tokens: set "
                f"data.max_length to {2 * self.concatenate} or so."
            )


@dataclasses.dataclass(frozen=True)
class VocabularyRecipe:
    """SentencePiece vocabularies, learned from the training text.

    Attributes:
        source_size: Number of source pieces.
        target_size: Number of target pieces.
        shared: One vocabulary of `source_size` for both languages.
        model_type: `"unigram"` or `"bpe"`.
        normalization: `"nfc"`, `"nmt_nfkc"` or `"identity"`, see `Tokenizer.learn`.
        character_coverage: Share of the text in characters that have a piece of their own.
        byte_fallback: Spell other characters in bytes, so that no text is lost.
        samples: How often an epoch has each training pair: once in its usual segmentation, the
            other times in some that are drawn before training (subword regularization, Kudo 2018;
            BPE-dropout, Provilkov et al. 2020). It takes that much longer: set fewer epochs.
            Validation and translation know the usual segmentation only.
        sampling_alpha: How far from the usual one they are, see `SubwordSampler`. In 6,000 pieces,
            the German of Multi30k becomes 1.3 times as long with `unigram` and 0.2, twice as long
            with 0.1; with `bpe`, where more is farther, 1.2 times with 0.1 (the paper's value).
    """

    source_size: int = 8000
    target_size: int = 8000
    shared: bool = False
    model_type: str = "unigram"
    normalization: str = "nfc"
    character_coverage: float = 0.9995
    byte_fallback: bool = True
    samples: int = 1
    sampling_alpha: float = 0.2

    def __post_init__(self) -> None:
        for side in ("source",) if self.shared else ("source", "target"):
            size = getattr(self, f"{side}_size")
            try:
                check_vocabulary(
                    size,
                    self.model_type,
                    self.normalization,
                    self.character_coverage,
                    self.byte_fallback,
                )
            except ValueError as error:
                reason = str(error).replace("vocabulary_size", f"{side}_size")
                raise ValueError(f"[vocabulary] of the recipe: {reason}.") from error
        if self.samples < 1:
            raise ValueError(f"vocabulary.samples must be at least 1, got {self.samples}.")
        if not 0 < self.sampling_alpha <= 1:
            raise ValueError(
                "vocabulary.sampling_alpha must be above 0 and at most 1, got "
                f"{self.sampling_alpha}."
            )


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """How the model is trained.

    Attributes:
        seed: Seed of weights, dropout, order of the data and `vocabulary.samples`.
        epochs: Epochs, of `vocabulary.samples` passes over the data each.
        tokens_per_batch: Source and target positions of a batch, padding included.
        optimizer: `"adam"` or `"adadelta"` (the paper's).
        learning_rate: Its highest value.
        schedule: `"constant"`, `"cosine"` (to zero over all epochs) or `"plateau"` (times
            `plateau_factor` after `plateau_patience` epochs without a better `monitor`).
        warmup_steps: Steps in which the learning rate rises to its highest value; not for plateau.
        clip_norm: Largest norm of the gradient (paper, B.2: 1).
        average_weights: Momentum of a moving average of the weights, such as 0.999, that is
            evaluated and kept in place of the last ones (Polyak & Juditsky 1992); 0 for none.
        label_smoothing: See `MaskedCrossentropy`.
        r_drop: Weight of how far two readings of a sentence differ, each with its own dropout, see
            `RDropCrossentropy`; 0 reads once. A step takes twice as long and twice the memory.
        guided_alignment: Weight of `GuidedAlignment` beside it; 0 for none.
        monitor: What decides on the best epoch: `"val_bleu"` or `"val_loss"`.
        patience: Stop after so many epochs without a better `monitor`; 0 never stops.
        plateau_patience: See `schedule`.
        plateau_factor: See `schedule`.
        bleu_sentences: Validation sentences translated after each epoch; 0 for none.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
    """

    seed: int = 1
    epochs: int = 10
    tokens_per_batch: int = 2048
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "plateau"
    warmup_steps: int = 0
    clip_norm: float = 1.0
    average_weights: float = 0.0
    label_smoothing: float = 0.1
    r_drop: float = 0.0
    guided_alignment: float = 0.0
    monitor: str = "val_bleu"
    patience: int = 5
    plateau_patience: int = 2
    plateau_factor: float = 0.5
    bleu_sentences: int = 1000
    dtype_policy: str = "float32"

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("adam", "adadelta"),
            "schedule": ("constant", "cosine", "plateau"),
            "monitor": ("val_bleu", "val_loss"),
            "dtype_policy": ("float32", "mixed_bfloat16", "mixed_float16"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"training.{name} must be one of {allowed}, got {getattr(self, name)!r}."
                )
        for name in ("epochs", "tokens_per_batch", "plateau_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(
                "training.plateau_factor must be above 0 and below 1, as the learning rate is "
                f"multiplied by it, got {self.plateau_factor}."
            )
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"training.{name} must be above 0, got {getattr(self, name)}.")
        for name in ("label_smoothing", "average_weights"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be in [0, 1), got {getattr(self, name)}.")
        for name in ("r_drop", "guided_alignment"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"training.{name} must be a finite number of at least 0, got "
                    f"{getattr(self, name)}."
                )
        for name in ("seed", "warmup_steps", "patience", "bleu_sentences"):
            if getattr(self, name) < 0:
                raise ValueError(f"training.{name} must be at least 0, got {getattr(self, name)}.")
        if self.monitor == "val_bleu" and not self.bleu_sentences:
            raise ValueError(
                "training.monitor='val_bleu' needs training.bleu_sentences above 0; "
                "or set training.monitor='val_loss'."
            )
        if self.schedule == "plateau" and self.warmup_steps:
            raise ValueError("training.warmup_steps does not go with training.schedule='plateau'.")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run: data, vocabulary, model and training, and how its model searches by default.

    `model` holds the settings of `ModelConfig` but for the vocabulary sizes, which follow from the
    vocabularies that were learned.
    """

    data: DataRecipe = DataRecipe()
    vocabulary: VocabularyRecipe = VocabularyRecipe()
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    training: TrainingRecipe = TrainingRecipe()
    search: SearchOptions = dataclasses.field(default_factory=SearchOptions)

    @property
    def has_dropout(self) -> bool:
        """Whether the model has any dropout."""
        return any(rate for name, rate in self.model.items() if name.endswith("_dropout"))

    def __post_init__(self) -> None:
        if self.training.r_drop and not self.has_dropout:
            raise ValueError(
                f"training.r_drop={self.training.r_drop} compares readings with other dropout, but "
                "there is none: set model.embedding_dropout or another one, or training.r_drop=0."
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as nested dictionaries, every value spelled out."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """Makes a recipe; unknown names and values of a wrong type raise `ValueError`."""
        sections = {field.name for field in dataclasses.fields(cls)}
        for name, section in values.items():
            _known(name, sections, "A recipe has no section")
            if not isinstance(section, Mapping):
                raise ValueError(f"[{name}] must be a section of a recipe, got {section!r}.")
        model = dict(values.get("model", {}))
        _check_model(model)
        return cls(
            data=_section(DataRecipe, "data", values.get("data", {})),
            vocabulary=_section(VocabularyRecipe, "vocabulary", values.get("vocabulary", {})),
            model=model,
            training=_section(TrainingRecipe, "training", values.get("training", {})),
            search=_section(SearchOptions, "search", values.get("search", {})),
        )


def _known(name: str, names: Iterable[str], message: str) -> None:
    names = sorted(names)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names)}."
        raise ValueError(f"{message} {name!r}. {hint}")


def _section(kind: Any, section: str, values: Mapping[str, Any]) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    checked = {}
    for name, value in values.items():
        _known(name, fields, f"[{section}] of a recipe has no setting")
        wanted = type(fields[name].default)
        if wanted is float and type(value) is int:
            value = float(value)
        if type(value) is not wanted:
            raise ValueError(f"{section}.{name} must be of type {wanted.__name__}, got {value!r}.")
        checked[name] = value
    return kind(**checked)


def _check_model(model: Mapping[str, Any]) -> None:
    for name in ("source_vocabulary_size", "target_vocabulary_size"):
        if name in model:
            raise ValueError(
                f"model.{name} follows from the vocabulary; set vocabulary.source_size and "
                "vocabulary.target_size."
            )
    ModelConfig.from_dict({**model, "source_vocabulary_size": 1000, "target_vocabulary_size": 1000})
