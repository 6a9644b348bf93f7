"""The decoder (A.2.2) under teacher forcing, for one sentence."""

from typing import NamedTuple

import numpy as np

from .attention import attend
from .cells import Params, State, step
from .encoder import Encoding


class Decoding(NamedTuple):
    """The states s_1..s_T, the states before them s_0..s_{T-1}, and each step's c_i and alpha_i.

    Shapes (T, units), (T, units), (T, 2H) and (T, S).
    """

    states: np.ndarray
    previous_states: np.ndarray
    contexts: np.ndarray
    weights: np.ndarray


def initial_state(p: Params, encoding: Encoding, *, cell: str) -> State:
    """s_0 = tanh(W_s h<-_1) (A.2.2); from h->_S where the encoder reads in one direction.

    The paper has no LSTM; the memory of one starts as its output does, with matrix `W_m`.
    """
    last = encoding.backward if encoding.backward is not None else encoding.forward
    s = np.tanh(p["W_s"] @ last[0] + p.get("b_s", 0.0))
    if cell == "lstm":
        return s, np.tanh(p["W_m"] @ last[0] + p.get("b_m", 0.0))
    return (s,)


def sentence_vector(encoding: Encoding) -> np.ndarray:
    """The fixed-length vector [h->_S ; h<-_1] of a model without attention; h->_S in one direction.

    The basic encoder-decoder of section 2.1, q({h_1..h_T}), as the last state of each direction.
    """
    states = [encoding.forward] + ([encoding.backward] if encoding.backward is not None else [])
    return np.concatenate([state[0] for state in states])


def decode(
    p: Params, encoding: Encoding, real: np.ndarray, es: np.ndarray, *, cell: str, attention: str
) -> Decoding:
    """Run over the embeddings E y_0..E y_{T-1} of the previous words, shape (T, m).

    c_i by attention from s_{i-1}, then s_i = RNN(s_{i-1}, [E y_{i-1}; c_i]). `attention` is
    a key of `reference.attention.SCORES` or "none": without attention every step is given the
    sentence vector, and its weights are zero. With "W_y" in `p`, the query is shifted by
    W_y E y_{i-1}.
    """
    state = initial_state(p, encoding, cell=cell)
    states, previous_states, contexts, weights = [], [], [], []
    for e in es:
        s_previous = state[0]
        if attention == "none":
            c, alpha = sentence_vector(encoding), np.zeros(len(real))
        else:
            shift = p["W_y"] @ e if "W_y" in p else 0.0
            c, alpha = attend(
                attention, p["attention"], s_previous, encoding.annotations, real, shift
            )
        state = step(cell, p["rnn"], np.concatenate([e, c]), state)
        states.append(state[0])
        previous_states.append(s_previous)
        contexts.append(c)
        weights.append(alpha)
    return Decoding(*(np.stack(each) for each in (states, previous_states, contexts, weights)))
