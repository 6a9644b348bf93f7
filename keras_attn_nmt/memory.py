"""How the process gets and returns memory, which is a good part of the time of a step on a CPU."""

from __future__ import annotations

import ctypes
import sys

# malloc.h of the GNU C library.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -2, -3, -8
_NEVER = 2**31 - 1
# The most that older releases of the library take for _MMAP_THRESHOLD.
_OLD_MAXIMUM = 2**25
_GROWTH = 256 * 2**20


def keep_freed_memory() -> bool:
    """Keeps freed memory in the process, for the next step.

    TensorFlow allocates and frees the tensors of each step. The GNU C library gives large ones back
    to the system at once, and the system clears every page of them before the next use: more than
    a third of the CPU time of a training, where the peak of memory grew by a twentieth.

    With Python 3.11 and later, TensorFlow undoes this whenever it makes a data set of a Python
    generator: call it again before each step, which costs nothing to speak of.

    Returns:
        Whether this system's C library can be told so; where not, nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # First: the others alone would fix the threshold where it is, and make it all worse.
    if not (mallopt(_MMAP_THRESHOLD, _NEVER) or mallopt(_MMAP_THRESHOLD, _OLD_MAXIMUM)):
        return False
    for name, value in ((_ARENA_MAX, 1), (_TRIM_THRESHOLD, _NEVER), (_TOP_PAD, _GROWTH)):
        mallopt(name, value)
    return True
