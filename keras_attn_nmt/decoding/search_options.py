"""Search options: defaults and validation.

Requires only the standard library.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from keras_attn_nmt.checks import check_known, check_whole, is_number

# Far above useful sizes (5 to 12), and still a manageable graph.
MAX_EXPORTED_BEAM = 100
# Diverse hypotheses continue one after the other.
MAX_DIVERSE_BEAM = 100
# What a model directory or command may ask for: more would take all memory, or leave nothing of the
# log-probability.
MOST = {
    "beam_size": 10_000,
    "max_length": 100_000,
    "length_penalty": 5,
    "coverage_penalty": 10,
    "diversity_penalty": 10,
}


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """Search options, stored with the model.

    They are saved in `config.json` under `search`, and are the defaults of `Translator`, the
    command line and all exports of the model. `.tflite` files and web pages have a maximum length
    of their own.

    Args:
        beam_size: Beam size; 1 is greedy search. In [1, 10000].
        length_penalty: Exponent of the length penalty (Wu et al. 2016, eq. 14); 0 disables it. In
            [0, 5].
        max_length: Maximum target length in tokens, `</s>` included. In [1, 100000].
        coverage_penalty: Weight of the coverage penalty, beta in Wu et al. 2016, eq. 14; 0 disables
            it. In [0, 10]. See `decoding.coverage`.
        diversity_penalty: Penalty of a token that an earlier hypothesis of the beam took at the
            same step, in nats, lambda in Vijayakumar et al. 2018; 0 disables diverse beam search.
            In [0, 10]. Needs a beam size from 2 to 100. See `decoding.diverse_search`.

    Raises:
        ValueError: A value is out of range.
    """

    beam_size: int = 5
    length_penalty: float = 1.0
    max_length: int = 200
    coverage_penalty: float = 0.0
    diversity_penalty: float = 0.0

    def __post_init__(self) -> None:
        for name in ("beam_size", "max_length"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name)))
        for name in ("length_penalty", "coverage_penalty", "diversity_penalty"):
            penalty = getattr(self, name)
            if not is_number(penalty) or not math.isfinite(penalty) or penalty < 0:
                raise ValueError(f"{name} must be a finite number of at least 0, got {penalty!r}.")
            object.__setattr__(self, name, float(penalty))
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, got {getattr(self, name)}.")
        if self.diversity_penalty and not 2 <= self.beam_size <= MAX_DIVERSE_BEAM:
            raise ValueError(
                f"diversity_penalty={self.diversity_penalty:g} needs a beam_size from 2 to "
                f"{MAX_DIVERSE_BEAM}, got {self.beam_size}: use another one, or "
                "diversity_penalty=0."
            )

    def replaced(self, **given: Any) -> SearchOptions:
        """A copy with the given values; `None` keeps the current value, but for a diversity penalty
        where the given beam size is 1: there are no hypotheses that could differ."""
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("beam_size") == 1:
            given.setdefault("diversity_penalty", 0.0)
        return dataclasses.replace(self, **given)

    def replaced_by(self, options: Mapping[str, Any]) -> SearchOptions:
        """A copy with the values of a mapping that may have other options, too."""
        names = [field.name for field in dataclasses.fields(self)]
        return self.replaced(**{name: options.get(name) for name in names})

    def __str__(self) -> str:
        """The options in words."""
        words = (
            f"beam size {self.beam_size}, length penalty {self.length_penalty:g}, maximum length "
            f"{self.max_length}"
        )
        if self.coverage_penalty:
            words += f", coverage penalty {self.coverage_penalty:g}"
        if self.diversity_penalty:
            words += f", diversity penalty {self.diversity_penalty:g}"
        return words

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchOptions:
        """Creates options from a mapping; unknown names raise `ValueError`."""
        check_known("search option", values, (field.name for field in dataclasses.fields(cls)))
        return cls(**values)


def check_exported_beam(options: SearchOptions) -> None:
    """Raises `ValueError` for a beam size above the limit of exports."""
    if options.beam_size > MAX_EXPORTED_BEAM:
        raise ValueError(
            f"beam_size must be at most {MAX_EXPORTED_BEAM} in exported models, got "
            f"{options.beam_size}."
        )


def check_constrained(options: SearchOptions, copy: bool = False) -> None:
    """Raises `ValueError` for options that `constrained_search` does not have."""
    if copy:
        raise ValueError(
            "copy=True is not available with a glossary or constraints: copied words may replace "
            "those of their phrases. Leave one of them out."
        )
    if options.diversity_penalty:
        raise ValueError(
            f"diversity_penalty={options.diversity_penalty:g} is not available with a glossary or "
            "constraints: use diversity_penalty=0, or leave them out."
        )


def length_penalty(length: Any, alpha: float) -> Any:
    """`((5 + length) / 6) ** alpha` (Wu et al. 2016, eq. 14) of a number or a float tensor.

    A hypothesis' log-probability is divided by it. It is 1 where `alpha` is 0.
    """
    return ((5.0 + length) / 6.0) ** alpha


def longest_translation(source_length: Any) -> Any:
    """Maximum target length of a source of that many tokens, `</s>` included in both.

    It depends on the sentence only, so that a translation that never ends neither changes nor
    delays the others of its batch.
    """
    return 3 * source_length + 20
