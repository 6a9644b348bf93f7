"""JAX's coordination service in a process of its own, started by `training/distribution.py`.

If process 0 ran it, its death would abort all others before they could say who is missing. Run as a
script: nothing of the package is imported.
"""

import sys
import time

# Seconds that the others have to end after process 0, which JAX would abort.
_GRACE = 60

if __name__ == "__main__":
    try:
        from jaxlib import _jax as library
    except ImportError:  # Before JAX 0.6.
        from jaxlib import xla_extension as library

    address, processes = sys.argv[1], int(sys.argv[2])
    service = library.get_distributed_runtime_service(address, processes)
    print("ready", flush=True)
    # Until process 0 ends or says that all have left.
    if not sys.stdin.read():
        time.sleep(_GRACE)
