"""Lays the package out as it is installed, so that mkdocstrings reads it without importing it."""

import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# The `paths` of mkdocstrings in mkdocs.yml.
LAID_OUT = ROOT / "build" / "documented"


def on_startup(**_: Any) -> None:
    """Copies the folders to where `package_dir` in setup.cfg installs them."""
    package = LAID_OUT / "keras_attn_nmt"
    shutil.rmtree(LAID_OUT, ignore_errors=True)
    shutil.copytree(ROOT / "keras_attn_nmt", package)
    for name in ("training", "export"):
        shutil.copytree(ROOT / name, package / name)
