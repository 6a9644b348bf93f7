"""Cross-entropy over the words of a batch, and what is reported from it."""

import numpy as np


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """log p over one vector (K,)."""
    shifted = logits - logits.max()
    return shifted - np.log(np.exp(shifted).sum())


def crossentropy(labels: np.ndarray, logits: np.ndarray, smoothing: float = 0.0) -> float:
    """-sum_k q_k log p_k, summed over the words of labels (B, T), divided by their number.

    q = (1 - smoothing) one-hot + smoothing / K (Szegedy et al. 2016, arXiv:1512.00567, section 7).
    Padding (label 0) counts for nothing. A batch without a word has a loss of zero.
    """
    total, words = 0.0, 0
    for sentence_labels, sentence_logits in zip(labels, logits, strict=True):
        for label, scores in zip(sentence_labels, sentence_logits, strict=True):
            if label != 0:
                log_p = log_softmax(scores)
                q = np.full(len(scores), smoothing / len(scores))
                q[label] += 1.0 - smoothing
                total -= float(q @ log_p)
                words += 1
    return total / words if words else 0.0


def divergence(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """(KL(p || q) + KL(q || p)) / 2 of two readings' logits, the mean over the words of labels.

    Wu et al. 2021 (arXiv:2106.14448), section 2.
    """
    found = []
    for position in zip(*np.nonzero(labels), strict=True):
        log_p, log_q = log_softmax(one[position]), log_softmax(other[position])
        p, q = np.exp(log_p), np.exp(log_q)
        found.append((p @ (log_p - log_q) + q @ (log_q - log_p)) / 2)
    return float(np.mean(found)) if found else 0.0


def perplexity(labels: np.ndarray, logits: np.ndarray) -> float:
    """exp of the mean negative log-likelihood of a word, without smoothing."""
    return float(np.exp(crossentropy(labels, logits)))


def token_accuracy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Share of the words that have the highest score."""
    real = labels != 0
    return float((logits.argmax(-1) == labels)[real].mean()) if real.any() else 0.0
