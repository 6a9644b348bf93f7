"""Numerics: are results finite, and independent of padding and batch composition?

Random models with random sentences of 1 to 1,000 tokens, 1 to 512 at once, in every precision, on
TensorFlow and JAX. The outputs of the whole model and of greedy and beam search must be finite,
attention must sum to 1 (0 for an all-padding sentence), and rows must have the same results alone,
in another order and with more padding, but for rounding.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from campaign import child
from campaign.rows import Row
from campaign.rows import planted as planted_row

BACKENDS = ("tensorflow", "jax")
# Largest difference that rounding makes, in units of 1 + the largest logit.
TOLERANCES = {
    "float32": 2e-4,
    "mixed_float16": 0.02,
    "mixed_bfloat16": 0.15,
    "float16": 0.02,
    "bfloat16": 0.15,
}
MODELS = (
    {},
    {"layer_normalization": False},
    {"query_previous_token": True},
    {"attention": "luong"},
    {"attention": "luong", "layer_normalization": False},
    {"attention": "dot"},
    {"attention": "none", "source_order": "reversed", "layer_normalization": False},
    {"attention": "none", "source_order": "twice"},
    {"cell": "lstm", "encoder_layers": 2, "tie_target_embeddings": False},
    {"reset_after": False, "readout": "maxout", "tie_target_embeddings": False},
)
# The smallest is refused, see `smallest_vocabulary`.
VOCABULARIES = (5, 40, 3_000, 250_000)
SOURCE_PLACES, LOGITS = 20_000, 4_000_000
# Half precision is slow on a CPU.
HALF_SOURCE_PLACES, HALF_LOGITS = 4_000, 500_000
BEAM, MAX_LENGTH = 4, 12
BATCHES_PER_MODEL = 8

PLANTED = ("swapped rows", "attention to padding", "unnormalised attention", "a NaN")


def numerics(seed: int, minutes: float) -> list[Row]:
    """A row for each backend and precision, which share the time, and one of planted faults.

    Args:
        seed: Of models and batches.
        minutes: For all rows together.
    """
    share = 60 * minutes / (len(BACKENDS) * len(TOLERANCES) + 1)
    rows = [_row(backend, policy, seed, share) for backend in BACKENDS for policy in TOLERANCES]
    found = {
        fault: [_row("tensorflow", "float32", seed, share / len(PLANTED), fault)]
        for fault in PLANTED
    }
    return [*rows, smallest_vocabulary(), planted_row("numerics", found)]


def _row(backend: str, policy: str, seed: int, seconds: float, plant: str = "") -> Row:
    name = f"numerics, {policy} on {backend}"
    arguments = {"seed": seed, "seconds": seconds, "policy": policy, "plant": plant}
    try:
        return Row(name, *child.call("numerics", "batches_of", backend=backend, **arguments))
    except RuntimeError as error:
        return Row(name, 1, 0, 0, 1, str(error))


def smallest_vocabulary() -> Row:
    """A vocabulary of 4 has nothing but special ids: a clear error."""
    from keras_attn_nmt import ModelConfig

    try:
        ModelConfig(4, 4)
    except ValueError as error:
        return Row("numerics, a vocabulary of 4", 1, 1, 0, 0, f"refused: {error}")
    return Row("numerics, a vocabulary of 4", 1, 0, 1, 0, "accepted")


def batches_of(seed: int, seconds: float, policy: str, plant: str = "") -> list[Any]:
    """Tried, survived, wrong, lost and notes of a precision on the backend of this process."""
    rng = np.random.default_rng(seed)
    end = time.monotonic() + seconds
    tried = wrong = lost = 0
    problems: dict[str, int] = {}
    largest = 0.0
    number = int(rng.integers(len(MODELS)))
    while not tried or time.monotonic() < end:
        scale = float(rng.choice([1, 1, 1, 8]))
        size = int(rng.choice(VOCABULARIES))
        model = small_model(
            MODELS[number % len(MODELS)], size, policy, scale, int(rng.integers(2**31))
        )
        number += 1
        with planted(plant):
            runs = Runs(model, plant)
            for _ in range(BATCHES_PER_MODEL):
                source, target = random_batch(rng, size, _compiles(), policy == "float32")
                tried += 1
                try:
                    found, difference = runs.check(source, target, rng, policy, scale == 1)
                except Exception as error:
                    lost += 1
                    found, difference = [f"{type(error).__name__}: {error}"[:200]], 0.0
                else:
                    wrong += bool(found)
                largest = max(largest, difference)
                for each in found:
                    label = f"{each} ({model.model_config.attention}, {size} pieces, x{scale:g})"
                    problems[label] = problems.get(label, 0) + 1
                if tried and time.monotonic() > end:
                    break
    notes = f"largest difference {largest:.2g} of 1 + the largest logit; "
    notes += "; ".join(f"{count}x {text}" for text, count in problems.items())
    return [tried, tried - wrong - lost, wrong, lost, notes.strip("; ")]


def random_batch(
    rng: np.random.Generator, vocabulary: int, compiles: bool = False, large: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Ids of sources and targets, `(rows, length)`; a row without any token, if there are several.

    Args:
        rng: Random numbers.
        vocabulary: Number of pieces.
        compiles: Use few shapes, as every new one is compiled.
        large: Up to 20,000 source tokens, else 4,000.
    """
    places, logits = (SOURCE_PLACES, LOGITS) if large else (HALF_SOURCE_PLACES, HALF_LOGITS)
    if compiles:
        rows, length = int(rng.choice([1, 4, 512])), int(rng.choice([1, 31, 1000]))
        steps = int(rng.choice([1, 6]))
    else:
        rows, length = (int(np.exp(rng.uniform(0, np.log(high)))) for high in (512.9, 1000.9))
        steps = int(np.exp(rng.uniform(0, np.log(60))))
    if rng.integers(2):
        rows = max(1, min(rows, places // length))
    else:
        length = max(1, min(length, places // rows))
    rows = max(1, min(rows, logits // vocabulary))
    steps = max(1, min(steps, logits // vocabulary // rows))
    lengths = rng.integers(1, length + 1, rows)
    lengths[0] = length
    source = rng.integers(3, vocabulary, (rows, length))
    position = np.arange(length)
    source = np.where(position < lengths[:, None] - 1, source, 2)
    source = np.where(position < lengths[:, None], source, 0)
    if rows > 1:
        source[-1] = 0
    target = rng.integers(2, vocabulary, (rows, steps))
    target[:, 0] = 1
    return source.astype("int32"), target.astype("int32")


def _compiles() -> bool:
    import keras

    return keras.backend.backend() == "jax"


def small_model(options: dict, vocabulary: int, policy: str, scale: float, seed: int) -> Any:
    """A model with options of `ModelConfig` and random weights, in a precision."""
    import keras

    from keras_attn_nmt import ModelConfig, build_model

    keras.config.set_dtype_policy(policy)
    sizes = {"embedding_units": 8, "encoder_units": 6, "decoder_units": 12, "attention_units": 10}
    model = build_model(ModelConfig(vocabulary, vocabulary, **{**sizes, **options}))
    rng = np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(scale=0.4 * scale, size=weight.shape))
    return model


class Runs:
    """A model and its searches, compiled.

    Args:
        model: The model.
        plant: A fault of `PLANTED`.
        beams: Beam sizes of the searches.
    """

    def __init__(self, model: Any, plant: str, beams: Sequence[int] = (1, BEAM)):
        from keras_attn_nmt.decoding import search as searching
        from keras_attn_nmt.decoding.batches import IDS, compiled
        from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
        from keras_attn_nmt.decoding.search_options import SearchOptions

        def whole(source: Any, target: Any) -> tuple:
            outputs = model({"source": source, "target": target})
            return outputs["logits"], outputs["attention"]

        self._whole = compiled(whole, model.variables, IDS, IDS)
        decoder = IncrementalDecoder(model)
        self._attends = decoder.decoder.attention is not None
        self._searches = [
            compiled(
                functools.partial(
                    searching.search, decoder, options=SearchOptions(beam, 1.0, MAX_LENGTH)
                ),
                model.variables,
                IDS,
            )
            for beam in beams
        ]
        self._plant = plant

    def check(
        self,
        source: np.ndarray,
        target: np.ndarray,
        rng: np.random.Generator,
        policy: str,
        regular: bool,
    ) -> tuple[list[str], float]:
        """Problems of a batch, and the largest difference of rows that must be equal.

        With `regular` weights, rounding is not amplified from step to step: rows are compared.
        """
        logits, attention = self.outputs(source, target)
        found = _finite({"logits": logits, "attention": attention})
        found += self._sums(attention, source)
        hypotheses = [self._hypotheses(search, source) for search in self._searches]
        for each in hypotheses:
            found += _finite(each._asdict())
            written = np.arange(each.tokens.shape[-1]) < each.lengths[..., None]
            found += self._sums(each.attention, source, written)
            if (each.tokens[written] < 2).any():
                found.append("search found PAD or BOS")
        if found or not regular:
            return found, 0.0
        largest = 0.0
        unit = 1 + float(np.abs(logits).max())
        for variant, rows, ids in _variants(source, rng):
            again, _ = self.outputs(ids, target[rows])
            difference = float(np.abs(again - logits[rows]).max()) / unit
            largest = max(largest, difference)
            if difference > TOLERANCES[policy]:
                found.append(f"logits differ by more than rounding {variant}")
            for search, all_rows in zip(self._searches[:1], hypotheses, strict=False):
                greedy = self._hypotheses(search, ids)
                wanted = type(greedy)(*(value[rows] for value in all_rows))
                if _steps_differ(greedy, wanted, TOLERANCES[policy] * unit):
                    found.append(f"greedy search differs by more than rounding {variant}")
        return found, largest

    def outputs(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and attention."""
        import keras

        logits, attention = map(keras.ops.convert_to_numpy, self._whole(source, target))
        if self._plant == "swapped rows" and len(source) > 1:
            logits = logits[::-1]
        if self._plant == "a NaN":
            logits[0, 0, 0] = np.nan
        return logits, attention

    def _hypotheses(self, search: Any, source: np.ndarray) -> Any:
        from keras_attn_nmt.decoding.batches import to_numpy

        return to_numpy(search(source))

    def _sums(
        self, attention: np.ndarray, source: np.ndarray, written: np.ndarray | None = None
    ) -> list[str]:
        """Whether attention `(rows, ..., source_length)` sums to 1 where there is a sentence."""
        sums = attention.sum(-1)
        wanted = np.zeros_like(sums)
        if self._attends:
            wanted[source.any(1)] = 1
        if written is not None:
            wanted = np.where(written, wanted, 0)
        found = []
        if np.abs(sums - wanted).max(initial=0) > 1e-3:
            found.append(f"attention sums to {sums.flat[np.abs(sums - wanted).argmax()]:.4g}")
        padding = (source == 0).reshape(len(source), *[1] * (attention.ndim - 2), -1)
        if (np.where(padding, attention, 0) != 0).any():
            found.append("attention to padding")
        return found


def _variants(
    source: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[str, Sequence[int], np.ndarray]]:
    """The same sentences otherwise: a name, their rows, and their ids."""
    lengths = np.maximum((source != 0).sum(1), 1)
    for row in {0, len(source) - 1, int(rng.integers(len(source)))}:
        length = source.shape[1] if _compiles() else lengths[row]
        yield "alone", [row], source[row : row + 1, :length]
    order = rng.permutation(len(source))
    more = 1 if _compiles() else int(rng.integers(1, 40))
    yield "in another order with more padding", order, np.pad(source[order], [(0, 0), (0, more)])


def _finite(arrays: dict[str, np.ndarray]) -> list[str]:
    return [f"{name} not finite" for name, each in arrays.items() if not np.isfinite(each).all()]


def _steps_differ(found: Any, wanted: Any, tolerance: float) -> bool:
    """Whether tokens or their log-probabilities differ, up to where rounding chose another one."""
    same = found.tokens[:, 0] == wanted.tokens[:, 0]
    # Positions up to the first other token, that one included: both are the best there.
    until = np.cumsum(~same, axis=1) - ~same == 0
    difference = np.abs(found.token_scores[:, 0] - wanted.token_scores[:, 0])
    return bool((difference * until > tolerance).any())


@contextlib.contextmanager
def planted(plant: str) -> Iterator[None]:
    """Plants a fault in the attention of models that run meanwhile."""
    from keras_attn_nmt.recurrence import scores

    normal = scores.attend

    def attend(weights: Any, source: Any, *arguments: Any) -> tuple[Any, Any]:
        if plant == "attention to padding":
            source = source._replace(mask=None)
        context, attention = normal(weights, source, *arguments)
        return context, attention * 1.01 if plant == "unnormalised attention" else attention

    scores.attend = attend
    try:
        yield
    finally:
        scores.attend = normal
