"""A disk that is full, without filling one."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk():
    """No file can grow beyond 4,096 bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
