"""One step of a recurrent network, for one sentence.

Every step takes the input `x` (inputs,) and the state, a tuple of vectors (units,), and gives the
next state. The first vector of the state is the output.

The update gate. The paper (A.1.1, A.2.1) writes `h = (1 - z) h_prev + z h~`; Cho et al. 2014
(arXiv:1406.1078, eq. 7), Keras and cuDNN write `h = z h_prev + (1 - z) h~`, which is used here.
The two are one model: as `1 - sigmoid(a) = sigmoid(-a)`, either becomes the other when the signs of
`W_z`, `U_z` and `b_z` are turned.
"""

import numpy as np

Params = dict
State = tuple[np.ndarray, ...]


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-a))


def gru_step(p: Params, x: np.ndarray, state: State) -> State:
    """The paper's gated unit (A.1.1): the reset gate acts before the recurrent product.

    z = sigmoid(W_z x + U_z h),  r = sigmoid(W_r x + U_r h),  h~ = tanh(W x + U [r * h])

    In the decoder `x` is `[E y; c]`, so that the paper's `W` and `C` stand side by side: [W C].
    """
    (h,) = state
    z = sigmoid(p["W_z"] @ x + p["U_z"] @ h + p.get("b_z", 0.0))
    r = sigmoid(p["W_r"] @ x + p["U_r"] @ h + p.get("b_r", 0.0))
    h_tilde = np.tanh(p["W"] @ x + p["U"] @ (r * h) + p.get("b", 0.0))
    return (z * h + (1.0 - z) * h_tilde,)


def gru_reset_after_step(p: Params, x: np.ndarray, state: State) -> State:
    """cuDNN's form (Keras `reset_after=True`): the reset gate acts after the recurrent product.

    h~ = tanh(W x + b + r * (U h + d))

    Input biases are `b`, recurrent biases `d`.
    """
    (h,) = state
    z = sigmoid(p["W_z"] @ x + p.get("b_z", 0.0) + p["U_z"] @ h + p.get("d_z", 0.0))
    r = sigmoid(p["W_r"] @ x + p.get("b_r", 0.0) + p["U_r"] @ h + p.get("d_r", 0.0))
    h_tilde = np.tanh(p["W"] @ x + p.get("b", 0.0) + r * (p["U"] @ h + p.get("d", 0.0)))
    return (z * h + (1.0 - z) * h_tilde,)


def lstm_step(p: Params, x: np.ndarray, state: State) -> State:
    """Hochreiter & Schmidhuber's cell with forget gate and without peepholes, as in Keras.

    i, f, o = sigmoid(W_g x + U_g h + b_g);  c' = f c + i tanh(W_c x + U_c h + b_c);  h' = o tanh c'
    """
    h, c = state
    i = sigmoid(p["W_i"] @ x + p["U_i"] @ h + p.get("b_i", 0.0))
    f = sigmoid(p["W_f"] @ x + p["U_f"] @ h + p.get("b_f", 0.0))
    c_tilde = np.tanh(p["W_c"] @ x + p["U_c"] @ h + p.get("b_c", 0.0))
    o = sigmoid(p["W_o"] @ x + p["U_o"] @ h + p.get("b_o", 0.0))
    c_next = f * c + i * c_tilde
    return (o * np.tanh(c_next), c_next)


STEPS = {"gru": gru_step, "gru_reset_after": gru_reset_after_step, "lstm": lstm_step}


def step(cell: str, p: Params, x: np.ndarray, state: State) -> State:
    """One step of `cell`: "gru" (the paper's), "gru_reset_after" or "lstm"."""
    return STEPS[cell](p, x, state)


def units(p: Params) -> int:
    """Size of the state, read from any of the recurrent matrices."""
    return next(matrix for name, matrix in p.items() if name.startswith("U")).shape[0]


def zero_state(cell: str, p: Params) -> State:
    """Where every encoder starts (A.2.1: h_0 = 0)."""
    return tuple(np.zeros(units(p)) for _ in range(2 if cell == "lstm" else 1))
