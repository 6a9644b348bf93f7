"""Export to TensorFlow Serving and TensorFlow Lite, and the clients of exported models.

Names are imported lazily: the `.tflite` runner and the REST client do not require TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.export.client import TranslationClient
    from keras_attn_nmt.export.errors import ExportError
    from keras_attn_nmt.export.runner import TFLiteTranslator
    from keras_attn_nmt.export.saved_model import export_saved_model
    from keras_attn_nmt.export.saved_model_runner import SavedModelTranslator
    from keras_attn_nmt.export.serving_config import export_serving
    from keras_attn_nmt.export.tflite import export_tflite
    from keras_attn_nmt.export.web import export_web

_MODULES = {
    "ExportError": "errors",
    "SavedModelTranslator": "saved_model_runner",
    "TFLiteTranslator": "runner",
    "TranslationClient": "client",
    "export_saved_model": "saved_model",
    "export_serving": "serving_config",
    "export_tflite": "tflite",
    "export_web": "web",
}

__all__ = [
    "ExportError",
    "SavedModelTranslator",
    "TFLiteTranslator",
    "TranslationClient",
    "export_saved_model",
    "export_serving",
    "export_tflite",
    "export_web",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
