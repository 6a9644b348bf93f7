"""What can be protected, by name or by a pattern, as regular expressions."""

from __future__ import annotations

import re

from keras_attn_nmt.text.numbers import WHOLE
from keras_attn_nmt.text.punctuation import BEYOND_ASCII
from keras_attn_nmt.text.word_boundaries import UNSPACED_RANGES

DEFAULTS = "defaults"
# A character of a word, but not of a script without spaces, which may follow anything.
_CHARACTER = rf"(?![{UNSPACED_RANGES}])\w"
_BEGINS = rf"(?<!{_CHARACTER})"
# Up to a space, without punctuation at its end; brackets only in pairs, with placeholders.
_IN_BRACKETS = r"\([^\s<>\"'{}()]*\)|\{\{[^{}\n]*\}\}|\{[^{}\n]*\}"
_INSIDE = rf"[^\s<>\"'{{}}(){UNSPACED_RANGES}]"
_AT_END = rf"[^\s<>\"'{{}}().,;:!?\]*{BEYOND_ASCII}{UNSPACED_RANGES}]"
_TO_SPACE = rf"(?:{_IN_BRACKETS}|{_INSIDE})*(?:{_IN_BRACKETS}|{_AT_END})"
_LOCAL = rf"(?:[.+-]|{_CHARACTER})+"
_LABEL = rf"{_CHARACTER}(?:-|{_CHARACTER})*"
# In order of precedence, where two begin at the same place.
KINDS = {
    "url": rf"(?:(?i:https?|s?ftp|file)://|{_BEGINS}(?i:www)\.){_TO_SPACE}"
    rf"|{_BEGINS}(?i:mailto:){_LOCAL}@{_LABEL}(?:\.{_LABEL})*(?:\?{_TO_SPACE})?",
    "email": rf"(?<![.+-]){_BEGINS}{_LOCAL}@{_LABEL}(?:\.{_LABEL})+",
    # {{{x}}}, {{x}}, ${x}, %{x}, #{x}, {0:.2f}, {x|upper}, %(x)d, %1$s, %.2f; not the rest of
    # "100 % der".
    "placeholder": r"\{\{\{[^{}\n]*\}\}\}|\{\{[^{}\n]*\}\}"
    r"|[$%#]?\{[\w.,:!#?@+*/ \[\]<>=^|$%&~-]*\}|%\([\w.]+\)[#0 +-]*+[\d.]*+[a-zA-Z]"
    rf"|%(?:\d+\$)?[#0+-]*+\d*(?:\.\d+)?(?:hh|ll|[hlLzjt])?[sdiufFeEgGxXcraop@](?!{_CHARACTER})",
    "number": WHOLE.pattern,
}
# `tag` is found by `find_tags`.
NAMES = (*KINDS, "tag")


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern of the user.

    Raises:
        ValueError: It is not a regular expression, or empty.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"protect: {pattern!r} is not a regular expression: {error}.") from error
    if not pattern:
        raise ValueError("protect: an empty regular expression matches nothing.")
    return expression
