"""Parallel phrases: numbers, dates, times and amounts of money, verbalised in two languages.

num2words spells out numbers; Babel formats dates, times and money by CLDR. The pairs are therefore
natural language with natural reordering (`einundvierzig` -> `forty-one`), for every language pair
that both libraries support.

Both languages verbalise a value in the same kind and format, and each source text has exactly one
correct target text. The split of a phrase depends only on its value: a held-out value never occurs
in training in any kind (number, year or amount of money).
"""

from __future__ import annotations

import bisect
import functools
import itertools
import logging
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from keras_attn_nmt.text.alignment import GoldAlignment
from keras_attn_nmt.training.datasets.provenance import gold_alignment
from keras_attn_nmt.training.datasets.values import KINDS, SPLITS, Kind, Value, split_of
from keras_attn_nmt.training.datasets.wording import Language

logger = logging.getLogger(__name__)

# A kind is skipped if both languages verbalise fewer than a quarter of this many random values.
_PROBES = 100
# A split counts as exhausted after this many consecutive rejected draws.
_MAX_REJECTED = 200_000


class Phrase(NamedTuple):
    """A value, verbalised in both languages."""

    kind: str
    value: Value
    source: str
    target: str


class Phrasebook:
    """Generates reproducible phrase pairs on the fly, in constant memory.

    Example:

        book = Phrasebook("de", "en")
        for source, target in book.pairs("train", 5_000_000):
            ...

    Args:
        source_language: Such as `de`, `pt_BR` or `en-GB`; see `wording.supported_languages`.
        target_language: Same for the target.
        kinds: Names of `values.KINDS` to draw from; defaults to all.

    Attributes:
        kinds: The kinds that both languages support.
        left_out: The other requested kinds.

    Raises:
        ValueError: A language or kind is unknown, or both languages have no kind in common.
    """

    def __init__(
        self, source_language: str, target_language: str, kinds: Sequence[str] | None = None
    ) -> None:
        self.source = Language(source_language)
        self.target = Language(target_language)
        if self.source.code == self.target.code:
            raise ValueError(f"The source and the target language are both {self.source.code!r}.")
        if unknown := sorted(set(kinds or ()) - set(KINDS)):
            raise ValueError(f"Unknown kinds: {', '.join(unknown)}. Known: {', '.join(KINDS)}.")
        wanted = [name for name in KINDS if kinds is None or name in kinds]
        self._preceding = {
            name: [KINDS[k] for k in wanted[:i] if KINDS[k].family == KINDS[name].family]
            for i, name in enumerate(wanted)
        }
        self.kinds = tuple(name for name in wanted if self._supports(KINDS[name]))
        self.left_out = tuple(name for name in wanted if name not in self.kinds)
        pair = f"{self.source.code}-{self.target.code}"
        if not self.kinds:
            raise ValueError(f"{pair} has none of these kinds: {', '.join(wanted)}.")
        if self.left_out:
            logger.info("phrases %s: no %s in this pair", pair, ", ".join(self.left_out))

    def pair(self, kind: str, value: Value) -> tuple[str, str] | None:
        """Verbalises a value in both languages; `None` if unsupported or ambiguous.

        Args:
            kind: Name of one of the requested kinds.
            value: A value of this kind.
        """
        source = self.source.word(KINDS[kind], value)
        target = self.target.word(KINDS[kind], value)
        if source is None or target is None:
            return None
        for other in self._preceding[kind]:
            # 2010 is "zweitausendzehn" both as a number and as a year, but "two thousand and ten"
            # and "twenty ten" in English: the first kind takes the source text.
            if (
                self.source.word(other, value) == source
                and self.target.word(other, value) != target
            ):
                return None
        return source, target

    def alignment(self, phrase: Phrase) -> GoldAlignment:
        """The gold word alignment of a phrase; see `provenance`."""
        kind = KINDS[phrase.kind]
        return gold_alignment(
            functools.partial(self.source.word, kind),
            functools.partial(self.target.word, kind),
            phrase.value,
        )

    def pairs(
        self, split: str, count: int | None = None, seed: int = 0
    ) -> Iterator[tuple[str, str]]:
        """`count` pairs `(source, target)` of a split, or infinitely many; see `draw`."""
        phrases = itertools.islice(self.draw(split, seed), count)
        return ((phrase.source, phrase.target) for phrase in phrases)

    def draw(self, split: str, seed: int = 0) -> Iterator[Phrase]:
        """Infinitely many random phrases of a split.

        Reproducible for fixed arguments and versions of num2words and Babel. `train` samples with
        replacement, the other splits without.

        Raises:
            ValueError: The split is unknown; from the iterator: the split is exhausted.
        """
        if split not in SPLITS:
            raise ValueError(f"Unknown split {split!r}. Splits: {', '.join(SPLITS)}.")
        return self._draw(split, random.Random(f"{split} {seed}"))

    def _supports(self, kind: Kind) -> bool:
        rng = random.Random(0)
        supported = sum(self.pair(kind.name, kind.draw(rng)) is not None for _ in range(_PROBES))
        return supported >= _PROBES / 4

    def _draw(self, split: str, rng: random.Random) -> Iterator[Phrase]:
        kinds = [KINDS[name] for name in self.kinds]
        bounds = list(itertools.accumulate(kind.weight for kind in kinds))
        seen: set[str] = set()
        rejected = 0
        while True:
            kind = kinds[bisect.bisect(bounds, rng.random() * bounds[-1])]
            value = kind.draw(rng)
            pair = self.pair(kind.name, value) if split_of(value) == split else None
            if pair is None or pair[0] in seen:
                rejected += 1
                if rejected == _MAX_REJECTED:
                    raise ValueError(
                        f"{self.source.code}-{self.target.code} has only {len(seen)} distinct "
                        f"{split} pairs of the kinds {', '.join(self.kinds)}. Ask for fewer."
                    )
                continue
            rejected = 0
            if split != "train":
                seen.add(pair[0])
            yield Phrase(kind.name, value, *pair)
