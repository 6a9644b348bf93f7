"""The readout: what a decoder step knows, one vector `t`, and from it a score for every word."""

import numpy as np

from .cells import Params
from .normalization import layer_norm


def maxout_readout(
    p: Params, s_previous: np.ndarray, s: np.ndarray, e: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """The paper's deep output with one maxout layer (A.2.2; Goodfellow et al. 2013), shape (l,).

        t~_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i,   t_i = [max(t~_{i,2j-1}, t~_{i,2j})]_{j=1..l}

    It reads the state *before* the step, s_{i-1}, which is the paper's, not s_i. With `norm`, t~_i
    is layer-normalised.
    """
    t_tilde = p["U_o"] @ s_previous + p["V_o"] @ e + p["C_o"] @ c + p.get("b_t", 0.0)
    t_tilde = layer_norm(p.get("norm"), t_tilde)
    l = len(t_tilde) // 2  # noqa: E741, the paper's letter
    return np.array([max(t_tilde[2 * j - 2], t_tilde[2 * j - 1]) for j in range(1, l + 1)])


def tanh_readout(
    p: Params, s_previous: np.ndarray, s: np.ndarray, e: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """t_i = tanh(W [s_i; E y_{i-1}; c_i] + b), from the state *after* the step.

    With `norm`, layer normalisation comes before the tanh.
    """
    return np.tanh(layer_norm(p.get("norm"), p["W"] @ np.concatenate([s, e, c]) + p.get("b", 0.0)))


READOUTS = {"maxout": maxout_readout, "tanh": tanh_readout}


def word_scores(p: Params, t: np.ndarray) -> np.ndarray:
    """y^T W_o t for every word y, shape (K,): p(y_i) is proportional to its exp (A.2.2).

    With output weights tied to the target embedding (Press & Wolf 2017, arXiv:1608.05859) `W_o` is
    `E` transposed.
    """
    return p["W_o"] @ t + p.get("b_o", 0.0)
