"""Layer normalisation (Ba, Kiros & Hinton 2016, arXiv:1607.06450, eq. 4)."""

import numpy as np

from .cells import Params


def layer_norm(p: Params | None, a: np.ndarray) -> np.ndarray:
    """g * (a - mean) / sqrt(variance + epsilon) + b over one vector; `a` itself where p is None.

    Keys of `p`: `g` and `b`, shape of `a`, and `epsilon`, which keeps a constant vector finite (the
    paper has none; every implementation chooses its own).
    """
    if p is None:
        return a
    mean = a.mean()
    variance = ((a - mean) ** 2).mean()
    return p["g"] * (a - mean) / np.sqrt(variance + p["epsilon"]) + p["b"]
