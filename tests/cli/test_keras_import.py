"""The command line's import of Keras."""

import json
import os
import re
import subprocess
import sys
import tempfile

import pytest

from keras_attn_nmt import cli

PROGRAM = """
import sys
from keras_attn_nmt.cli.keras_import import OPTIONAL, import_keras
import_keras()
import keras, matplotlib
print(keras.backend.backend(), sys.modules.get("jax") is not None, set(OPTIONAL) & set(sys.modules))
"""


@pytest.mark.parametrize(
    ("backend", "configured"),
    [("tensorflow", False), pytest.param("jax", True, marks=pytest.mark.slow)],
)
def test_only_what_the_backend_needs_is_imported(backend, configured, tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": backend, "KERAS_HOME": str(tmp_path)}
    if configured:
        del environment["KERAS_BACKEND"]
        (tmp_path / "keras.json").write_text(json.dumps({"backend": backend}))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == f"{backend} {backend == 'jax'} {{'matplotlib'}}", done.stderr


def test_a_backend_that_is_not_installed_is_named():
    program = "import sys; sys.modules['torch'] = None; from keras_attn_nmt import cli; "
    command = "['train', 'phrases', '--output', 'model', '--processes', '2']"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}sys.exit(cli.main({command}))"],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "torch"},
    )
    assert done.returncode == 1
    assert "backend is torch (KERAS_BACKEND or keras.json), which is not installed" in done.stderr


def test_without_a_folder_for_temporary_files_the_error_says_what_to_set(monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    assert cli.main(["doctor"]) == 1
    assert re.search(r"'/proc/none'\]: none can.*TMPDIR.*--tmpfs", capsys.readouterr().err)
