"""Shared fixtures: quiet TensorFlow, seeded random numbers."""

import os

# Before anything imports a backend.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Most of the time on JAX goes into compiling for tiny arrays.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import numpy as np
import pytest


@pytest.hookimpl(tryfirst=True)  # Before xdist reads the marks.
def pytest_collection_modifyitems(items):
    """Distributes slow tests first and one by one, the other tests file by file."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        # Tests of one file share its fixtures.
        if not any(map(item.get_closest_marker, ("slow", "xdist_group"))):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
