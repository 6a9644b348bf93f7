"""Shared fixtures: quiet TensorFlow, seeded random numbers."""

import os
import shutil
import subprocess
import tarfile

# Before anything imports a backend.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time on JAX goes into compiling for tiny arrays.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np
import pytest


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    """Distributes slow tests first and one by one, the other tests file by file."""
    # Small files last, so that both processes end at about the same time.
    items.sort(key=lambda item: (not item.get_closest_marker("slow"), -item.path.stat().st_size))
    for item in items:
        # Tests of one file share its fixtures.
        if not any(map(item.get_closest_marker, ("slow", "xdist_group"))):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe-core, which finds what keeps people out of a page."""
    if not shutil.which("npm"):
        pytest.skip("no npm here to get axe-core with")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "pack", "--silent", "--prefer-offline", "axe-core@4.10.3"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm cannot get axe-core: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()
