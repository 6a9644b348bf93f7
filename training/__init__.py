"""Training: corpora, batching, recipes and the training loop.

Public names are imported lazily: recipes are read without TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.training.back_translation import BackTranslationOptions, back_translate
    from keras_attn_nmt.training.evaluation import corpus_scores, evaluate
    from keras_attn_nmt.training.recipe import Recipe
    from keras_attn_nmt.training.recipe_files import load_recipe
    from keras_attn_nmt.training.trainer import train

_MODULES = {
    "BackTranslationOptions": "back_translation",
    "back_translate": "back_translation",
    "corpus_scores": "evaluation",
    "evaluate": "evaluation",
    "Recipe": "recipe",
    "load_recipe": "recipe_files",
    "train": "trainer",
}

__all__ = [
    "BackTranslationOptions",
    "Recipe",
    "back_translate",
    "corpus_scores",
    "evaluate",
    "load_recipe",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
