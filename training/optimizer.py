"""Optimizer and learning-rate schedule of a recipe's `[training]` section.

This is also the deprecated location of `FusedAdam` until the next release: use `keras_attn_nmt`.
"""

from __future__ import annotations

import logging
from typing import Any

import keras

from keras_attn_nmt.layers.optimizer import ClippedAdadelta, FusedAdam
from keras_attn_nmt.training.training_recipe import TrainingRecipe

__all__ = [
    "FusedAdam",
    "LaterSchedule",
    "inner_optimizer",
    "learning_rate",
    "make_optimizer",
    "plateau_callback",
    "stopping_callback",
]


logger = logging.getLogger(__name__)


@keras.saving.register_keras_serializable(package="keras_attn_nmt")
class LaterSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins at a later step, for an optimizer that has made steps before.

    Args:
        schedule: A learning-rate schedule.
        first_step: The step at which it begins.
    """

    def __init__(
        self, schedule: keras.optimizers.schedules.LearningRateSchedule, first_step: int
    ) -> None:
        super().__init__()
        self.schedule = schedule
        self.first_step = first_step

    def __call__(self, step: Any) -> Any:
        return self.schedule(step - self.first_step)

    def get_config(self) -> dict[str, Any]:
        return {
            "schedule": keras.saving.serialize_keras_object(self.schedule),
            "first_step": self.first_step,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LaterSchedule:
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["first_step"])


def make_optimizer(
    settings: TrainingRecipe, steps_per_epoch: int, first_step: int = 0
) -> keras.optimizers.Optimizer:
    """Creates the optimizer, with gradient clipping and the learning-rate schedule.

    Args:
        settings: The `[training]` section.
        steps_per_epoch: Batches per epoch.
        first_step: Steps that the optimizer has made before, in the training of a parent.
    """
    rate = learning_rate(settings, steps_per_epoch)
    if first_step and not isinstance(rate, float):
        rate = LaterSchedule(rate, first_step)
    options: dict[str, Any] = {"global_clipnorm": settings.clip_norm}
    if settings.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": settings.ema_momentum}
    if settings.optimizer == "adadelta":  # paper, B.2
        return ClippedAdadelta(rate, rho=0.95, epsilon=1e-6, **options)
    return FusedAdam(rate, **options)


def learning_rate(settings: TrainingRecipe, steps_per_epoch: int) -> Any:
    """The learning rate: a number, or a schedule by step."""
    rate, warmup = settings.learning_rate, settings.warmup_steps
    if settings.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(1, steps_per_epoch * settings.epochs - warmup),
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    if warmup:
        return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate)
    return rate


def warn_of_warmup(settings: TrainingRecipe, steps_per_epoch: int) -> None:
    """Warns if the learning rate never reaches its peak."""
    steps = settings.epochs * steps_per_epoch
    if settings.warmup_steps >= steps:
        logger.warning(
            "the run has %d steps, all of them warm-up (training.warmup_steps=%d): it never "
            "reaches the learning rate of %g",
            *(steps, settings.warmup_steps, settings.learning_rate),
        )


def check_schedule(settings: TrainingRecipe) -> None:
    """Raises `ValueError` if training stops before its learning rate falls."""
    if settings.schedule == "plateau" and 0 < settings.patience <= settings.plateau_patience:
        raise ValueError(
            f"training.patience={settings.patience} stops before training.schedule='plateau' "
            f"lowers the learning rate (plateau_patience={settings.plateau_patience}): set a "
            "larger patience, a smaller plateau_patience, or training.schedule='constant'."
        )


def inner_optimizer(optimizer: Any) -> Any:
    """The optimizer without the loss scaling of `mixed_float16`."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def plateau_callback(settings: TrainingRecipe) -> keras.callbacks.Callback:
    """Reduces the learning rate by epoch, for `schedule = "plateau"`."""
    return keras.callbacks.ReduceLROnPlateau(
        settings.monitor,
        factor=settings.plateau_factor,
        patience=settings.plateau_patience,
        mode=settings.monitor_mode,
        min_delta=0.0,  # As for the best epoch.
    )


def stopping_callback(settings: TrainingRecipe) -> keras.callbacks.EarlyStopping:
    """Stops after `patience` epochs without improvement."""
    return keras.callbacks.EarlyStopping(
        settings.monitor, patience=settings.patience, mode=settings.monitor_mode
    )
