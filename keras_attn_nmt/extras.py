"""Optional dependencies: an import that fails names the extra that installs it.

setup.cfg says which package belongs to which extra, and why.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str) -> Iterator[None]:
    """A block of imports that an extra of this package installs.

    Args:
        name: The extra: `"serve"`, `"device"`, `"train"` or `"study"`.

    Raises:
        ImportError: A package is not installed; says which one, and how to install it.

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
