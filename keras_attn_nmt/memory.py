"""Tuning of the C library's memory allocator for training on a CPU."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_NEVER = 2**31 - 1
# Maximum _MMAP_THRESHOLD of older releases of the library.
_OLD_MAXIMUM = 2**25
_GROWTH = 256 * 2**20
# With oneDNN, TensorFlow pools tensors of 256 KiB and more itself and never returns them. Larger
# blocks are scratch memory of single operations, between which long-lived kernels would be placed.
_POOLED_MMAP_THRESHOLD, _POOLED_GROWTH = 2**20, 16 * 2**20


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process for the next step.

    TensorFlow allocates and frees the tensors of each step. The GNU C library returns large ones to
    the system, which clears every page before the next use: more than a third of the CPU time of
    training. With oneDNN, TensorFlow keeps tensors itself, and only smaller blocks are kept here.

    With Python 3.11 and later, TensorFlow resets this whenever it creates a data set from a Python
    generator: call it again before each step, at negligible cost.

    Returns:
        Whether the C library supports it; otherwise nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    pooled = _tensorflow_pools_tensors()
    threshold = _POOLED_MMAP_THRESHOLD if pooled else _NEVER
    # First, as setting any of the others freezes the dynamic threshold.
    if not (mallopt(_MMAP_THRESHOLD, threshold) or mallopt(_MMAP_THRESHOLD, _OLD_MAXIMUM)):
        return False
    growth = _POOLED_GROWTH if pooled else _GROWTH
    trim = _GROWTH if pooled else _NEVER
    for name, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, trim), (_TOP_PAD, growth)):
        mallopt(name, value)
    return True


def _tensorflow_pools_tensors() -> bool:
    """Whether TensorFlow, if imported, runs with oneDNN, whose allocator keeps freed tensors."""
    keras = sys.modules.get("keras")
    if keras and keras.backend.backend() != "tensorflow":
        return False  # TensorFlow is there for tf.data alone.
    port = sys.modules.get("tensorflow.python.util._pywrap_util_port")
    # Not a public function of TensorFlow, which has none.
    return bool(getattr(port, "IsMklEnabled", bool)())
