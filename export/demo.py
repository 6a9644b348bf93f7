"""The export step of the demo: SavedModel, `.tflite` file and web page."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_attn_nmt.export.errors import ExportError
from keras_attn_nmt.export.saved_model import export_saved_model
from keras_attn_nmt.export.tflite import export_tflite
from keras_attn_nmt.export.web import export_web

logger = logging.getLogger(__name__)

# Programs that run the exported models.
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
    """Exports `output/model`, and translates with SavedModel and `.tflite` in separate processes.

    Args:
        output: Output directory of `run_demo`; `served/1/`, `demo.tflite` and, if the runtime of
            the page can be fetched, `web/index.html` are added.
        translations: Translations of the demo, with `source`, `translation` and `lengths` in
            tokens; `saved_model` and `tflite` are added.

    Returns:
        Whether SavedModel and `.tflite` file agree with the trained model.
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
    try:
        page = export_web(
            output / "model",
            output / "web",
            single_file=True,
            steps=True,
            examples=sources,
            max_source_length=longest,
            max_target_length=longest,
        )
        logger.info("  open %s in a browser to translate there", page)
    except (OSError, ExportError) as error:
        # Its runtime is fetched from npm; the demo is complete without.
        logger.warning("no web page: %s", error)
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
