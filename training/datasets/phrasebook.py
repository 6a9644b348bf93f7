"""Numbers, dates, times and amounts of money, worded in one language and in another.

num2words writes numbers out and Babel formats dates, times and money as CLDR has them, so this is real
language with real reordering (`einundvierzig` -> `forty-one`) for every pair that both speak.

A text is worded by the same kind and format in both languages, and a source text has exactly one right
target text. Which split a phrase belongs to depends on its value alone: a value held out from training
occurs there in no kind, neither as a number nor as a year nor as an amount of money.
"""

from __future__ import annotations

import bisect
import collections
import copy
import dataclasses
import datetime
import difflib
import functools
import hashlib
import itertools
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import format_currency
from num2words import CONVERTER_CLASSES

logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
CURRENCIES = ("EUR", "USD", "GBP", "CHF")


class Money(NamedTuple):
    """An amount of money in a currency of two decimals."""

    amount: Decimal
    currency: str


Value = int | datetime.date | datetime.time | Money

# Languages that the libraries know by other names. num2words writes Serbian in Latin script.
_NUM2WORDS_NAMES = {"kk": "kz"}
_BABEL_NAMES = {"sr": "sr_Latn"}

# Where num2words 0.5.14 words two numbers alike: az 10,000 and 11,000; tr 100,013 and 101,013; be 70th
# and 80th.
_DEFECTS = {("az", "cardinal"), ("tr", "cardinal"), ("be", "ordinal")}

# Direction marks, which nobody types.
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))

# Smaller numbers are the words that larger ones are made of: without "null" or "zwölf" in training there
# would be nothing to translate them from.
_ALWAYS_TRAINING_BELOW = 100
_PERCENT_VALIDATION = 5
_PERCENT_TEST = 5

_FIRST_DAY = datetime.date(1900, 1, 1).toordinal()
_DAYS = datetime.date(2050, 1, 1).toordinal() - _FIRST_DAY

# A kind is left out if fewer than a quarter of so many values can be worded in both languages.
_PROBES = 100
# So many draws in a row without a phrase that is new: there are none left.
_PATIENCE = 200_000


def _below(rng: random.Random, limit: int) -> int:
    # Of all its methods, Python promises only for random() the same numbers in every version.
    return int(rng.random() * limit)


def _number(rng: random.Random, digits: int) -> int:
    """Each number of digits comes up as often as any other, so small numbers are well represented."""
    length = 1 + _below(rng, digits)
    low = 10 ** (length - 1) if length > 1 else 0
    return low + _below(rng, 10**length - low)


def _day(rng: random.Random) -> datetime.date:
    return datetime.date.fromordinal(_FIRST_DAY + _below(rng, _DAYS))


def _minute(rng: random.Random) -> datetime.time:
    return datetime.time(_below(rng, 24), _below(rng, 60))


def _second(rng: random.Random) -> datetime.time:
    return _minute(rng).replace(second=_below(rng, 60))


def _money(rng: random.Random, whole: int, cents: int) -> Money:
    amount = Decimal(100 * whole + cents).scaleb(-2)
    return Money(amount, CURRENCIES[_below(rng, len(CURRENCIES))])


def _price(rng: random.Random) -> Money:
    return _money(rng, _number(rng, 5), _below(rng, 100) if rng.random() < 0.5 else 0)


def _written_price(rng: random.Random) -> Money:
    # Neither part is zero: num2words words that oddly ("zero cents") or leaves the currency out.
    return _money(rng, 1 + _number(rng, 3), 1 + _below(rng, 99))


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """A way to word values.

    Attributes:
        name: Its name.
        weight: How often it comes up, relative to the other kinds.
        family: Kinds that word the same values, so that two of them may happen to give one text.
        form: Which of the family's forms this is.
        draw: Draws a value at random.
    """

    name: str
    weight: int
    family: str
    form: str
    draw: Callable[[random.Random], Value]


KINDS = {
    kind.name: kind
    for kind in (
        Kind("cardinal", 30, "number", "cardinal", lambda rng: _number(rng, 6)),
        Kind("ordinal", 10, "number", "ordinal", lambda rng: 1 + _number(rng, 4)),
        Kind("year", 8, "number", "year", lambda rng: 1000 + _below(rng, 1100)),
        Kind("date_full", 14, "date", "full", _day),
        Kind("date_long", 8, "date", "long", _day),
        Kind("date_medium", 6, "date", "medium", _day),
        Kind("time_short", 5, "time", "short", _minute),
        Kind("time_medium", 5, "time", "medium", _second),
        Kind("money_symbol", 5, "money", "standard", _price),
        Kind("money_name", 5, "money", "name", _price),
        Kind("money_words", 4, "written_money", "currency", _written_price),
    )
}


class Language:
    """One language: how it words values.

    Args:
        code: Such as `de`, `pt_BR` or `en-GB`.

    Raises:
        ValueError: num2words or Babel does not speak it; says which languages both do.
    """

    def __init__(self, code: str) -> None:
        self.code, self._words, self._locale = _find_language(code)
        self._converter = _small_number_converter(self._words)
        self._dates: dict[tuple[str, int, int, int], list[str]] = {}
        self._told_apart: dict[str, set[str]] = {}
        self._forms: dict[str, Callable[..., str]] = {
            "number": self._spell,
            "date": self._format_date,
            "time": self._format_time,
            "money": self._format_money,
            "written_money": self._spell_money,
        }
        # Most numbers that are drawn are small ones drawn before.
        self._number_text = functools.lru_cache(maxsize=2**16)(self._text)

    def word(self, kind: Kind, value: Value) -> str | None:
        """The text of a value, or None where this language has none of this kind."""
        if isinstance(value, int):
            return self._number_text(kind, value)
        if isinstance(value, Money) and value.currency not in self._currencies(kind):
            return None
        return self._text(kind, value)

    def _currencies(self, kind: Kind) -> set[str]:
        """The currencies that it tells apart: in Arabic, num2words calls all of them riyal."""
        if kind.name not in self._told_apart:
            texts = {c: self._text(kind, Money(Decimal("2.50"), c)) for c in CURRENCIES}
            seen = collections.Counter(texts.values())
            self._told_apart[kind.name] = {c for c, text in texts.items() if seen[text] == 1}
        return self._told_apart[kind.name]

    def _text(self, kind: Kind, value: Value) -> str | None:
        try:
            text = self._forms[kind.family](value, kind.form)
        except Exception:  # num2words: KeyError, TypeError, IndexError, ..., whatever comes up
            return None
        # Splits at no-break spaces too, of which CLDR has many and a keyboard has none.
        return " ".join(text.translate(_MARKS).split()) or None

    def _spell(self, number: int, form: str) -> str:
        if (self._words, form) in _DEFECTS:
            raise NotImplementedError
        text: str = getattr(self._converter, f"to_{form}")(number)
        if form == "ordinal" and text == self._converter.to_cardinal(number):
            # Languages that num2words has no ordinals of get their cardinals.
            raise NotImplementedError
        return text

    def _spell_money(self, money: Money, form: str) -> str:
        text: str = getattr(self._converter, f"to_{form}")(money.amount, currency=money.currency)
        return text

    def _format_money(self, money: Money, form: str) -> str:
        return format_currency(*money, locale=self._locale, format_type=form)

    def _format_time(self, time: datetime.time, form: str) -> str:
        return format_time(time, form, locale=self._locale)

    def _format_date(self, day: datetime.date, form: str) -> str:
        # Only its digits change from one year to another in which a day falls on the same weekday.
        key = (form, day.month, day.day, day.weekday())
        if key not in self._dates:
            text = format_date(day, form, locale=self._locale)
            self._dates[key] = text.split(f"{day.year}")
        around = self._dates[key]
        if len(around) == 1:
            # A year of two digits, which could be in either century.
            raise NotImplementedError
        return f"{day.year}".join(around)


def supported_languages() -> list[str]:
    """Codes of the languages that both num2words and Babel speak, regional variants of Babel aside."""
    names = {words: code for code, words in _NUM2WORDS_NAMES.items()}
    codes = (names.get(words, words) for words in CONVERTER_CLASSES)
    return sorted(code for code in codes if _babel_locale(code) is not None)


def _babel_locale(code: str) -> Locale | None:
    try:
        return Locale.parse(_BABEL_NAMES.get(code, code))
    except (UnknownLocaleError, ValueError):
        return None


def _small_number_converter(words: str) -> Any:
    """num2words' converter without the names of 10^9 to 10^600, which it tries first for each number."""
    converter = copy.copy(CONVERTER_CLASSES[words])
    cards = getattr(converter, "cards", {})
    converter.cards = type(cards)((n, name) for n, name in cards.items() if n <= 10**6)
    return converter


def _find_language(code: str) -> tuple[str, str, Locale]:
    """The code in Babel's spelling, its name in num2words, and its locale."""
    locale = _babel_locale(code.replace("-", "_"))
    if locale is not None:
        # Only num2words' own variants are listed there: en_GB writes its numbers as en does.
        spelling = next((c for c, name in _BABEL_NAMES.items() if name == str(locale)), str(locale))
        for name in (spelling, locale.language):
            words = _NUM2WORDS_NAMES.get(name, name)
            if words in CONVERTER_CLASSES:
                return spelling, words, locale
    supported = supported_languages()
    names = {words: code for code, words in _NUM2WORDS_NAMES.items()}
    for known in supported:
        names |= {known: known, (_babel_locale(known).english_name or known).lower(): known}
    close = difflib.get_close_matches(code.lower(), names, n=1)
    hint = f" Did you mean {names[close[0]]!r}?" if close else ""
    raise ValueError(
        f"num2words and Babel do not both speak {code!r}.{hint} "
        f"Supported, regional variants aside: {', '.join(supported)}."
    )


def split_of(value: Value) -> str:
    """The split that a value belongs to: the same in every kind, language pair and run.

    1990 is one value as a number, a year and an amount of money, whatever the currency.
    """
    if isinstance(value, Money):
        amount = value.amount
        key = f"{amount:f}".rstrip("0").rstrip(".") if amount % 1 else f"{int(amount)}"
    else:
        key = value.isoformat() if not isinstance(value, int) else str(value)
    if key.isdecimal() and int(key) < _ALWAYS_TRAINING_BELOW:
        return "train"
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    percent = int.from_bytes(digest, "big") % 100
    if percent < _PERCENT_TEST:
        return "test"
    return "validation" if percent < _PERCENT_TEST + _PERCENT_VALIDATION else "train"


class Phrasebook:
    """Phrases in two languages, made on the fly: any number of them, reproducibly, in flat memory.

    Example:

        book = Phrasebook("de", "en")
        for source, target in book.pairs("train", 5_000_000):
            ...

    Args:
        source_language: Such as `de`, `pt_BR` or `en-GB`; see `supported_languages`.
        target_language: Likewise.
        kinds: Names of `KINDS` to draw from; all by default.

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

    def pairs(
        self, split: str, count: int | None = None, seed: int = 0
    ) -> Iterator[tuple[str, str]]:
        """Draws pairs of (source, target) of a split: as many as `count`, or without end.

        The same arguments give the same pairs with the same versions of num2words and Babel. Pairs of
        `train` come up as often as they are drawn; those of `validation` and `test` come up once.

        Raises:
            ValueError: unknown split; and from the iterator, a split with fewer distinct pairs.
        """
        if split not in SPLITS:
            raise ValueError(f"Unknown split {split!r}. Splits: {', '.join(SPLITS)}.")
        return itertools.islice(self._draw(split, seed), count)

    def _has(self, kind: Kind) -> bool:
        rng = random.Random(0)
        worded = sum(self.pair(kind.name, kind.draw(rng)) is not None for _ in range(_PROBES))
        return worded >= _PROBES / 4

    def _draw(self, split: str, seed: int) -> Iterator[tuple[str, str]]:
        rng = random.Random(f"{split} {seed}")
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
                        f"{self.source.code}-{self.target.code} has only {len(seen)} distinct {split} "
                        f"pairs of the kinds {', '.join(self.kinds)}. Ask for fewer."
                    )
                continue
            in_vain = 0
            if split != "train":
                seen.add(pair[0])
            yield pair
