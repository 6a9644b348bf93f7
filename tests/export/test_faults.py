"""Failed exports keep existing files and leave no partial results."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import types
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from full_disk import full_disk

from keras_attn_nmt import Tokenizer, cli
from keras_attn_nmt.export import (
    TFLiteTranslator,
    export_saved_model,
    export_tflite,
    saved_model,
    tflite,
)

# Files cannot grow beyond a limit, which is to a program what a full disk is.
ON_A_FULL_DISK = """
import resource, sys
from keras_attn_nmt.cli import main
import tensorflow, tensorflow_text
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def existing_file(device_file, tmp_path):
    """A file that was exported before, with its vocabularies."""
    shutil.copytree(device_file.parent, tmp_path / "device")
    return tmp_path / "device" / device_file.name


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_write_error_keeps_the_served_version(model_directory, versions, writes, expects):
    before = contents(versions)

    def full(directory):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    writes(full)
    expects()
    with pytest.raises(OSError, match=r"Could not write .*: No space left on device"):
        export_saved_model(model_directory, versions)
    assert contents(versions) == before
    assert [path.name for path in versions.iterdir()] == ["1"]


@pytest.mark.slow
def test_full_disk_keeps_the_served_version(model_directory, versions):
    before = contents(versions)
    arguments = ["export", "saved-model", str(model_directory), "--output", str(versions)]
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "error: Could not write" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(versions) == before


def test_a_full_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with full_disk(), pytest.raises(OSError, match=f"File too large: '{tmp_path}"):
        saved_model._check(tmp_path, {"translate": {"score": np.zeros(4096)}})


@pytest.mark.slow
def test_full_disk_keeps_the_existing_tflite_file(model_directory, existing_file):
    before = contents(existing_file.parent)
    arguments = ["export", "tflite", str(model_directory), "--output", str(existing_file)]
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "error: Could not write" in done.stderr
    assert "Traceback" not in done.stderr
    assert contents(existing_file.parent) == before
    TFLiteTranslator(existing_file)


def test_unwritable_vocabulary_keeps_all_existing_files(
    model_directory, existing_file, monkeypatch
):
    before = contents(existing_file.parent)

    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Tokenizer, "save", full)
    with pytest.raises(OSError, match="No space left"):
        export_tflite(model_directory, existing_file, signatures=["translate"])
    assert contents(existing_file.parent) == before


def test_write_error_names_the_tflite_file(model_directory, tmp_path, monkeypatch):
    def full(self, *arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tflite, "_module", lambda *_: types.SimpleNamespace(functions={}))
    monkeypatch.setattr(tflite, "_convert", lambda *_: b"a model")
    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left") as raised:
        export_tflite(model_directory, tmp_path / "small.tflite")
    assert raised.value.filename == str(tmp_path / "small.tflite")
    assert not contents(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("loaded_already")
def test_killed_export_publishes_no_partial_version(model_directory, versions, writes, expects):
    before = contents(versions)
    arguments = ["export", "saved-model", str(model_directory), "--output", str(versions)]
    program = [sys.executable, "-m", "keras_attn_nmt.cli", *arguments]
    export = subprocess.Popen(program, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(versions.glob(".*.unfinished/saved_model.pb")):
        assert export.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    export.send_signal(signal.SIGKILL)
    export.wait()
    assert [name for name in os.listdir(versions) if not name.startswith(".")] == ["1"]
    assert contents(versions / "1") == {path: before[path] for path in before}
    # The next one takes no harm from what the killed one left.
    writes(lambda directory: None)
    expects()
    assert cli.main([*arguments, "--version", "2"]) == 0
    assert (versions / "2").is_dir()


@pytest.mark.parametrize(
    ("what", "output"), [("saved-model", "served"), ("tflite", "small.tflite")]
)
def test_damaged_model_directory_is_named(model_directory, tmp_path, capsys, what, output):
    damaged = tmp_path / "model"
    shutil.copytree(model_directory, damaged)
    (damaged / "config.json").write_text("{")
    assert cli.main(["export", what, str(damaged), "--output", str(tmp_path / output)]) == 1
    assert str(damaged / "config.json") in capsys.readouterr().err
    assert not (tmp_path / output).exists()
