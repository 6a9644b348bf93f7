"""What phrases are about: numbers, dates, times and amounts of money, and how they are drawn."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import random
from collections.abc import Callable
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
