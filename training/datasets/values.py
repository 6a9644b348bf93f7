"""The values of phrases: numbers, dates, times and amounts of money, and how they are sampled."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

SPLITS = ("train", "validation", "test")
CURRENCIES = ("EUR", "USD", "GBP", "CHF")

# Small numbers are the parts of large ones: "null" or "zwölf" must occur in training to be learned.
_ALWAYS_TRAINING_BELOW = 100
_PERCENT_VALIDATION = 5
_PERCENT_TEST = 5

_FIRST_DAY = datetime.date(1900, 1, 1).toordinal()
_DAYS = datetime.date(2050, 1, 1).toordinal() - _FIRST_DAY


class Money(NamedTuple):
    """An amount of money in a currency of two decimals."""

    amount: Decimal
    currency: str


Value = int | datetime.date | datetime.time | Money


def split_of(value: Value | Decimal) -> str:
    """The split of a value, identical for every kind, language pair and run.

    1990 is one value as a number, as a year and as an amount of money in any currency.
    """
    if isinstance(value, Money):
        whole = value.amount == int(value.amount)
        value = int(value.amount) if whole else value.amount.normalize()
    if isinstance(value, int) and value < _ALWAYS_TRAINING_BELOW:
        return "train"
    key = str(value) if isinstance(value, int | Decimal) else value.isoformat()
    digest = hashlib.blake2b(key.encode(), digest_size=4).digest()
    percent = int.from_bytes(digest, "big") % 100
    if percent < _PERCENT_TEST:
        return "test"
    return "validation" if percent < _PERCENT_TEST + _PERCENT_VALIDATION else "train"


class Variants(NamedTuple):
    """Values that differ from a given value in one part.

    Attributes:
        part: Names of the changed part, such as `digit 2` (the hundreds) or `month`.
        values: The changed values.
        replaced: Whether words that change name the part; otherwise they only depend on it
            (`hundred` in `two hundred`, `cents` on the currency).
    """

    part: frozenset[str]
    values: Sequence[Value]
    replaced: bool = True


class _OnWeekday(datetime.date):
    """A date with a false weekday, to separate the words for the weekday from those for the day."""

    def on(self, weekday: int) -> _OnWeekday:
        self._weekday = weekday
        return self

    def weekday(self) -> int:
        return self._weekday


def variants(value: Value) -> Iterator[Variants]:
    """Variants of a value in each of its parts, single digits first."""
    if isinstance(value, Money):
        whole = int(value.amount)
        for part, numbers, replaced in _other_numbers(whole):
            amounts = [value._replace(amount=value.amount - whole + each) for each in numbers]
            yield Variants(part, amounts, replaced)
        cents = int(100 * (value.amount - whole))
        others = [Decimal(100 * whole + (cents + more) % 100).scaleb(-2) for more in (1, 2)]
        yield _replaced("cents", *(value._replace(amount=amount) for amount in others))
        currencies = [currency for currency in CURRENCIES if currency != value.currency]
        yield _replaced("currency", *(value._replace(currency=each) for each in currencies))
        # Cents belong to some currencies only: to dollars and euros, not to pounds.
        for each in currencies:
            yield Variants(frozenset({"currency"}), [value._replace(currency=each)], False)
    elif isinstance(value, datetime.date):
        day = _OnWeekday(value.year, value.month, min(value.day, 28))
        weekday = value.weekday()
        yield _replaced("year", day.replace(year=value.year + 1).on(weekday))
        yield _replaced("month", day.replace(month=value.month % 12 + 1).on(weekday))
        yield _replaced("day", day.replace(day=value.day % 28 + 1).on(weekday))
        same = _OnWeekday(value.year, value.month, value.day)
        yield _replaced("weekday", same.on((weekday + 1) % 7))
    elif isinstance(value, datetime.time):
        for hours in (1, 12):
            yield _replaced("hour", value.replace(hour=(value.hour + hours) % 24))
        yield _replaced("minute", value.replace(minute=(value.minute + 1) % 60))
        yield _replaced("second", value.replace(second=(value.second + 1) % 60))
    else:
        for part, numbers, replaced in _other_numbers(value):
            yield Variants(part, numbers, replaced)


def _replaced(part: str, *values: Value) -> Variants:
    return Variants(frozenset({part}), list(values))


def _other_numbers(number: int) -> Iterator[tuple[frozenset[str], list[int], bool]]:
    """`variants` for a number."""
    digits = {power: int(digit) for power, digit in enumerate(reversed(str(number)))}
    for power, digit in digits.items():
        part = frozenset({f"digit {power}"})
        if digit or not number:
            # Two, because inflection changes too: Russian has three forms of "thousand".
            others = sorted(set(range(1, 10)) - {digit}, key=lambda other: abs(other - digit))[:2]
            yield part, [number + (other - digit) * 10**power for other in others], True
        if digit:
            yield part, [number - digit * 10**power], False
    # No single digit accounts for "and" in "one hundred and eleven", and for "thousand": they
    # remain while any of these digits does.
    for power in (0, 3):
        if digits.get(power) and digits.get(power + 1):
            part = frozenset({f"digit {power}", f"digit {power + 1}"})
            yield part, [number - number // 10**power % 100 * 10**power], False
    thousands = [f"digit {power}" for power, digit in digits.items() if power > 2 and digit]
    if thousands:
        yield frozenset(thousands), [number % 1000], False


def _below(rng: random.Random, limit: int) -> int:
    # Python guarantees reproducibility across versions only for random().
    return int(rng.random() * limit)


def _number(rng: random.Random, digits: int) -> int:
    """Uniform in the number of digits, so that small numbers are frequent."""
    length = 1 + _below(rng, digits)
    low = 10 ** (length - 1) if length > 1 else 0
    return low + _below(rng, 10**length - low)


def _day(rng: random.Random) -> datetime.date:
    return datetime.date.fromordinal(_FIRST_DAY + _below(rng, _DAYS))


def _time(rng: random.Random, seconds: int = 1) -> datetime.time:
    return datetime.time(_below(rng, 24), _below(rng, 60), _below(rng, seconds))


def _money(rng: random.Random, whole: int, cents: int) -> Money:
    amount = Decimal(100 * whole + cents).scaleb(-2)
    return Money(amount, CURRENCIES[_below(rng, len(CURRENCIES))])


def _price(rng: random.Random) -> Money:
    return _money(rng, _number(rng, 5), _below(rng, 100) if rng.random() < 0.5 else 0)


def _written_price(rng: random.Random) -> Money:
    # No part is zero: num2words writes "zero cents" or omits the currency.
    return _money(rng, 1 + _number(rng, 3), 1 + _below(rng, 99))


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """A way to verbalise values.

    Attributes:
        name: Its name.
        weight: Relative sampling weight.
        family: Group of kinds with the same values, whose texts may coincide.
        form: Its form within the family.
        draw: Samples a value.
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
        Kind("time_short", 5, "time", "short", _time),
        Kind("time_medium", 5, "time", "medium", lambda rng: _time(rng, seconds=60)),
        Kind("money_symbol", 5, "money", "standard", _price),
        Kind("money_name", 5, "money", "name", _price),
        Kind("money_words", 4, "written_money", "currency", _written_price),
    )
}
