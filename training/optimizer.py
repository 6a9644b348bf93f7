"""Optimizer and learning-rate schedule of a recipe's `[training]` section.

This is also the deprecated location of `FusedAdam` until the next release: use `keras_attn_nmt`.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_attn_nmt.layers.optimizer import FusedAdam
from keras_attn_nmt.training.recipe import TrainingRecipe

__all__ = ["FusedAdam", "learning_rate", "make_optimizer", "plateau_callback"]


def make_optimizer(settings: TrainingRecipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Creates the optimizer, with gradient clipping and the learning-rate schedule."""
    rate = learning_rate(settings, steps_per_epoch)
    options: dict[str, Any] = {"global_clipnorm": settings.clip_norm}
    if settings.ema_momentum:
        options |= {"use_ema": True, "ema_momentum": settings.ema_momentum}
    if settings.optimizer == "adadelta":  # paper, B.2
        return keras.optimizers.Adadelta(rate, rho=0.95, epsilon=1e-6, **options)
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


def plateau_callback(settings: TrainingRecipe) -> keras.callbacks.Callback:
    """Reduces the learning rate by epoch, for `schedule = "plateau"`."""
    return keras.callbacks.ReduceLROnPlateau(
        settings.monitor,
        factor=settings.plateau_factor,
        patience=settings.plateau_patience,
        mode=settings.monitor_mode,
    )
