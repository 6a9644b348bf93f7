"""`ModelConfig`: the validated hyperparameters of a model, stored as `config.json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.checks import check_known, check_whole, is_number
from keras_attn_nmt.reading import parse_object

CHOICES = {
    "cell": ("gru", "lstm"),
    "attention": ("bahdanau", "luong", "dot", "none"),
    "readout": ("tanh", "maxout"),
    "source_order": ("forward", "reversed", "twice"),
    "initializer": ("glorot", "paper"),
}
# Scores without projections: decoder states and annotations must have equal sizes.
UNPROJECTED = ("dot",)
# The four special ids and at least one piece.
SMALLEST_VOCABULARY = 5
# Keys of `config.json` in addition to the fields of `ModelConfig`.
VOCABULARIES, SEARCH = "vocabularies", "search"


def check_choice(name: str, value: Any) -> Any:
    """Returns `value` if it is one of `CHOICES[name]`, else raises `ValueError`."""
    if value not in CHOICES[name]:
        raise ValueError(f"{name} must be one of {CHOICES[name]}, got {value!r}.")
    return value


def check_query(previous_token: bool, attention: str) -> None:
    """Raises `ValueError` for `query_previous_token` without attention."""
    if previous_token and attention == "none":
        raise ValueError(
            "query_previous_token=True requires attention, but attention='none' has no query. "
            "Use query_previous_token=False."
        )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Hyperparameters of a translation model; the defaults suit corpora of 10k to 1M sentences.

    Args:
        source_vocabulary_size: Number of source pieces, including the four special ids. At least 5.
        target_vocabulary_size: Number of target pieces, including the four special ids. At least 5.
        embedding_units: Size of source and target embeddings (m in the paper). At least 1.
        encoder_units: Size of the encoder state in each direction (n in the paper). At least 1.
        encoder_layers: Number of stacked encoder layers. At least 1.
        bidirectional: Whether to add a backward encoder.
        decoder_units: Size of the decoder state (n in the paper). At least 1.
        cell: `"gru"` or `"lstm"`, in encoder and decoder.
        reset_after: GRU only. Apply the reset gate after the recurrent product (as in cuDNN) or
            before it (`False`, the paper's A.1.1).
        attention: `"bahdanau"` (additive), `"luong"` (multiplicative), `"dot"` (without weights;
            `decoder_units` must equal the annotation size) or `"none"`: the decoder reads one
            fixed-length vector (RNNencdec in the paper, Cho et al. 2014).
        attention_units: Size of the alignment model's hidden layer (n' in the paper). At least 1.
        query_previous_token: Whether the query includes the previous target embedding; not in the
            paper, where s_{i-1} has not read it yet (compare Sennrich et al. 2017). See
            `AttentionDecoder`.
        source_order: `"forward"`; for `attention="none"` also `"reversed"` (Sutskever et al.
            2014) and `"twice"`, the source repeated (Zaremba & Sutskever 2014).
        readout: `"tanh"` or the paper's `"maxout"` (A.2.2).
        readout_units: Size of the maxout layer (l in the paper). The tanh readout has
            `embedding_units`. At least 1.
        tie_target_embeddings: Share the output weights with the target embedding (Press & Wolf
            2017). Requires the tanh readout.
        layer_normalization: Normalise attention queries, keys and readout (Ba et al. 2016).
        embedding_dropout: Dropout rate on source and target embeddings. In [0, 1).
        annotation_dropout: Dropout rate on annotations and between encoder layers. In [0, 1).
        readout_dropout: Dropout rate on the readout. In [0, 1).
        dropout_per_sentence: Whether these three use one dropout mask for all positions of a
            sentence (variational dropout, Gal & Ghahramani 2016).
        word_dropout: Rate of dropping whole source and target embeddings (Sennrich et al. 2016,
            Edinburgh at WMT). In [0, 1).
        initializer: `"glorot"` (Keras' defaults) or `"paper"` (appendix B.1).

    Raises:
        ValueError: A value is out of range, or two values are incompatible.
    """

    source_vocabulary_size: int
    target_vocabulary_size: int
    embedding_units: int = 256
    encoder_units: int = 256
    encoder_layers: int = 1
    bidirectional: bool = True
    decoder_units: int = 512
    cell: str = "gru"
    reset_after: bool = True
    attention: str = "bahdanau"
    attention_units: int = 512
    query_previous_token: bool = False
    source_order: str = "forward"
    readout: str = "tanh"
    readout_units: int = 512
    tie_target_embeddings: bool = True
    layer_normalization: bool = True
    embedding_dropout: float = 0.0
    annotation_dropout: float = 0.0
    readout_dropout: float = 0.0
    dropout_per_sentence: bool = False
    word_dropout: float = 0.0
    initializer: str = "glorot"

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self._checked(field.name))
        if self.source_order != "forward" and self.attention != "none":
            raise ValueError(
                f"source_order={self.source_order!r} requires attention='none', but "
                f"attention={self.attention!r}: attention does not depend on the source order. "
                "Use source_order='forward'."
            )
        check_query(self.query_previous_token, self.attention)
        annotation_units = self.encoder_units * (2 if self.bidirectional else 1)
        if self.attention in UNPROJECTED and self.decoder_units != annotation_units:
            raise ValueError(
                f"attention={self.attention!r} requires decoder_units equal to the annotation "
                f"size, {annotation_units}, got {self.decoder_units}. Use decoder_units="
                f"{annotation_units}, or attention='luong', which projects the annotations."
            )
        if self.tie_target_embeddings and self.readout == "maxout":
            raise ValueError(
                "tie_target_embeddings=True requires readout='tanh': the maxout readout has "
                "readout_units, not embedding_units. Set tie_target_embeddings=False."
            )

    def _checked(self, name: str) -> Any:
        """Validates a setting; NumPy values become Python values."""
        value = getattr(self, name)
        if name in CHOICES:
            return check_choice(name, value)
        if name.endswith("_dropout"):
            if not is_number(value) or not 0 <= value < 1:
                raise ValueError(f"{name} must be a number in [0, 1), got {value!r}.")
            return float(value)
        if name.endswith(("_units", "_size", "_layers")):
            return check_whole(name, value, SMALLEST_VOCABULARY if name.endswith("_size") else 1)
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}.")
        return value

    @property
    def least_weights(self) -> int:
        """A lower bound on the number of weights, from the matrices whose sizes are certain.

        A file that stores less does not belong to this config, which may name any size.
        """
        directions = 2 if self.bidirectional else 1
        attention = self.attention_units if self.attention == "bahdanau" else 0
        readout = self.readout_units if self.readout == "maxout" else 0
        # What the layers of the encoder read: embeddings or the layer before, and their own state.
        read = self.embedding_units + (self.encoder_layers - 1) * directions * self.encoder_units
        read += self.encoder_layers * self.encoder_units
        return (
            (self.source_vocabulary_size + self.target_vocabulary_size) * self.embedding_units
            + directions * 3 * self.encoder_units * read
            + (3 * self.decoder_units + attention + readout) * self.decoder_units
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Creates a config from a mapping; unknown and missing names raise `ValueError`."""
        check_known("model setting", values, (field.name for field in dataclasses.fields(cls)))
        missing = [
            field.name
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.name not in values
        ]
        if missing:
            raise ValueError(f"The model config lacks {' and '.join(missing)}.")
        return cls(**values)

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Parses the output of `to_json`, or the `config.json` of a model directory.

        Raises:
            ValueError: `text` is not a model config.
        """
        try:
            values = parse_object(text)
        except ValueError as error:
            raise ValueError(f"Not a model config: {error}.") from error
        other = (VOCABULARIES, SEARCH)
        return cls.from_dict({name: each for name, each in values.items() if name not in other})

    def to_json(self) -> str:
        """Serialises the config as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"
