"""Ancestral sampling of translations, in `keras.ops`, with reproducible random numbers.

seed, line, sample number -> uniform_numbers (Philox) -> one number per step
loop of decoding.search: logits -> the k best / temperature -> softmax -> inverse CDF -> token
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from keras import ops

from keras_attn_nmt.checks import check_whole, is_number
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.hypotheses import Hypotheses, backtrace
from keras_attn_nmt.decoding.search import Current, decode, top_tokens
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import EOS, PAD

# Smaller temperatures are 0 in float32, and larger ones infinite.
_LEAST, _MOST = float(np.finfo("float32").tiny), float(np.finfo("float32").max)
# Bits of a uniform number: with 23, the product with a float32 total is below that total.
_BITS = 23


@dataclasses.dataclass(frozen=True)
class SamplingOptions:
    """How tokens are drawn.

    Args:
        temperature: The logits are divided by it; 1 samples from the model's own distribution,
            smaller values prefer likely tokens.
        top_k: Number of most likely tokens to draw from at each step; `None` is all.

    Raises:
        ValueError: A value is out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None

    def __post_init__(self) -> None:
        value = self.temperature
        if not is_number(value) or not _LEAST <= value <= _MOST:
            raise ValueError(
                f"temperature must be a number from {_LEAST:.3g} to {_MOST:.3g}, got "
                f"{value!r}: use greedy search (beam_size=1) for the most likely tokens."
            )
        object.__setattr__(self, "temperature", float(value))
        if self.top_k is not None:
            object.__setattr__(self, "top_k", check_whole("top_k", self.top_k))


def check_seed(seed: Any) -> int:
    """Returns a valid seed; raises `ValueError` for others."""
    if check_whole("seed", seed, least=0) >= 2**64:
        raise ValueError(f"seed must be less than 2^64, got {seed}.")
    return int(seed)


def uniform_numbers(seed: int, line: int, samples: int, steps: int) -> np.ndarray:
    """Uniform random numbers in [0, 1) for the samples of one line.

    They come from the counter-based generator Philox with `(seed, line)` as its key and the number
    of the sample as its counter: number `t` of sample `n` of a line is the same whatever the other
    lines, the number of samples and the number of steps.

    Args:
        seed: 0 to 2^64 - 1.
        line: Number of the line, 0 to 2^64 - 1.
        samples: Number of samples.
        steps: Numbers per sample.

    Returns:
        float32, `(samples, steps)`.

    References:
        [Salmon et al. 2011](https://doi.org/10.1145/2063384.2063405)
    """
    key = np.array([seed, line], "uint64")
    raw = [
        np.random.Philox(key=key, counter=np.array([0, 0, 0, sample], "uint64")).random_raw(steps)
        for sample in range(samples)
    ]
    return (np.stack(raw) >> np.uint64(64 - _BITS)).astype("float32") * np.float32(2.0**-_BITS)


def sample(
    decoder: Decoder,
    source: Any,
    uniform: Any,
    *,
    options: SearchOptions,
    sampling: SamplingOptions,
) -> Hypotheses:
    """Samples independent translations of each sentence.

    Args:
        decoder: The model.
        source: Ids, int32, `(batch, source_length)`, each sentence ending in `EOS`.
        uniform: Random numbers in [0, 1), float32, `(batch, samples, max_length)`.
        options: `beam_size` is the number of samples.
        sampling: Temperature and number of candidates.

    Returns:
        The samples in the order drawn. Scores are log-probabilities of the model (temperature 1,
        all tokens), so they are comparable with those of `search`.
    """
    # All tokens but PAD and BOS.
    most = decoder.vocabulary_size - EOS
    width = min(sampling.top_k, most) if sampling.top_k else None
    found = decode(
        decoder,
        source,
        options,
        functools.partial(_drawn, uniform=uniform, temperature=sampling.temperature, width=width),
        ops.zeros((options.beam_size,), "float32"),
        width=width or 1,
        independent=True,
    )
    return backtrace(found)


def _drawn(
    logits: Any,
    current: Current,
    *,
    group: int | None,
    uniform: Any,
    temperature: float,
    width: int | None,
) -> tuple[Any, Any, Any]:
    """Draws a token for each sample by inverting the cumulative distribution.

    The candidates are in the order of their ids, not of their probabilities: a difference in
    rounding that swaps two equally likely tokens then changes no sample.
    """
    ids = None
    candidates = logits[..., EOS:]
    if width is not None:
        candidates, ids = top_tokens(logits, width, group)
        order = ops.argsort(ids, axis=-1)
        candidates, ids = (ops.take_along_axis(each, order, axis=-1) for each in (candidates, ids))
    best = ops.max(candidates, axis=-1, keepdims=True)
    cumulative = ops.cumsum(ops.exp((candidates - best) / temperature), axis=-1)
    number = ops.expand_dims(ops.take(uniform, current.step, axis=2), 2)
    below = cumulative <= number * cumulative[..., -1:]
    place = ops.sum(ops.cast(below, "int32"), axis=-1, keepdims=True)
    tokens = place + EOS if ids is None else ops.take_along_axis(ids, place, axis=-1)
    chosen = ops.take_along_axis(candidates, place, axis=-1)
    token_scores = chosen - ops.logsumexp(logits, axis=-1, keepdims=True)
    # A finished sample extends only with PAD at log-probability 0.
    return (
        ops.where(current.ended, PAD, tokens[..., 0]),
        ops.zeros_like(tokens[..., 0]),
        ops.where(current.ended, 0.0, token_scores[..., 0]),
    )
