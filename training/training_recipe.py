"""The section `[training]` of a recipe."""

from __future__ import annotations

import dataclasses

from keras_attn_nmt.training.sections import accepts_old_names

# Of NumPy's generator.
_LARGEST_SEED = 2**32 - 1


@accepts_old_names("training")
@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """Optimisation settings.

    Attributes:
        seed: Seed of initialisation, dropout, data order and subword sampling. In [0, 4294967295].
        epochs: Number of epochs, each of `vocabulary.segmentation_samples` passes over the data. At
            least 1.
        steps_per_epoch: Batches per epoch with `data.sample`; validation and a checkpoint follow
            each epoch. 0: about one pass over the data. At least 0.
        tokens_per_batch: Maximum source plus target positions per batch, padding included. At
            least 1.
        optimizer: `"adam"` or `"adadelta"` (the paper's).
        learning_rate: Peak learning rate. Above 0.
        schedule: `"constant"`, `"cosine"` (to zero over all epochs) or `"plateau"` (multiplied by
            `plateau_factor` after `plateau_patience` epochs without improvement of `monitor`).
        warmup_steps: Steps of linear warm-up; not for plateau. At least 0.
        clip_norm: Maximum global gradient norm (paper, B.2: 1). Above 0.
        ema_momentum: Momentum of an exponential moving average of the weights, such as 0.999, that
            is evaluated and saved instead of the last weights (Polyak & Juditsky 1992); 0 disables
            it. In [0, 1).
        label_smoothing: Share of the target probability that is spread over the vocabulary, see
            `MaskedCrossentropy`. In [0, 1).
        r_drop: Weight of the KL divergence between two dropout passes (R-Drop), see
            `RDropCrossentropy`; 0 disables it. Doubles time and memory of a step. At least 0.
        guided_alignment: Weight of the `GuidedAlignment` loss, for corpora with word alignments; 0
            disables it. At least 0.
        monitor: Metric that selects the best epoch: `"val_bleu"` or `"val_loss"`.
        patience: Early stopping after this many epochs without improvement of `monitor`; 0
            disables it. At least 0.
        plateau_patience: Epochs without improvement of `monitor` before the learning rate falls,
            see `schedule`. At least 1.
        plateau_factor: Factor of the learning rate then, see `schedule`. In (0, 1).
        bleu_sentences: Validation sentences translated after each epoch, by greedy search up to
            `search.max_length`; 0 disables it. At least 0.
        bleu_tokenize: sacreBLEU tokeniser of `val_bleu`, and of `evaluate`, `tune` and `study`,
            such as `"zh"`, `"ja-mecab"` or `"char"` for languages that are written without spaces.
        dtype_policy: `"float32"`, `"mixed_bfloat16"` or `"mixed_float16"`.
        devices: Number of devices of each process among which every batch is divided, on the JAX
            backend. At least 1.
        distribution: `"multi_worker"` trains in the processes of the environment variable
            `TF_CONFIG`, on the TensorFlow backend; `"none"` ignores it.
    """

    seed: int = 1
    epochs: int = 10
    steps_per_epoch: int = 0
    tokens_per_batch: int = 2048
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "plateau"
    warmup_steps: int = 0
    clip_norm: float = 1.0
    ema_momentum: float = 0.0
    label_smoothing: float = 0.1
    r_drop: float = 0.0
    guided_alignment: float = 0.0
    monitor: str = "val_bleu"
    patience: int = 5
    plateau_patience: int = 2
    plateau_factor: float = 0.5
    bleu_sentences: int = 1000
    bleu_tokenize: str = "13a"
    dtype_policy: str = "float32"
    devices: int = 1
    distribution: str = "none"

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("adam", "adadelta"),
            "schedule": ("constant", "cosine", "plateau"),
            "monitor": ("val_bleu", "val_loss"),
            "distribution": ("none", "multi_worker"),
            "dtype_policy": ("float32", "mixed_bfloat16", "mixed_float16"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"training.{name} must be one of {allowed}, got {getattr(self, name)!r}."
                )
        for name in ("epochs", "tokens_per_batch", "plateau_patience", "devices"):
            if getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be at least 1, got {getattr(self, name)}.")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(
                "training.plateau_factor must be in (0, 1), as it multiplies the learning rate, "
                f"got {self.plateau_factor}."
            )
        for name in ("learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"training.{name} must be above 0, got {getattr(self, name)}.")
        for name in ("label_smoothing", "ema_momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"training.{name} must be in [0, 1), got {getattr(self, name)}.")
        for name in ("r_drop", "guided_alignment"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"training.{name} must be a finite number of at least 0, got "
                    f"{getattr(self, name)}."
                )
        for name in ("seed", "steps_per_epoch", "warmup_steps", "patience", "bleu_sentences"):
            if getattr(self, name) < 0:
                raise ValueError(f"training.{name} must be at least 0, got {getattr(self, name)}.")
        if self.seed > _LARGEST_SEED:
            raise ValueError(f"training.seed must be at most {_LARGEST_SEED}, got {self.seed}.")
        if self.monitor == "val_bleu" and not self.bleu_sentences:
            raise ValueError(
                "training.monitor='val_bleu' needs training.bleu_sentences above 0; "
                "or set training.monitor='val_loss'."
            )
        if self.distribution == "multi_worker" and self.devices > 1:
            raise ValueError(
                f"training.devices={self.devices} is not supported with "
                "training.distribution='multi_worker': start a process for each device."
            )
        if self.schedule == "plateau" and self.warmup_steps:
            raise ValueError(
                "training.warmup_steps is not supported with training.schedule='plateau'."
            )

    @property
    def monitor_mode(self) -> str:
        """`"min"` for a loss, `"max"` for BLEU, as in Keras' callbacks."""
        return "min" if self.monitor.endswith("loss") else "max"
