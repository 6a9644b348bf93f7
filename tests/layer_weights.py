"""Maps weights of the layers to parameters of the oracle in `reference/`.

A Keras kernel acts on rows, the paper's matrices on columns: they are transposes.
"""

from typing import Any

import keras
import numpy as np

from keras_attn_nmt.model import ModelConfig

CELLS = {("gru", True): "gru_reset_after", ("gru", False): "gru", ("lstm", True): "lstm"}


class Values:
    """float64 copies of variables, one of each, so that what is cut out of them is a view.

    Where an entry of a copy is changed, every parameter that was made of it changes too.
    """

    def __init__(self) -> None:
        self._copies: dict[int, np.ndarray] = {}

    def __call__(self, variable: keras.Variable) -> np.ndarray:
        if id(variable) not in self._copies:
            value = keras.ops.convert_to_numpy(variable.value)
            self._copies[id(variable)] = value.astype("float64")
        return self._copies[id(variable)]


def cell_params(cell: keras.layers.Layer, values: Values) -> dict[str, np.ndarray]:
    """`reference.cells` parameters of a Keras `GRUCell` or `LSTMCell`."""
    lstm = isinstance(cell, keras.layers.LSTMCell)
    gates = ["_i", "_f", "_c", "_o"] if lstm else ["_z", "_r", ""]
    biases = values(cell.bias)
    rows = {"b": biases} if biases.ndim == 1 else {"b": biases[0], "d": biases[1]}
    params = {}
    for k, gate in enumerate(gates):
        columns = slice(k * cell.units, (k + 1) * cell.units)
        params["W" + gate] = values(cell.kernel)[:, columns].T
        params["U" + gate] = values(cell.recurrent_kernel)[:, columns].T
        for letter, row in rows.items():
            params[letter + gate] = row[columns]
    return params


def norm_params(layer: keras.layers.LayerNormalization, values: Values) -> dict[str, Any]:
    return {"g": values(layer.gamma), "b": values(layer.beta), "epsilon": layer.epsilon}


def encoder_params(encoder: keras.layers.Layer, values: Values) -> dict[str, Any]:
    directions = ("forward", "backward")
    return {
        "layers": [
            {
                direction: cell_params(rnn.cell, values)
                for direction, rnn in zip(directions, rnns, strict=False)
            }
            for rnns in encoder.rnns
        ]
    }


def attention_params(attention: keras.layers.Layer, values: Values) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if attention.query_projection is not None:
        params["W_a"] = values(attention.query_projection.kernel).T
        params["U_a"] = values(attention.key_projection.kernel).T
    elif attention.key_projection is not None:
        params["W_a"] = values(attention.key_projection.kernel).T
    if hasattr(attention, "score_vector"):
        params["v_a"] = values(attention.score_vector)[:, 0]
    if attention.layer_normalization:
        params["norm_query"] = norm_params(attention.query_normalization, values)
        params["norm_keys"] = norm_params(attention.key_normalization, values)
    return params


def decoder_params(decoder: keras.layers.Layer, values: Values) -> dict[str, Any]:
    kernel = values(decoder.initial_projection.kernel).T
    bias = values(decoder.initial_projection.bias)
    units = decoder.units
    params = {"rnn": cell_params(decoder.cell, values), "W_s": kernel[:units], "b_s": bias[:units]}
    if len(kernel) > units:
        params |= {"W_m": kernel[units:], "b_m": bias[units:]}
    if decoder.attention is not None:
        params["attention"] = attention_params(decoder.attention, values)
    if decoder.token_query is not None:
        params["W_y"] = values(decoder.token_query.kernel).T
    return params


def readout_params(
    readout: keras.layers.Layer, state_units: int, embedding_units: int, values: Values
) -> dict[str, Any]:
    """Parameters of either readout, without `W_o` and `b_o`."""
    kernel, bias = values(readout.projection.kernel).T, values(readout.projection.bias)
    if readout.pieces == 1:
        params: dict[str, Any] = {"W": kernel, "b": bias}
    else:
        ends = [state_units, state_units + embedding_units]
        params = dict(zip(("U_o", "V_o", "C_o"), np.split(kernel, ends, axis=1), strict=True))
        params["b_t"] = bias
    if readout.normalization is not None:
        params["norm"] = norm_params(readout.normalization, values)
    return params


def model_params(model: keras.Model, config: ModelConfig, values: Values) -> dict[str, Any]:
    """Parameters of a model that `build_model(config)` made."""
    embedding = model.get_layer("target_embedding")
    readout = readout_params(
        model.get_layer("readout"), config.decoder_units, config.embedding_units, values
    )
    if config.tie_target_embeddings:
        readout |= {"W_o": values(embedding.embeddings), "b_o": values(embedding.bias)}
    else:
        output = model.get_layer("output")
        readout |= {"W_o": values(output.kernel).T, "b_o": values(output.bias)}
    encoder = encoder_params(model.get_layer("encoder"), values)
    encoder["E"] = values(model.get_layer("source_embedding").embeddings).T
    return {
        "encoder": encoder,
        "decoder": decoder_params(model.get_layer("decoder"), values),
        "readout": readout,
        "E": values(embedding.embeddings).T,
    }


def model_options(config: ModelConfig) -> dict[str, str]:
    """Keyword arguments of `reference.model.teacher_forced` for `config`."""
    return {
        "cell": CELLS[config.cell, config.reset_after],
        "attention": config.attention,
        "readout": config.readout,
        "source_order": config.source_order,
    }
