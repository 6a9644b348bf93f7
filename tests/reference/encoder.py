"""The encoder (A.2.1): a bidirectional recurrent network, for one sentence."""

from typing import NamedTuple

import numpy as np

from .cells import Params, State, step, zero_state


class Encoding(NamedTuple):
    """What the encoder makes of one sentence of S positions.

    annotations: h_j = [h->_j ; h<-_j], shape (S, 2H), or h->_j, shape (S, H), where the encoder
        reads in one direction. Zero at padding.
    forward: the state h->_S after the last word; zero where there is no word.
    backward: the state h<-_1 after the first word, read from the right; None in one direction.

    Both states are tuples: an LSTM's contains output and cell.
    """

    annotations: np.ndarray
    forward: State
    backward: State | None


def read(
    cell: str, p: Params, xs: np.ndarray, real: np.ndarray, order: range
) -> tuple[np.ndarray, State]:
    """Run one network over the positions in `order`; padding changes no state and reads as zero."""
    state = zero_state(cell, p)
    outputs = np.zeros((len(xs), len(state[0])))
    for j in order:
        if real[j]:
            state = step(cell, p, xs[j], state)
            outputs[j] = state[0]
    return outputs, state


def encode_vectors(p: Params, xs: np.ndarray, real: np.ndarray, *, cell: str) -> Encoding:
    """Encode embedded words `xs`, shape (S, m).

    `p["layers"]` is a list, lowest layer first, of `{"forward": ..., "backward": ...}`; `backward`
    is absent where the encoder reads in one direction. A layer reads the annotations of the one
    below it.
    """
    length = len(xs)
    for layer in p["layers"]:
        annotations, forward = read(cell, layer["forward"], xs, real, range(length))
        backward = None
        if "backward" in layer:
            from_right, backward = read(
                cell, layer["backward"], xs, real, range(length - 1, -1, -1)
            )
            annotations = np.concatenate([annotations, from_right], axis=1)
        xs = annotations
    return Encoding(xs, forward, backward)


def embed(E: np.ndarray, words: np.ndarray) -> np.ndarray:
    """E x_j for every word of one sentence, shape (S, m)."""
    return np.stack([E[:, word] for word in words])


def encode(p: Params, words: np.ndarray, *, cell: str) -> Encoding:
    """Encode one sentence of word numbers, shape (S,), with the embedding `p["E"]`."""
    return encode_vectors(p, embed(p["E"], words), words != 0, cell=cell)
