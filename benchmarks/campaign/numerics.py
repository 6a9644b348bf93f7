"""Numerics: are results finite, and independent of padding and batch composition?

Random models with random sentences of 1 to 1,000 tokens, 1 to 512 at once, in every precision, on
TensorFlow and JAX. The outputs of the whole model and of greedy and beam search must be finite,
attention must sum to 1 (0 for an all-padding sentence), and rows must have the same results and
attention alone, in another order and with more padding, but for rounding.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from campaign import child
from campaign.numeric_checks import (
    ATTENTION_FAULTS,
    RESULT_FAULTS,
    TOLERANCES,
    Runs,
    compiles,
    planted,
)
from campaign.rows import Row

FAULTS = (*RESULT_FAULTS, *ATTENTION_FAULTS)
BACKENDS = ("tensorflow", "jax")
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
BATCHES_PER_MODEL = 8


def numerics(seed: int, minutes: float) -> list[Row]:
    """A row for each backend and precision, which share the time, and one of planted faults.

    Args:
        seed: Of models and batches.
        minutes: For all rows together.
    """
    share = 60 * minutes / (len(BACKENDS) * len(TOLERANCES))
    rows, tried, missed = [], 0, []
    for backend in BACKENDS:
        for policy in TOLERANCES:
            name = f"numerics, {policy} on {backend}"
            arguments = {"seed": seed, "seconds": share, "policy": policy}
            try:
                found = child.call("numerics", "measured", backend=backend, **arguments)
            except RuntimeError as error:
                rows.append(Row(name, 1, 0, 0, 1, str(error)))
                continue
            rows.append(Row(name, *found["row"]))
            tried += len(found["planted"])
            missed += [
                f"{fault} in {policy} on {backend}"
                for fault, problems in found["planted"].items()
                if not problems
            ]
    notes = f"missed: {', '.join(missed)}" if missed else f"each of {', '.join(FAULTS)}"
    name = "numerics, planted faults in each precision"
    planted_row = Row(name, tried, tried - len(missed), len(missed), 0, notes)
    return [*rows, smallest_vocabulary(), planted_row]


def smallest_vocabulary() -> Row:
    """A vocabulary of 4 has nothing but special ids: a clear error."""
    from keras_attn_nmt import ModelConfig

    try:
        ModelConfig(4, 4)
    except ValueError as error:
        return Row("numerics, a vocabulary of 4", 1, 1, 0, 0, f"refused: {error}")
    return Row("numerics, a vocabulary of 4", 1, 0, 1, 0, "accepted")


def measured(seed: int, seconds: float, policy: str) -> dict[str, Any]:
    """`batches_of`, and the problems that are found with each planted fault."""
    return {"row": batches_of(seed, seconds, policy), "planted": problems_of_faults(policy, seed)}


def problems_of_faults(policy: str, seed: int) -> dict[str, list[str]]:
    """The problems that the checks find with each planted fault, and without any.

    Raises:
        RuntimeError: Without a fault, there are some, too.
    """
    rng = np.random.default_rng(seed)
    model = small_model({}, 40, policy, 1.0, seed)
    source = rng.integers(3, 40, (5, 9)).astype("int32")
    source[:, -1], source[1, 4:], source[2] = 2, 0, 0
    target = rng.integers(2, 40, (5, 6)).astype("int32")
    runs = Runs(model, "")
    found = {}
    for fault in ("", *RESULT_FAULTS):
        runs.plant = fault
        found[fault], _ = runs.check(source, target, rng, policy, regular=True)
    for fault in ATTENTION_FAULTS:
        with planted(fault):
            checked = Runs(model, fault, beams=()).check(source, target, rng, policy, regular=True)
        found[fault], _ = checked
    if problems := found.pop(""):
        raise RuntimeError(f"Problems without a planted fault: {problems}")
    return found


def batches_of(seed: int, seconds: float, policy: str) -> list[Any]:
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
        runs = Runs(model, "")
        for _ in range(BATCHES_PER_MODEL):
            source, target = random_batch(rng, size, compiles(), policy == "float32")
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
