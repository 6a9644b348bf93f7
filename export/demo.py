"""The demo's last part: its model as a SavedModel and as a `.tflite` file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.saved_model import export_saved_model
from keras_attn_nmt.export.tflite import export_tflite

# The model as a server has it, and as an app.
_SAVED_MODEL = """
import json, sys
from keras_attn_nmt.export.saved_model_check import SessionModel
found = SessionModel(sys.argv[1]).run("serving_default", {"text": json.loads(sys.argv[2])})
print(json.dumps([text.decode() for text in found["translation"]]))
"""
_TFLITE = """
import json, sys
from keras_attn_nmt.export.runner import TFLiteTranslator
runner = TFLiteTranslator(sys.argv[1])
found = runner(json.loads(sys.argv[2]))
print(json.dumps([each.text for each in found]))
"""


def export_demo(output: str | os.PathLike[str], translations: Sequence[dict[str, Any]]) -> bool:
    """Exports `output/model` both ways, and translates with both in processes of their own.

    Args:
        output: What `run_demo` wrote; gets `served/1/` and `demo.tflite`.
        translations: Of the demo's sentences, with `source`, `translation` and `lengths`, how
            many tokens both have; gets `saved_model` and `tflite`.

    Returns:
        Whether all three gave the same translations.
    """
    output = Path(output)
    served = export_saved_model(output / "model", output / "served")
    # Room for the longest, as its user may have given one of any length.
    longest = max([64, *(max(each["lengths"]) for each in translations)])
    device = export_tflite(
        output / "model",
        output / "demo.tflite",
        max_source_length=longest,
        max_target_length=longest,
    )
    sources = [each["source"] for each in translations]
    same = True
    for name, program, path in (
        ("saved_model", _SAVED_MODEL, served),
        ("tflite", _TFLITE, device),
    ):
        for each, text in zip(translations, _run(program, path, sources), strict=True):
            each[name] = text
            same &= text == each["translation"]
    return same


def _run(program: str, path: Path, sources: list[str]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", program, str(path.resolve()), json.dumps(sources)],
        cwd=path.parent,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        reason = done.stderr.strip().rpartition("\n")[2]
        raise ExportError(f"{path} could not be run: {reason}")
    return json.loads(done.stdout.splitlines()[-1])
