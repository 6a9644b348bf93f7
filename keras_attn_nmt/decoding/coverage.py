"""The coverage penalty, which ranks the hypotheses of a finished beam.

    score(Y, X) = log P(Y | X) / lp(Y) + cp(X; Y)
    cp(X; Y) = beta * sum_j log(min(sum_i alpha_ij, 1))

(Wu et al. 2016, eq. 14; alpha_ij is the attention of target position i to source position j.) A
hypothesis that leaves a part of the source unattended loses up to `beta * -log(LEAST)` for each
token, which the equation leaves without limit. The search itself continues hypotheses by the length
penalty alone: before the last step, what is not translated yet would count as lost.

Requires only NumPy, and Keras for tensors.

References:
    [Wu et al. 2016](https://arxiv.org/abs/1609.08144)
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The attention of a source token is taken for at least this.
LEAST = 1e-6


def coverage(attention: np.ndarray, weight: float) -> float:
    """cp(X; Y) of a translation.

    Args:
        attention: `(target_length, source_length)`, without padding.
        weight: beta.
    """
    if not weight or not attention.size:
        return 0.0
    return weight * float(np.log(np.clip(attention.sum(axis=0), LEAST, 1.0)).sum())


def coverage_scores(attention: Any, mask: Any, weight: float) -> Any:
    """cp(X; Y) of hypotheses, float32, `(batch, hypotheses)`.

    Args:
        attention: `(batch, hypotheses, target_length, source_length)`, 0 at padding.
        mask: `True` at real source positions, bool, `(batch, source_length)`.
        weight: beta.
    """
    from keras import ops

    covered = ops.clip(ops.sum(attention, axis=2), LEAST, 1.0)
    return weight * ops.sum(ops.where(ops.expand_dims(mask, 1), ops.log(covered), 0.0), axis=2)
