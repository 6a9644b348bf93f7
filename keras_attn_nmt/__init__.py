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
    from keras_attn_nmt.model import build_model
    from keras_attn_nmt.plots import plot_attention, plot_translation
    from keras_attn_nmt.text.tokenizer import Tokenizer
    from keras_attn_nmt.translation import TextTooLong, Translation
    from keras_attn_nmt.translator import Translator

# In a checkout, Python imports this folder instead of the installed package: add the parent folder,
# which contains `training` and `export`.
_checkout = Path(__file__).resolve().parents[1]
if not (Path(__file__).parent / "export").is_dir() and (_checkout / "export").is_dir():
    __path__.append(str(_checkout))

_MODULES = {
    "Attention": "layers.attention",
    "DotAttention": "layers.attention",
    "AttentionDecoder": "layers.decoder",
    "BahdanauAttention": "layers.attention",
    "BidirectionalEncoder": "layers.encoder",
    "FusedAdam": "layers.optimizer",
    "GuidedAlignment": "layers.losses",
    "LuongAttention": "layers.attention",
    "MaskedCrossentropy": "layers.losses",
    "MaxoutReadout": "layers.readout",
    "ModelConfig": "config",
    "Perplexity": "layers.metrics",
    "RDropCrossentropy": "layers.losses",
    "TanhReadout": "layers.readout",
    "TiedEmbedding": "layers.readout",
    "TokenAccuracy": "layers.metrics",
    "Tokenizer": "text.tokenizer",
    "TextTooLong": "translation",
    "Translation": "translation",
    "Translator": "translator",
    "build_model": "model",
    "plot_attention": "plots",
    "plot_translation": "plots",
}

__all__ = [
    "Attention",
    "AttentionDecoder",
    "BahdanauAttention",
    "BidirectionalEncoder",
    "DotAttention",
    "FusedAdam",
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
    "Translator",
    "build_model",
    "plot_attention",
    "plot_translation",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    _register()
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _register() -> None:
    """Registers layers, losses etc. for `keras.saving.load_model` if Keras is loaded."""
    if "keras" in sys.modules:
        for module in ("layers.losses", "layers.metrics", "model", "layers.optimizer"):
            importlib.import_module(f"{__name__}.{module}")


_register()
