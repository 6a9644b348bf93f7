"""Checks of `campaign.numerics`: a model and its searches on one batch, and its variants."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

# Largest difference that rounding makes, in units of 1 + the largest logit.
TOLERANCES = {
    "float32": 2e-4,
    "mixed_float16": 0.02,
    "mixed_bfloat16": 0.15,
    "float16": 0.02,
    "bfloat16": 0.15,
}
BEAM, MAX_LENGTH = 4, 12
PAD, BOS = 0, 1
# Of the results, and of the attention while a model is traced.
RESULT_FAULTS = ("swapped rows", "a NaN", "a NaN in a variant", "swapped hypotheses")
ATTENTION_FAULTS = ("attention to padding", "unnormalised attention")


def compiles() -> bool:
    """Whether the backend compiles for each shape."""
    import keras

    return keras.backend.backend() == "jax"


class Runs:
    """A model and its searches, compiled.

    Args:
        model: The model.
        plant: A fault of `PLANTED`, or none.
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
        self.plant = plant

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
            found += self._problems_of(each, source)
        if found or not regular:
            return found, 0.0
        largest = 0.0
        bound = TOLERANCES[policy]
        unit = 1 + float(np.abs(logits).max())
        for variant, rows, ids in _variants(source, rng):
            again, again_attention = self.outputs(ids, target[rows])
            if self.plant == "a NaN in a variant":
                again[0, 0, 0] = np.nan
            difference = float(np.abs(again - logits[rows]).max()) / unit
            largest = np.fmax(largest, difference)
            # Not `>`, which is false for NaN.
            if not difference <= bound:
                found.append(f"logits differ by more than rounding {variant}")
            if not _attention_difference(again_attention, attention[rows]) <= bound:
                found.append(f"attention differs by more than rounding {variant}")
            for search, all_rows in zip(self._searches, hypotheses, strict=True):
                beam = all_rows.tokens.shape[1]
                name = "greedy search" if beam == 1 else f"beam search of {beam}"
                hypothesis = self._hypotheses(search, ids)
                if self.plant == "swapped hypotheses" and beam > 1:
                    hypothesis = type(hypothesis)(*(value[::-1] for value in hypothesis))
                found += [f"{each} {variant}" for each in self._problems_of(hypothesis, ids)]
                wanted = type(hypothesis)(*(value[rows] for value in all_rows))
                if self._steps_differ(hypothesis, wanted, ids, bound * unit):
                    found.append(f"{name} differs by more than rounding {variant}")
                if _same_attention_differs(hypothesis, wanted, bound):
                    found.append(f"attention of {name} differs by more than rounding {variant}")
        return found, float(largest)

    def _problems_of(self, hypotheses: Any, source: np.ndarray) -> list[str]:
        """Problems of the hypotheses of a search that can be seen without others."""
        found = _finite(hypotheses._asdict())
        written = np.arange(hypotheses.tokens.shape[-1]) < hypotheses.lengths[..., None]
        found += self._sums(hypotheses.attention, source, written)
        if (hypotheses.tokens[written] < 2).any():
            found.append("search found PAD or BOS")
        return found

    def _steps_differ(self, found: Any, wanted: Any, source: np.ndarray, tolerance: float) -> bool:
        """Whether tokens or their log-probabilities differ by more than rounding.

        Up to where rounding chose another token, the log-probabilities of the best hypotheses are
        compared; in a greedy search also those of that token: both are the best there. A beam
        search may then go on anywhere: there, the log-probabilities that it gives to its hypothesis
        must be those of the whole model.
        """
        greedy = found.tokens.shape[1] == 1
        same = found.tokens[:, 0] == wanted.tokens[:, 0]
        others = np.cumsum(~same, axis=1)
        until = others - ~same == 0 if greedy else others == 0
        difference = np.abs(found.token_scores[:, 0] - wanted.token_scores[:, 0])
        if not (np.where(until, difference, 0) <= tolerance).all():
            return True
        if greedy or same.all():
            return False
        tokens = found.tokens[:, 0].astype("int32")
        target = np.pad(tokens, [(0, 0), (1, 0)], constant_values=BOS)[:, :-1]
        logits = self.outputs(source, target)[0].astype("float64")
        logits -= logits.max(-1, keepdims=True)
        scores = np.take_along_axis(logits, tokens[..., None].astype("int64"), -1)[..., 0]
        scores -= np.log(np.exp(logits).sum(-1))
        difference = np.where(tokens != PAD, np.abs(scores - found.token_scores[:, 0]), 0)
        return not (difference[~same.all(1)] <= tolerance).all()

    def outputs(self, source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits and attention."""
        import keras

        logits, attention = map(keras.ops.convert_to_numpy, self._whole(source, target))
        if self.plant == "swapped rows" and len(source) > 1:
            logits = logits[::-1]
        if self.plant == "a NaN":
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
        length = source.shape[1] if compiles() else lengths[row]
        yield "alone", [row], source[row : row + 1, :length]
    order = rng.permutation(len(source))
    more = 1 if compiles() else int(rng.integers(1, 40))
    yield "in another order with more padding", order, np.pad(source[order], [(0, 0), (0, more)])


def _finite(arrays: dict[str, np.ndarray]) -> list[str]:
    return [f"{name} not finite" for name, each in arrays.items() if not np.isfinite(each).all()]


def _attention_difference(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest one, of attention on the positions that both have: others are padding."""
    places = min(found.shape[-1], wanted.shape[-1])
    return float(np.abs(found[..., :places] - wanted[..., :places]).max(initial=0))


def _same_attention_differs(found: Any, wanted: Any, tolerance: float) -> bool:
    """Whether the attention of best hypotheses with the same tokens differs."""
    same = (found.tokens[:, 0] == wanted.tokens[:, 0]).all(1)
    pair = found.attention[same, 0], wanted.attention[same, 0]
    return not _attention_difference(*pair) <= tolerance


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
