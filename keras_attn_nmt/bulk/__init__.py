"""Bulk translation on Apache Beam: of files, or in a pipeline of one's own.

Needs the extra `beam`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.bulk.job import BulkReport, bulk_translate
    from keras_attn_nmt.bulk.models import BulkOptions, Outcome
    from keras_attn_nmt.bulk.runners import JobFailed
    from keras_attn_nmt.bulk.transform import Translate

_MODULES = {
    "BulkOptions": "models",
    "BulkReport": "job",
    "JobFailed": "runners",
    "Outcome": "models",
    "Translate": "transform",
    "bulk_translate": "job",
}

__all__ = ["BulkOptions", "BulkReport", "JobFailed", "Outcome", "Translate", "bulk_translate"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
