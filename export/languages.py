"""What a model directory says about its languages."""

from __future__ import annotations

import json
import os
from pathlib import Path

from keras_attn_nmt.files import TRAINING


def languages(model: str | os.PathLike[str]) -> dict[str, str]:
    """`source_language` and `target_language`, as far as the training of the model said them."""
    try:
        report = json.loads(Path(model, TRAINING).read_text(encoding="utf-8"))
        data = report["recipe"]["data"]
        return {f"{side}_language": data[f"{side}_language"] for side in ("source", "target")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
