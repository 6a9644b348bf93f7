"""Attention: what one decoder state sees of one sentence."""

import numpy as np

from .cells import Params
from .normalization import layer_norm


def additive_score(p: Params, s: np.ndarray, h: np.ndarray, shift: np.ndarray | float) -> float:
    """a(s_{i-1}, h_j) = v_a^T tanh(W_a s_{i-1} + U_a h_j) (A.1.2).

    `shift`, zero in the paper, is added to W_a s_{i-1}.

    With `norm_query` and `norm_keys`, both products are layer-normalised before they are added.
    """
    query = layer_norm(p.get("norm_query"), p["W_a"] @ s + shift)
    key = layer_norm(p.get("norm_keys"), p["U_a"] @ h)
    return float(p["v_a"] @ np.tanh(query + key))


def multiplicative_score(
    p: Params, s: np.ndarray, h: np.ndarray, shift: np.ndarray | float
) -> float:
    """s^T W_a h, "general" of Luong, Pham & Manning 2015 (arXiv:1508.04025, eq. 8).

    `shift`, zero in the paper, is added to s.

    With `norm_query` and `norm_keys`, `s` and `W_a h` are layer-normalised before their product,
    which is then divided by the root of their length n (Vaswani et al. 2017, arXiv:1706.03762,
    eq. 1), as products of normalised vectors are of the size of n.
    """
    s, key = s + shift, p["W_a"] @ h
    if "norm_keys" not in p:
        return float(s @ key)
    query = layer_norm(p["norm_query"], s)
    return float(query @ layer_norm(p["norm_keys"], key)) / np.sqrt(len(s))


def dot_score(p: Params, s: np.ndarray, h: np.ndarray, shift: np.ndarray | float) -> float:
    """s^T h, "dot" of Luong et al. 2015 (eq. 8): "general" with the identity for W_a."""
    return multiplicative_score({**p, "W_a": np.eye(len(h))}, s, h, shift)


# By the names of `ModelConfig.attention`.
SCORES = {"bahdanau": additive_score, "luong": multiplicative_score, "dot": dot_score}


def attend(
    score: str,
    p: Params,
    s: np.ndarray,
    annotations: np.ndarray,
    real: np.ndarray,
    shift: np.ndarray | float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """The context c_i = sum_j alpha_ij h_j, shape (2H,), and the weights alpha_i, shape (S,).

    alpha_ij = exp(e_ij) / sum_k exp(e_ik) over the words; padding weighs nothing. A sentence
    without a word has zero weights and so a zero context.
    """
    weights = np.zeros(len(annotations))
    positions = [j for j in range(len(annotations)) if real[j]]
    if positions:
        e = np.array([SCORES[score](p, s, annotations[j], shift) for j in positions])
        exp = np.exp(e - e.max())
        weights[positions] = exp / exp.sum()
    context = np.zeros(annotations.shape[1])
    for j in range(len(annotations)):
        context += weights[j] * annotations[j]
    return context, weights
