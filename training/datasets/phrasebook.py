"""Numbers, dates, times and amounts of money, worded in one language and in another.

num2words writes numbers out and Babel formats dates, times and money as CLDR has them, so this is
real language with real reordering (`einundvierzig` -> `forty-one`) for every pair that both speak.

Both languages word a value by the same kind and format, and a source text has exactly one right
target text. Which split a phrase belongs to depends on its value alone: a value held out from
training occurs there in no kind, neither as a number nor as a year nor as an amount of money.
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

# A kind is left out if fewer than a quarter of so many values can be worded in both languages.
_PROBES = 100
# So many draws in a row without a phrase that is new: there are none left.
_PATIENCE = 200_000


class Phrase(NamedTuple):
    """A value of a kind, worded in both languages."""

    kind: str
    value: Value
    source: str
    target: str


class Phrasebook:
    """Phrases in two languages, made on the fly: any number of them, reproducibly, in flat memory.

    Example:

        book = Phrasebook("de", "en")
        for source, target in book.pairs("train", 5_000_000):
            ...

    Args:
        source_language: Such as `de`, `pt_BR` or `en-GB`; see `wording.supported_languages`.
        target_language: Likewise.
        kinds: Names of `values.KINDS` to draw from; all by default.

    Attributes:
        kinds: The kinds that both languages have.
        left_out: The others.

    Raises:
        ValueError: an unsupported language, an unknown kind, or no kind that both languages have.
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
        self._rivals = {
            name: [KINDS[k] for k in wanted[:i] if KINDS[k].family == KINDS[name].family]
            for i, name in enumerate(wanted)
        }
        self.kinds = tuple(name for name in wanted if self._has(KINDS[name]))
        self.left_out = tuple(name for name in wanted if name not in self.kinds)
        pair = f"{self.source.code}-{self.target.code}"
        if not self.kinds:
            raise ValueError(f"{pair} has none of these kinds: {', '.join(wanted)}.")
        if self.left_out:
            logger.info("phrases %s: no %s in this pair", pair, ", ".join(self.left_out))

    def pair(self, kind: str, value: Value) -> tuple[str, str] | None:
        """Words a value in both languages; None where that is not possible without ambiguity.

        Args:
            kind: Name of one of the kinds that this book was asked for.
            value: A value of that kind.
        """
        source = self.source.word(KINDS[kind], value)
        target = self.target.word(KINDS[kind], value)
        if source is None or target is None:
            return None
        for rival in self._rivals[kind]:
            # 2010 reads "zweitausendzehn" as a number and as a year, but "two thousand and ten" and
            # "twenty ten": the source text belongs to the first kind.
            if (
                self.source.word(rival, value) == source
                and self.target.word(rival, value) != target
            ):
                return None
        return source, target

    def alignment(self, phrase: Phrase) -> GoldAlignment:
        """Which words of the two texts say the same of the value; see `provenance`."""
        kind = KINDS[phrase.kind]
        return gold_alignment(
            functools.partial(self.source.word, kind),
            functools.partial(self.target.word, kind),
            phrase.value,
        )

    def pairs(
        self, split: str, count: int | None = None, seed: int = 0
    ) -> Iterator[tuple[str, str]]:
        """Pairs of (source, target) of a split: as many as `count`, or without end; see `draw`."""
        phrases = itertools.islice(self.draw(split, seed), count)
        return ((phrase.source, phrase.target) for phrase in phrases)

    def draw(self, split: str, seed: int = 0) -> Iterator[Phrase]:
        """Phrases of a split, drawn at random without end.

        The same arguments give the same phrases with the same versions of num2words and Babel.
        Those of `train` come up as often as they are drawn, those of the other splits only once.

        Raises:
            ValueError: unknown split; and from the iterator, when a split has no more phrases.
        """
        if split not in SPLITS:
            raise ValueError(f"Unknown split {split!r}. Splits: {', '.join(SPLITS)}.")
        return self._draw(split, random.Random(f"{split} {seed}"))

    def _has(self, kind: Kind) -> bool:
        rng = random.Random(0)
        worded = sum(self.pair(kind.name, kind.draw(rng)) is not None for _ in range(_PROBES))
        return worded >= _PROBES / 4

    def _draw(self, split: str, rng: random.Random) -> Iterator[Phrase]:
        kinds = [KINDS[name] for name in self.kinds]
        bounds = list(itertools.accumulate(kind.weight for kind in kinds))
        seen: set[str] = set()
        in_vain = 0
        while True:
            kind = kinds[bisect.bisect(bounds, rng.random() * bounds[-1])]
            value = kind.draw(rng)
            pair = self.pair(kind.name, value) if split_of(value) == split else None
            if pair is None or pair[0] in seen:
                in_vain += 1
                if in_vain == _PATIENCE:
                    raise ValueError(
                        f"{self.source.code}-{self.target.code} has only {len(seen)} distinct "
                        f"{split} pairs of the kinds {', '.join(self.kinds)}. Ask for fewer."
                    )
                continue
            in_vain = 0
            if split != "train":
                seen.add(pair[0])
            yield Phrase(kind.name, value, *pair)
