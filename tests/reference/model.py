"""The whole model under teacher forcing, for a batch, sentence by sentence."""

import numpy as np

from .cells import Params
from .decoder import decode
from .encoder import embed, encode
from .readout import READOUTS, word_scores


def reverse_words(words: np.ndarray) -> np.ndarray:
    """Words in the opposite order (Sutskever et al. 2014, section 3.3); padding stays right."""
    real = words[words != 0]
    return np.concatenate([real[::-1], words[len(real) :]])


def repeat_words(words: np.ndarray) -> np.ndarray:
    """Words twice, one reading after the other (Zaremba & Sutskever 2014, arXiv:1410.4615).

    Shape (2 S,): the padding of both readings stands on the right.
    """
    real = words[words != 0]
    return np.concatenate([real, real, np.zeros(2 * (len(words) - len(real)), words.dtype)])


ORDERS = {"forward": lambda words: words, "reversed": reverse_words, "twice": repeat_words}


def teacher_forced(
    p: Params,
    source: np.ndarray,
    target: np.ndarray,
    *,
    cell: str,
    attention: str,
    readout: str,
    source_order: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (B, T, K) and attention weights (B, T, S) for source (B, S) and target (B, T).

    `target` holds the previous words y_0..y_{T-1}. Keys of `p`: "encoder", "decoder", "readout" and
    the target embedding "E". Another order than "forward" is for models without attention, whose
    weights are zero in any order.
    """
    logits, weights = [], []
    for x, y in zip(source, target, strict=True):
        encoding = encode(p["encoder"], ORDERS[source_order](x), cell=cell)
        es = embed(p["E"], y)
        decoding = decode(p["decoder"], encoding, x != 0, es, cell=cell, attention=attention)
        sentence = []
        for s, s_previous, c, e in zip(
            decoding.states, decoding.previous_states, decoding.contexts, es, strict=True
        ):
            t = READOUTS[readout](p["readout"], s_previous, s, e, c)
            sentence.append(word_scores(p["readout"], t))
        logits.append(np.stack(sentence))
        weights.append(decoding.weights)
    return np.stack(logits), np.stack(weights)
