"""The model of a training run: built from a recipe, and compiled."""

from __future__ import annotations

import keras

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.layers.losses import GuidedAlignment, MaskedCrossentropy, RDropCrossentropy
from keras_attn_nmt.layers.metrics import Perplexity, TokenAccuracy
from keras_attn_nmt.model import build_model
from keras_attn_nmt.training.distribution import Replicas
from keras_attn_nmt.training.optimizer import make_optimizer
from keras_attn_nmt.training.recipe import Recipe


def compiled_model(
    recipe: Recipe, config: ModelConfig, steps: int, first_step: int, replicas: Replicas
) -> keras.Model:
    """Builds and compiles a model with its optimizer.

    Args:
        recipe: The recipe.
        config: The configuration of the model.
        steps: Batches per epoch.
        first_step: Steps that the optimizer has made before, in the training of a parent.
        replicas: The devices.
    """
    settings = recipe.training
    weight = settings.guided_alignment
    model = replicas.wrap(build_model(config))
    model.compile(
        make_optimizer(settings, steps, first_step),
        loss={
            "logits": (
                RDropCrossentropy(
                    settings.label_smoothing, settings.r_drop, shards=replicas.loss_shards
                )
                if settings.r_drop
                else MaskedCrossentropy(settings.label_smoothing)
            ),
            **({"attention": GuidedAlignment()} if weight else {}),
        },
        loss_weights={"logits": 1.0, "attention": weight} if weight else None,
        metrics={"logits": [TokenAccuracy(name="accuracy"), Perplexity()]},
    )
    # Otherwise the first trace creates variables and the step is traced twice.
    model.optimizer.build(model.trainable_variables)
    return model
