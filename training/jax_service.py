"""JAX's coordination service in a process of its own, started by `training/distribution.py`.

If process 0 ran it, its death would abort all others before they could say who is missing. Run as a
script: nothing of the package is imported.
"""

import importlib
import sys
import time

# Seconds that the others have to end after process 0, which JAX would abort.
_GRACE = 60

if __name__ == "__main__":
    try:
        library = importlib.import_module("jaxlib._jax")
    except ImportError:  # Before JAX 0.6.
        library = importlib.import_module("jaxlib.xla_extension")

    address, processes = sys.argv[1], int(sys.argv[2])
    service = library.get_distributed_runtime_service(address, processes)
    print("ready", flush=True)
    # Until process 0 ends or says that all have left.
    if not sys.stdin.read():
        time.sleep(_GRACE)
