"""Neural machine translation with Bahdanau attention, in Keras 3 and TensorFlow.

Public names are imported lazily to keep the command line fast. To load a `.keras` file with
`keras.saving.load_model`, import Keras before this package, or access any public name first.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.config import ModelConfig
    from keras_attn_nmt.layers.attention import (
        Attention,
        BahdanauAttention,
        DotAttention,
        LuongAttention,
    )
    from keras_attn_nmt.layers.decoder import AttentionDecoder
    from keras_attn_nmt.layers.encoder import BidirectionalEncoder
    from keras_attn_nmt.layers.losses import GuidedAlignment, MaskedCrossentropy, RDropCrossentropy
    from keras_attn_nmt.layers.metrics import Perplexity, TokenAccuracy
    from keras_attn_nmt.layers.optimizer import FusedAdam
    from keras_attn_nmt.layers.readout import MaxoutReadout, TanhReadout, TiedEmbedding
    from keras_attn_nmt.model import TranslationModel, build_model
    from keras_attn_nmt.plots import plot_attention, plot_translation
    from keras_attn_nmt.text.glossary import Constraint, Glossary
    from keras_attn_nmt.text.tokenizer import Tokenizer
    from keras_attn_nmt.translation import TextTooLong, Translation
    from keras_attn_nmt.translator import Translator

# In a checkout, Python imports this folder instead of the installed package: add the parent folder,
# which contains `training` and `export`.
_checkout = Path(__file__).resolve().parents[1]
if not (Path(__file__).parent / "export").is_dir() and (_checkout / "export").is_dir():
    __path__.append(str(_checkout))

_MODULES = {
    "config": ["ModelConfig"],
    "layers.attention": ["Attention", "BahdanauAttention", "DotAttention", "LuongAttention"],
    "layers.decoder": ["AttentionDecoder"],
    "layers.encoder": ["BidirectionalEncoder"],
    "layers.losses": ["GuidedAlignment", "MaskedCrossentropy", "RDropCrossentropy"],
    "layers.metrics": ["Perplexity", "TokenAccuracy"],
    "layers.optimizer": ["FusedAdam"],
    "layers.readout": ["MaxoutReadout", "TanhReadout", "TiedEmbedding"],
    "model": ["TranslationModel", "build_model"],
    "plots": ["plot_attention", "plot_translation"],
    "text.glossary": ["Constraint", "Glossary"],
    "text.tokenizer": ["Tokenizer"],
    "translation": ["TextTooLong", "Translation"],
    "translator": ["Translator"],
}

__all__ = [
    "Attention",
    "AttentionDecoder",
    "BahdanauAttention",
    "BidirectionalEncoder",
    "Constraint",
    "DotAttention",
    "FusedAdam",
    "Glossary",
    "GuidedAlignment",
    "LuongAttention",
    "MaskedCrossentropy",
    "MaxoutReadout",
    "ModelConfig",
    "Perplexity",
    "RDropCrossentropy",
    "TanhReadout",
    "TextTooLong",
    "TiedEmbedding",
    "TokenAccuracy",
    "Tokenizer",
    "Translation",
    "TranslationModel",
    "Translator",
    "build_model",
    "plot_attention",
    "plot_translation",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            _register()
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _register() -> None:
    """Registers layers, losses etc. for `keras.saving.load_model` if Keras is loaded."""
    if "keras" in sys.modules:
        for module in ("layers.losses", "layers.metrics", "model", "layers.optimizer"):
            importlib.import_module(f"{__name__}.{module}")


_register()
