"""Freed memory stays in the process, if the C library supports it."""

import platform
import subprocess
import sys
import types

import keras
import pytest

from keras_attn_nmt import memory

PROGRAM = """
import resource
from keras_attn_nmt.memory import keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 2**20

print(keep_freed_memory())
block = bytearray(300 * 2**20)
held = resident()
del block
print(held - resident() < 100)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of the GNU C library")
def test_freed_memory_stays_in_the_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True"], done.stderr


def test_only_tensorflow_pools_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    port = types.SimpleNamespace(IsMklEnabled=lambda: True)
    monkeypatch.setitem(sys.modules, "tensorflow.python.util._pywrap_util_port", port)
    for backend in ("tensorflow", "jax"):
        monkeypatch.setattr(keras.backend, "backend", lambda name=backend: name)
        assert memory._tensorflow_pools_tensors() is (backend == "tensorflow")
