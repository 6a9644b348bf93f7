"""What can be protected by name, as regular expressions."""

from __future__ import annotations

from keras_attn_nmt.text.numbers import WHOLE

DEFAULTS = "defaults"
# Up to a space, without punctuation at its end; brackets only in pairs, with placeholders.
_IN_BRACKETS = r"\([^\s<>\"'{}()]*\)|\{\{[^{}\n]*\}\}|\{[^{}\n]*\}"
_TO_SPACE = rf"(?:{_IN_BRACKETS}|[^\s<>\"'{{}}()])*(?:{_IN_BRACKETS}|[^\s<>\"'{{}}().,;:!?\]])"
# In order of precedence, where two begin at the same place.
KINDS = {
    "url": rf"(?:https?|ftp|file)://{_TO_SPACE}|\bwww\.{_TO_SPACE}"
    rf"|\bmailto:[\w.+-]+@[\w.-]+\w(?:\?{_TO_SPACE})?",
    "email": r"(?<![\w.+-])[\w.+-]+@\w[\w-]*(?:\.\w[\w-]*)+",
    # {{x}}, ${x}, {0:.2f}, {x|upper}, %(x)d, %1$s, %.2f; not the rest of "100 % der".
    "placeholder": r"\{\{[^{}\n]*\}\}|\$?\{[\w.,:!#?@+*/ \[\]<>=^|$%&~-]*\}"
    r"|%\([\w.]+\)[#0 +-]*[\d.]*[a-zA-Z]"
    r"|%(?:\d+\$)?[#0+-]*\d*(?:\.\d+)?(?:hh|ll|[hlLzjt])?[sdiufFeEgGxXcraop@](?!\w)",
    "number": WHOLE.pattern,
}
# `tag` is found by `find_tags`.
NAMES = (*KINDS, "tag")
