"""Verbalises values in a language: num2words spells them out, Babel formats them by CLDR."""

from __future__ import annotations

import collections
import copy
import datetime
import difflib
import functools
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

from keras_attn_nmt.extras import extra
from keras_attn_nmt.training.datasets.values import CURRENCIES, Kind, Money, Value

with extra("train"):
    from babel import Locale, UnknownLocaleError
    from babel.dates import format_date, format_time
    from babel.numbers import format_currency
    from num2words import CONVERTER_CLASSES

# Language codes that differ in the libraries. num2words writes Serbian in Latin script.
_NUM2WORDS_NAMES = {"kk": "kz"}
_BABEL_NAMES = {"sr": "sr_Latn"}

# num2words 0.5.14 gives two numbers the same text: az 10,000 and 11,000; tr 100,013 and 101,013;
# be 70th and 80th.
_DEFECTS = {("az", "cardinal"), ("tr", "cardinal"), ("be", "ordinal")}

# Direction marks, absent from typed text.
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))


class Language:
    """Verbalises values in one language.

    Args:
        code: Language code, such as `de`, `pt_BR` or `en-GB`.

    Raises:
        ValueError: num2words or Babel does not support it; the message lists supported ones.
    """

    def __init__(self, code: str) -> None:
        self.code, self._words, self._locale = _find_language(code)
        self._converter = _small_number_converter(self._words)
        self._dates: dict[tuple[str, int, int, int], list[str]] = {}
        self._distinct: dict[str, set[str]] = {}
        self._forms: dict[str, Callable[..., str | None]] = {
            "number": self._spell,
            "date": self._format_date,
            "time": self._format_time,
            "money": self._format_money,
            "written_money": self._spell_money,
        }
        # Most drawn numbers are small and repeat.
        self._number_text = functools.lru_cache(maxsize=2**16)(self._text)

    def word(self, kind: Kind, value: Value) -> str | None:
        """The text of a value, or `None` if this language does not support the kind."""
        if isinstance(value, int):
            return self._number_text(kind, value)
        if isinstance(value, Money) and value.currency not in self._currencies(kind):
            return None
        return self._text(kind, value)

    def _currencies(self, kind: Kind) -> set[str]:
        """The currencies with distinct texts: in Arabic, num2words calls all of them riyal."""
        if kind.name not in self._distinct:
            texts = {c: self._text(kind, Money(Decimal("2.50"), c)) for c in CURRENCIES}
            seen = collections.Counter(texts.values())
            self._distinct[kind.name] = {c for c, text in texts.items() if seen[text] == 1}
        return self._distinct[kind.name]

    def _text(self, kind: Kind, value: Value) -> str | None:
        try:
            text = self._forms[kind.family](value, kind.form)
        except Exception:  # num2words raises KeyError, TypeError, IndexError, ...
            return None
        if text is None:
            return None
        # Also replaces no-break spaces, frequent in CLDR but not in typed text.
        return " ".join(text.translate(_MARKS).split()) or None

    def _spell(self, number: int, form: str) -> str | None:
        if (self._words, form) in _DEFECTS:
            return None
        text: str = getattr(self._converter, f"to_{form}")(number)
        if form == "ordinal" and text == self._converter.to_cardinal(number):
            # num2words returns cardinals for languages without ordinals.
            return None
        return text

    def _spell_money(self, money: Money, form: str) -> str:
        text: str = getattr(self._converter, f"to_{form}")(money.amount, currency=money.currency)
        return text

    def _format_money(self, money: Money, form: Literal["standard", "name"]) -> str:
        return format_currency(money.amount, money.currency, locale=self._locale, format_type=form)

    def _format_time(self, time: datetime.time, form: str) -> str:
        return format_time(time, form, locale=self._locale)

    def _format_date(self, day: datetime.date, form: str) -> str | None:
        # Years in which a day falls on the same weekday differ only in their digits.
        key = (form, day.month, day.day, day.weekday())
        if key not in self._dates:
            text = format_date(day, form, locale=self._locale)
            self._dates[key] = text.split(f"{day.year}")
        around = self._dates[key]
        if len(around) == 1:
            # A two-digit year is ambiguous.
            return None
        return f"{day.year}".join(around)


def supported_languages() -> list[str]:
    """Codes of the languages that num2words and Babel both support, without Babel's variants."""
    names = {words: code for code, words in _NUM2WORDS_NAMES.items()}
    codes = (names.get(words, words) for words in CONVERTER_CLASSES)
    return sorted(code for code in codes if _babel_locale(code) is not None)


def _babel_locale(code: str) -> Locale | None:
    try:
        return Locale.parse(_BABEL_NAMES.get(code, code))
    except (UnknownLocaleError, ValueError):
        return None


def _small_number_converter(words: str) -> Any:
    """num2words' converter without the names of 10^9 to 10^600, which it would try first."""
    converter = copy.copy(CONVERTER_CLASSES[words])
    cards = getattr(converter, "cards", {})
    converter.cards = type(cards)((n, name) for n, name in cards.items() if n <= 10**6)
    return converter


def _find_language(code: str) -> tuple[str, str, Locale]:
    """Babel's code of a language, its num2words name and its locale."""
    locale = _babel_locale(code.replace("-", "_"))
    if locale is not None:
        # Falls back to the language of a variant that num2words lacks: en_GB to en.
        spelling = next((c for c, name in _BABEL_NAMES.items() if name == str(locale)), str(locale))
        for name in (spelling, locale.language):
            words = _NUM2WORDS_NAMES.get(name, name)
            if words in CONVERTER_CLASSES:
                return spelling, words, locale
    supported = supported_languages()
    names = {words: code for code, words in _NUM2WORDS_NAMES.items()}
    for known in supported:
        english = Locale.parse(known).english_name or known
        names |= {known: known, english.lower(): known}
    close = difflib.get_close_matches(code.lower(), names, n=1)
    hint = f" Did you mean {names[close[0]]!r}?" if close else ""
    raise ValueError(
        f"num2words and Babel do not both support {code!r}.{hint} "
        f"Supported, without regional variants: {', '.join(supported)}."
    )
