"""What phrases are about: numbers, dates, times and amounts of money, and how they are drawn."""

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

# Smaller numbers are the words that larger ones are made of: without "null" or "zwölf" in training
# there would be nothing to learn them from.
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
    """The split that a value belongs to: the same in every kind, language pair and run.

    1990 is one value as a number, a year and an amount of money, whatever the currency.
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
    """Values that are other ones in one part.

    Attributes:
        part: Names of what is different, such as `digit 2` (the hundreds) or `month`.
        values: The other values.
        replaced: Whether the part is another one there; otherwise it is gone, with all that is
            said because of it (`hundred` in `two hundred`).
    """

    part: frozenset[str]
    values: Sequence[Value]
    replaced: bool = True


class _OnWeekday(datetime.date):
    """A day that says it is on another weekday than it is, to tell words of one from the other."""

    def on(self, weekday: int) -> _OnWeekday:
        self._weekday = weekday
        return self

    def weekday(self) -> int:
        return self._weekday


def variants(value: Value) -> Iterator[Variants]:
    """Values that differ from one in each of its parts, those in a single digit first."""
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
    """As `variants`, of a number."""
    digits = {power: int(digit) for power, digit in enumerate(reversed(str(number)))}
    for power, digit in digits.items():
        part = frozenset({f"digit {power}"})
        if digit or not number:
            # Two of them, as forms change too: Russian has one word for 1, 2 to 4, 5 thousands.
            others = sorted(set(range(1, 10)) - {digit}, key=lambda other: abs(other - digit))[:2]
            yield part, [number + (other - digit) * 10**power for other in others], True
        if digit:
            yield part, [number - digit * 10**power], False
    # Words that no single digit takes away: "thousand" stays while there is any of them.
    thousands = [f"digit {power}" for power, digit in digits.items() if power > 2 and digit]
    if thousands:
        yield frozenset(thousands), [number % 1000], False


def _below(rng: random.Random, limit: int) -> int:
    # Of all its methods, Python promises only for random() the same numbers in every version.
    return int(rng.random() * limit)


def _number(rng: random.Random, digits: int) -> int:
    """Each number of digits comes up as often as any other, so small numbers come up often."""
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
        Kind("time_short", 5, "time", "short", _time),
        Kind("time_medium", 5, "time", "medium", lambda rng: _time(rng, seconds=60)),
        Kind("money_symbol", 5, "money", "standard", _price),
        Kind("money_name", 5, "money", "name", _price),
        Kind("money_words", 4, "written_money", "currency", _written_price),
    )
}
