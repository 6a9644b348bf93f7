"""Trainings that differ in numbers alone, stacked into one program for an accelerator.

The weights of all trainings lie in one array each, with the training as first axis, and one
`jax.vmap` takes a step of all of them on the same batch. A recurrent model keeps an accelerator
waiting for its many small operations; with ten trainings in place of one they are ten times as
large and hardly slower.

On an NVIDIA GPU set `XLA_FLAGS="--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"`:
nothing is tried out then while compiling, and products run as cuBLAS has them, several times as
fast as Triton's untuned ones.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_attn_nmt import ModelConfig, build_model
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search import search
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.layers.losses import real_tokens, symmetric_divergence, token_cross_entropy
from keras_attn_nmt.text.special_ids import BOS, PAD

# The same for all, whatever `[training]` of a recipe says: lengths of sources and targets that are
# compiled, sentences of a batch, schedule, label smoothing and the last momentum of the average.
LENGTHS = (11, 14, 17, 21, 26, 34, 60)
SENTENCES = 64
WARMUP_STEPS, SMOOTHING, AVERAGE = 200, 0.1, 0.999
# Rates of dropout that a training may set, each found in the model by a value of its own.
RATES = {"embedding_dropout": 0.11, "annotation_dropout": 0.12, "readout_dropout": 0.13}
DEFAULTS = {**dict.fromkeys(RATES, 0.0), "learning_rate": 2e-3, "r_drop": 0.0}
# Left for the translation of the validation set.
LAST_SECONDS = 20

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class VariableDropout(keras.layers.Layer):
    """Dropout with a rate that is a variable of the model, and so another one for each training."""

    def __init__(self, rate: float, noise_shape: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        if noise_shape is not None or rate not in RATES.values():
            raise ValueError(f"Only {', '.join(RATES)} can be set, each position alone.")
        self.seeds = keras.random.SeedGenerator(1)
        self.rate = self.add_weight(
            initializer=keras.initializers.Constant(rate), trainable=False, name="rate"
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        kept = keras.random.uniform(inputs.shape, seed=self.seeds) >= self.rate
        return jnp.where(kept, inputs / (1 - self.rate), 0)

    def compute_output_spec(self, inputs: Any, training: bool = False) -> Any:
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


def train_stacked(
    corpus: Mapping[str, Any],
    members: Sequence[Mapping[str, float]],
    passes: int,
    samples: int,
    seconds: float,
) -> dict[str, Any]:
    """Trains in mixed bfloat16 and translates the validation set with the averaged weights.

    Args:
        corpus: What `tuning.py prepare` wrote.
        members: For each training, what differs from `DEFAULTS`.
        passes: Passes over the corpus.
        samples: How many segmentations of a sentence take turns.
        seconds: Fewer passes, if these would take longer.

    Returns:
        `tokens`, `(trainings, sentences, length)`, and `perplexities` of training and validation
        after each pass, `(passes, 2, trainings)`.
    """
    begin = time.perf_counter()
    epochs = Epochs(corpus, samples)
    validation = _validation_batches(corpus)
    stack = Stack(corpus, members)
    first = epochs.draw(0)
    with ThreadPoolExecutor(len(LENGTHS) + 2) as pool:
        steps = {length: pool.submit(stack.compile_step, length) for length in LENGTHS}
        translating = pool.submit(stack.compile_translate, validation[0][1][0])
        scoring = pool.submit(stack.compile_cross_entropy, validation[0][1])
        compiled = {length: step.result() for length, step in steps.items()}
        translate, cross_entropy = translating.result(), scoring.result()
    print(f"{len(members)} trainings, compiled after {time.perf_counter() - begin:.0f} s")

    real = sum(int((labels != PAD).sum()) for _, (_, _, labels) in validation)
    perplexities: list[Any] = []
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as drawer:
        upcoming: Future[list[Batch]] | None = None
        while len(perplexities) < passes:
            done = len(perplexities)
            batches = first if upcoming is None else upcoming.result()
            upcoming = drawer.submit(epochs.draw, done + 1)
            losses = stack.run(compiled, batches, passes * len(first))
            sums = [np.asarray(cross_entropy(*stack.averages, batch)) for _, batch in validation]
            perplexities.append([np.exp(losses[-100:].mean(0)), np.exp(sum(sums) / real)])
            each = (time.perf_counter() - started) / (done + 1)
            if done < 6:
                left = seconds - LAST_SECONDS - (time.perf_counter() - begin)
                passes = int(min(passes, max(done + 2, done + 1 + left // each)))
            train, val = (each.round(2) for each in perplexities[-1])
            print(f"{done + 1}/{passes}, {each:.1f} s each: {train}, {val}", flush=True)
    sentences = sum(len(rows) for rows, _ in validation)
    width = validation[0][1][0].shape[1]
    tokens = np.zeros((len(members), sentences, width), np.uint16)
    for rows, (source, *_) in validation:
        tokens[:, rows] = np.asarray(translate(stack.averages[0], source))[:, : len(rows)]
    return {"tokens": tokens, "perplexities": np.array(perplexities)}


class Stack:
    """The weights of all trainings and what is done with them.

    Attributes:
        averages: Moving averages of the weights, and the other variables, as the functions that
            `compile_...` make take them.
    """

    def __init__(self, corpus: Mapping[str, Any], members: Sequence[Mapping[str, float]]):
        keras.utils.set_random_seed(1)
        settings = {**json.loads(str(corpus["model"])), **RATES}
        config = ModelConfig(int(corpus["source_size"]), int(corpus["target_size"]), **settings)
        usual, keras.layers.Dropout = keras.layers.Dropout, VariableDropout
        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            self.model = build_model(config)
        finally:
            keras.config.set_dtype_policy("float32")
            keras.layers.Dropout = usual
        self.decoder = IncrementalDecoder(self.model)

        count = len(members)
        chosen = [{**DEFAULTS, **member} for member in members]
        self.settings = {
            name: jnp.array([each[name] for each in chosen], jnp.float32) for name in DEFAULTS
        }
        self.twice = any(each["r_drop"] for each in chosen)
        weights = [jnp.stack([each.value] * count) for each in self.model.trainable_variables]
        others = [self._other(*each) for each in enumerate(self.model.non_trainable_variables)]
        moments = [[jnp.zeros_like(each) for each in weights] for _ in range(2)]
        self.state = (weights, others, *moments, [each + 0 for each in weights])
        self.steps = 0

    def _other(self, number: int, variable: Any) -> Any:
        """A variable that is not trained: the rate of a dropout, or the seed of one."""
        count = len(self.settings["r_drop"])
        if variable.path.endswith("/rate"):
            name = min(RATES, key=lambda name: abs(RATES[name] - float(variable.value)))
            # A copy, as each array of the state is given away in every step.
            return self.settings[name] + 0
        seeds = [[1000 * number + member, 0] for member in range(count)]
        return jnp.array(seeds, variable.dtype)

    @property
    def averages(self) -> tuple[Any, Any]:
        return self.state[4], self.state[1]

    def run(self, compiled: Mapping[Any, Any], batches: Sequence[Batch], total: int) -> np.ndarray:
        """Takes a step of each batch; `total` is the length of the schedule.

        Returns:
            Cross-entropy without smoothing, `(batches, trainings)`.
        """
        losses = []
        for batch in batches:
            self.steps += 1
            decay = min(1.0, max(0, self.steps - WARMUP_STEPS) / (total - WARMUP_STEPS))
            rate = min(self.steps / WARMUP_STEPS, (1 + np.cos(np.pi * decay)) / 2)
            step = compiled[batch[0].shape[1]]
            self.state, loss = step(
                self.state, self.settings, jnp.float32(rate), jnp.float32(self.steps), batch
            )
            losses.append(loss)
            if len(losses) % 50 == 0:  # Not so far ahead that the memory of all batches is taken.
                loss.block_until_ready()
        return np.stack([np.asarray(each) for each in losses])

    def compile_step(self, length: int) -> Callable[..., Any]:
        """A step of Adam, as Keras takes it, for batches of this length."""
        ids = np.zeros((SENTENCES, length), np.int32)
        batch = (ids, ids, ids)
        step = jax.jit(jax.vmap(self._step, (0, 0, None, None, None)), donate_argnums=0)
        return step.lower(self.state, self.settings, *jnp.ones(2), batch).compile()

    def _step(self, state: Any, settings: Any, factor: Any, number: Any, batch: Batch) -> Any:
        weights, others, first, second, averages = state
        (_, (others, plain)), gradients = jax.value_and_grad(self._loss, has_aux=True)(
            weights, others, settings["r_drop"], batch
        )
        norm = jnp.sqrt(sum(jnp.sum(each**2) for each in gradients))
        gradients = [each * jnp.minimum(1.0, 1.0 / norm) for each in gradients]
        first = jax.tree.map(lambda old, new: 0.9 * old + 0.1 * new, first, gradients)
        second = jax.tree.map(lambda old, new: 0.999 * old + 0.001 * new**2, second, gradients)
        rate = settings["learning_rate"] * factor
        rate = rate * jnp.sqrt(1 - 0.999**number) / (1 - 0.9**number)
        weights = jax.tree.map(
            lambda weight, m, v: weight - rate * m / (jnp.sqrt(v) + 1e-7), weights, first, second
        )
        momentum = jnp.minimum(AVERAGE, (1 + number) / (10 + number))
        averages = jax.tree.map(
            lambda old, new: momentum * old + (1 - momentum) * new, averages, weights
        )
        return (weights, others, first, second, averages), plain

    def _loss(self, weights: Any, others: Any, r_drop: Any, batch: Batch) -> Any:
        if self.twice:
            batch = tuple(jnp.concatenate([each, each]) for each in batch)
        source, target, labels = batch
        inputs = {"source": source, "target": target}
        outputs, others = self.model.stateless_call(weights, others, inputs, training=True)
        logits, real = outputs["logits"], real_tokens(labels)
        total = jnp.sum(real)
        loss = jnp.sum(token_cross_entropy(labels, logits, SMOOTHING) * real) / total
        plain = jnp.sum(token_cross_entropy(labels, logits) * real) / total
        if self.twice:
            apart = symmetric_divergence(*jnp.split(logits, 2)) * real[: len(real) // 2]
            loss = loss + r_drop * 2 * jnp.sum(apart) / total
        return loss, (others, plain)

    def compile_cross_entropy(self, batch: Batch) -> Callable[..., Any]:
        """The summed cross-entropy of a batch, for each training."""

        def summed(weights: Any, others: Any, batch: Batch) -> Any:
            source, target, labels = batch
            inputs = {"source": source, "target": target}
            outputs, _ = self.model.stateless_call(weights, others, inputs, training=False)
            losses = token_cross_entropy(labels, outputs["logits"])
            return jnp.sum(losses * real_tokens(labels))

        return jax.jit(jax.vmap(summed, (0, 0, None))).lower(*self.averages, batch).compile()

    def compile_translate(self, source: np.ndarray) -> Callable[..., Any]:
        """The best of a beam of 5, for each training; not longer than the longest sentence."""

        def translated(weights: Any, source: Any) -> Any:
            values = zip(self.model.trainable_variables, weights, strict=True)
            with keras.StatelessScope(state_mapping=values):
                found = search(self.decoder, source, SearchOptions(5, 1.0, source.shape[1]))
            return found.tokens[:, 0]

        translate = jax.jit(jax.vmap(translated, (0, None)))
        return translate.lower(self.averages[0], source).compile()


class Epochs:
    """Batches of `SENTENCES` sentences of like length, in a new order in each epoch."""

    def __init__(self, corpus: Mapping[str, Any], samples: int):
        self.sources, self.targets = (
            [_rows(corpus, f"train_{side}_{sample}") for sample in range(samples)]
            for side in ("source", "target")
        )
        self.lengths = np.stack(
            [
                np.maximum(
                    corpus[f"train_source_{sample}_lengths"],
                    corpus[f"train_target_{sample}_lengths"],
                )
                for sample in range(samples)
            ]
        )
        self.generator = np.random.default_rng(1)

    def draw(self, number: int) -> list[Batch]:
        """All batches of an epoch; what does not fill one is left out."""
        samples, pairs = self.lengths.shape
        order = self.generator.permutation(pairs)
        sample = (order + number) % samples
        length = self.lengths[sample, order]
        batches = []
        for low, high in itertools.pairwise((0, *LENGTHS)):
            fitting = np.flatnonzero((length > low) & (length <= high))
            for start in range(0, len(fitting) - SENTENCES + 1, SENTENCES):
                rows = fitting[start : start + SENTENCES]
                sides = (
                    _padded([texts[sample[row]][order[row]] for row in rows], high)
                    for texts in (self.sources, self.targets)
                )
                batches.append(_batch(*sides))
        return [batches[index] for index in self.generator.permutation(len(batches))]


def _validation_batches(corpus: Mapping[str, Any]) -> list[tuple[np.ndarray, Batch]]:
    """Four batches of one shape, each with the places of its sentences."""
    sources, targets = (_rows(corpus, f"validation_{side}") for side in ("source", "target"))
    size = -(-len(sources) // 4)
    length = max(map(len, (*sources, *targets)))
    batches = []
    for rows in np.array_split(np.arange(len(sources)), 4):
        sides = []
        for texts in (sources, targets):
            ids = _padded([texts[row] for row in rows], length)
            sides.append(np.pad(ids, ((0, size - len(rows)), (0, 0))))
        batches.append((rows, _batch(*sides)))
    return batches


def _rows(corpus: Mapping[str, Any], name: str) -> list[np.ndarray]:
    ends = np.cumsum(corpus[f"{name}_lengths"].astype(int))
    return np.split(corpus[f"{name}_ids"].astype(np.int32), ends[:-1])


def _padded(rows: Sequence[np.ndarray], length: int) -> np.ndarray:
    ids = np.full((len(rows), length), PAD, np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    return ids


def _batch(source: np.ndarray, labels: np.ndarray) -> Batch:
    shifted = np.concatenate([np.full_like(labels[:, :1], BOS), labels[:, :-1]], axis=1)
    return source, np.where(labels == PAD, PAD, shifted), labels
