"""Optional dependencies: a failed import names the extra that installs the package.

The extras are defined in setup.cfg.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """Context manager for imports that require an extra of this package.

    Args:
        name: The extra: `"serve"`, `"device"`, `"train"`, `"study"`, `"text"` or `"beam"`.

    Raises:
        ImportError: A package is not installed; the message says how to install it.

    Example:
        >>> with extra("train"):
        ...     import sacrebleu
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(
            f"{error}; install it with: pip install 'keras_attn_nmt[{name}]'", name=error.name
        ) from error
