"""Protected text: what a translation has to contain unchanged, once, and in the right place.

    plan = protection.plan(text)        # plan.text is for the model
    restored = plan.restore(translation)

Placeholders, URLs and tags are taken out of the text and put back by attention (see `placement`).
Numbers stay in the text, as models copy most of them, and are repaired by attention. Placeholders,
URLs and tags that are only in the model's translation are removed. Requires only NumPy and the
translation, so that it works with every runtime.
"""

from __future__ import annotations

import dataclasses
import difflib
import logging
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from keras_attn_nmt.text.markup import TAG, MarkupError, Part, find_tags, parse_markup, unescape
from keras_attn_nmt.text.numbers import with_whole_numbers
from keras_attn_nmt.text.placement import Mark
from keras_attn_nmt.text.protected_kinds import DEFAULTS, KINDS, NAMES, compiled
from keras_attn_nmt.text.punctuation import CLOSING
from keras_attn_nmt.text.restoring import restored_text
from keras_attn_nmt.text.words import is_word

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

logger = logging.getLogger(__name__)

_NUMBERS = re.compile(r"\d[\d.,:/-]*")
# Stays in the text.
_NUMBER = "number"
_BLOCKS = "br|hr|p|div|li|ul|ol|td|th|tr|h[1-6]"
_BLOCK = re.compile(rf"</?(?:{_BLOCKS})\b", re.IGNORECASE)
_SEPARATING = re.compile(rf"</?(?:{_BLOCKS}|x|bx|ex|lb)\b", re.IGNORECASE)


class Protection:
    """What is protected in texts, and how.

    Args:
        protect: Regular expressions, and names of what is known: `"url"`, `"email"`,
            `"placeholder"` (`{name}`, `${name}`, `%{name}`, `#{name}`, `{{name}}`, `{{{name}}}`,
            `%s`, `%(name)d`), `"number"`, `"tag"`, or `"defaults"` for all of these.
        markup: Texts are HTML or XLIFF: tags have to be well-formed, and remain so; `&amp;` and
            other entities are resolved for the model, and `&`, `<` and `>` of the translation
            escaped.
        stand_in: What the model sees instead of protected text that is not a number or a tag: a
            word that it was trained to copy. By default the text is taken out.
        wanted: Phrases that translations must contain: what is part of one is not removed from a
            translation, even if the text lacks it.

    Raises:
        ValueError: A regular expression is not valid, or matches nothing.

    Example:
        >>> protection = Protection(["placeholder"])
        >>> protection.plan("Hallo {name}, wie geht's?").text
        "Hallo, wie geht's?"
    """

    def __init__(
        self,
        protect: Iterable[str] = (),
        *,
        markup: bool = False,
        stand_in: str | None = None,
        wanted: Iterable[str] = (),
    ):
        if isinstance(protect, str):
            raise ValueError(f"protect must be a list, got one string: write [{protect!r}].")
        names: list[str] = []
        for each in protect:
            names += NAMES if each == DEFAULTS else [each]
        if stand_in is not None and stand_in.split() != [stand_in]:
            raise ValueError(f"stand_in must be a word, got {stand_in!r}.")
        if stand_in is not None and set(names) <= {"number", "tag"}:
            raise ValueError(
                f"stand_in={stand_in!r} has no effect: numbers and tags have no stand-in. "
                "Remove it, or protect something else."
            )
        self._markup = markup
        self._tags = "tag" in names and not markup
        self._stand_in = stand_in
        self._wanted = "\n".join(wanted).lower()
        # What the user gives comes first.
        own = [each for each in names if each not in NAMES]
        for each in own:
            if close := difflib.get_close_matches(each.lower(), (*NAMES, DEFAULTS), 1, cutoff=0.75):
                logger.warning(
                    "protect: %r is a regular expression, not a name: did you mean %s?",
                    each,
                    *close,
                )
        self._patterns = [(each, compiled(each)) for each in own]
        self._patterns += [(each, re.compile(KINDS[each])) for each in KINDS if each in names]
        # Not what the user's patterns match, which may be ordinary words of the target language.
        removed = [KINDS[each] for each in KINDS if each in names and each != _NUMBER]
        self._removed = [re.compile(each) for each in removed]
        self._removed += [TAG] if markup or self._tags else []

    def __bool__(self) -> bool:
        """Whether anything is protected."""
        return bool(self._markup or self._tags or self._patterns)

    def plan(self, text: str) -> Plan:
        """Prepares a text for the model.

        Raises:
            MarkupError: With `markup`, the text is not well-formed.
        """
        if self._markup:
            parts = parse_markup(text)
        else:
            parts = find_tags(text) if self._tags else [Part("text", text, "", 0)]
        pieces: list[_Piece] = []
        for part in parts:
            if part.kind == "text":
                pieces += self._pieces(part.raw)
            else:
                pieces.append(_Piece(part.kind, part.raw))
        pieces = _merged(_without_empty_pairs(pieces))
        for_model, marks = _text_and_marks(pieces)
        marks = with_whole_numbers(for_model, marks)
        if marks and not is_word(_unprotected(for_model, marks)):
            for_model = ""  # Punctuation between protected text says nothing to translate.
        return Plan(for_model, text, marks, self._markup, self._removed, self._wanted)

    def _pieces(self, raw: str) -> list[_Piece]:
        """Divides text between two tags."""
        characters = list(raw)
        text = raw
        if self._markup:
            text, characters = unescape(raw)
        pieces, place = [], 0
        for start, end, name in self._matches(text):
            if place < start:
                pieces.append(_Piece("text", "", text[place:start]))
            written = "".join(characters[start:end])
            if name == _NUMBER:
                pieces.append(_Piece("kept", text[start:end], text[start:end]))
            elif self._stand_in is not None:
                pieces.append(_Piece("kept", written, self._stand_in))
            else:
                pieces.append(_Piece("single", written))
            place = end
        if place < len(text):
            pieces.append(_Piece("text", "", text[place:]))
        return pieces

    def _matches(self, text: str) -> list[tuple[int, int, str]]:
        """Start, end and name of what is protected, without overlaps.

        The earliest match comes first; of those that begin together, the one of a pattern of the
        user, then the longest of one kind. One that begins within another is protected with it.
        """
        found = [
            (match.start(), rank, match.end(), name)
            for rank, (name, pattern) in enumerate(self._patterns)
            for match in pattern.finditer(text)
            if match.end() > match.start()
        ]
        kept: list[tuple[int, int, str]] = []
        for start, _, end, name in sorted(found):
            if not kept or start >= kept[-1][1]:
                kept.append((start, end, name))
            elif end > kept[-1][1]:
                first, _, other = kept[-1]
                kept[-1] = first, end, name if other == _NUMBER else other
        return kept


@dataclasses.dataclass(frozen=True)
class Plan:
    """A text that is ready for the model, and what has to come back.

    Attributes:
        text: Text for the model. Blank if there is nothing to translate.
        source: The text as given.
        marks: Protected text and tags, in order.
        markup: Whether to escape the translation.
        removed: What is removed from a translation unless `text` has it, too: a model that was
            trained on placeholders or tags may add some.
        wanted: Phrases of which no part is removed, in lower case, one a line.
    """

    text: str
    source: str
    marks: list[Mark]
    markup: bool
    removed: Sequence[re.Pattern[str]] = ()
    wanted: str = ""

    def restore(self, translation: Translation) -> Translation:
        """The translation with everything protected in its `text`.

        Tokens, scores and attention stay those of the model, whose source is `Plan.text`.

        Raises:
            ValueError: The model has no attention.
        """
        text = self.restore_sentences([((0, len(self.text)), translation)])
        return _with_text(translation, text)

    def restore_sentences(self, sentences: Sequence[tuple[tuple[int, int], Translation]]) -> str:
        """The translation of a text that was translated in sentences.

        Args:
            sentences: Start and end of each sentence in `text`, and its translation. White space
                between them is kept.

        Raises:
            ValueError: The model has no attention.
        """
        if not self.text and self.source:
            return self.source
        cleaned = [(span, self._without_own(each)) for span, each in sentences]
        return restored_text(self.text, self.marks, cleaned, self.markup)

    def _without_own(self, translation: Translation) -> Translation:
        """The translation without what only the model wrote."""
        text = translation.text
        for pattern in self.removed:
            # From the end, as the places of earlier matches stay the same.
            for match in reversed(list(pattern.finditer(text))):
                if match[0].lower() in self.wanted:
                    continue
                # Numbers are repaired later.
                if _NUMBERS.sub("", match[0]) not in _NUMBERS.sub("", self.text):
                    text = _cut(text, *match.span())
        return _with_text(translation, text)


def _with_text(translation: Translation, text: str) -> Translation:
    # Without protected text, copying the translation would take most of the time.
    return translation if text == translation.text else dataclasses.replace(translation, text=text)


def restore_all(
    plans: Sequence[Plan], found: Sequence[Sequence[Translation]]
) -> list[list[Translation]]:
    """`Plan.restore` for all hypotheses of all texts."""
    return [
        [plan.restore(each) for each in hypotheses]
        for plan, hypotheses in zip(plans, found, strict=True)
    ]


def plan_texts(protection: Protection, texts: Sequence[str]) -> list[Plan]:
    """The plan of each text.

    Raises:
        ValueError: `texts` is a single string, or a text is not well-formed.
    """
    if isinstance(texts, (str, bytes)):
        raise ValueError("Expected a list of strings, got one string: wrap the text in a list.")
    plans = []
    for number, text in enumerate(texts, 1):
        try:
            # The tokenizer rejects what is not a string.
            known = protection and isinstance(text, str)
            plans.append(protection.plan(text) if known else Plan(text, text, [], False))
        except MarkupError as error:
            raise MarkupError(f"Text {number}: {error}") from error
    return plans


class _Piece(NamedTuple):
    """Text, a tag, or protected text.

    Attributes:
        kind: `"text"`, or the kind of a `Mark`.
        raw: As written.
        form: What the model sees.
    """

    kind: str
    raw: str
    form: str = ""


def _without_empty_pairs(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Turns pairs of tags without any text between them into single pieces."""
    kept: list[_Piece] = []
    # Of open pairs: the place of the tag, and whether there is text in the pair.
    pairs: list[tuple[int, bool]] = []
    for piece in pieces:
        kept.append(piece)
        if piece.kind == "open":
            pairs.append((len(kept) - 1, False))
            continue
        filled = bool(piece.form.strip())
        if piece.kind == "close":
            start, filled = pairs.pop()
            if not filled:
                raw = "".join(each.raw or each.form for each in kept[start:])
                kept[start:] = [_Piece("single", raw)]
        if filled and pairs:
            pairs[-1] = pairs[-1][0], True
    return kept


def _merged(pieces: Iterable[_Piece]) -> list[_Piece]:
    """Joins single pieces with nothing but white space between them."""
    merged: list[_Piece] = []
    singles: list[str] = []
    space: list[_Piece] = []
    for piece in [*pieces, None]:
        if piece and piece.kind == "single":
            singles += [each.form for each in space] + [piece.raw]
            space = []
        elif piece and singles and not space and piece.kind == "text" and piece.form.isspace():
            space = [piece]
        else:
            if singles:
                merged.append(_Piece("single", "".join(singles)))
            merged += space
            singles, space = [], []
            if piece:
                merged.append(piece)
    return merged


def _text_and_marks(pieces: list[_Piece]) -> tuple[str, list[Mark]]:
    """The text for the model, without the spaces around what was taken out, and its marks."""
    text = ""
    marks: list[Mark] = []
    # What was taken out since the last text.
    taken: list[_Piece] = []
    before, after = _sides(pieces, -1), _sides(pieces[::-1], 0)[::-1]
    for piece, *sides in zip(pieces, before, after, strict=True):
        if piece.form:
            text = _closed_up(text, marks, taken, piece.form)
            added = piece.form
            if taken and (not text or text[-1].isspace()):
                added = added.lstrip()
            if piece.kind == "kept":
                span = len(text), len(text) + len(added)
                marks.append(Mark("kept", piece.raw, span, piece.form))
            text += added
            if added:
                taken = []
        else:
            place = len(text), len(text)
            marks.append(Mark(piece.kind, piece.raw, place, "", (sides[0], sides[1])))
            taken.append(piece)
    return (text.rstrip() if taken else text), marks


def _unprotected(text: str, marks: Sequence[Mark]) -> str:
    """The text without its protected parts."""
    parts, done = [], 0
    for mark in marks:
        parts.append(text[done : mark.span[0]])
        done = max(done, mark.span[1])
    return " ".join([*parts, text[done:]])


def _closed_up(text: str, marks: list[Mark], taken: list[_Piece], following: str) -> str:
    """Adapts the white space before text that follows something taken out, and its marks."""
    singles = any(piece.kind == "single" for piece in taken)
    if singles and following[0] in CLOSING and text[-1:].isspace():
        text = text.rstrip()
        place = len(text)
        for index in range(len(marks) - len(taken), len(marks)):
            marks[index] = marks[index]._replace(span=(place, place))
    separate = singles or any(_SEPARATING.match(piece.raw) for piece in taken)
    words = separate and is_word(text[-1:])
    # Es regnet.</p><p>5 Hunde.
    blocks = text[-1:] in tuple(CLOSING) and any(_BLOCK.match(piece.raw) for piece in taken)
    return text + " " if (words or blocks) and is_word(following[0]) else text


def _cut(text: str, start: int, end: int) -> str:
    """The text without a part of it, and without a space that would be left over."""
    before, after = text[:start], text[end:]
    if not before or before[-1].isspace():
        if not after or after[0] in CLOSING:
            return before.rstrip() + after
        return before + after.lstrip()
    return before + after


def _sides(pieces: Sequence[_Piece], index: int) -> list[str]:
    """The first or last character of what is before each piece and not a tag of a pair."""
    sides = []
    side = ""
    for piece in pieces:
        sides.append(side)
        if piece.kind not in ("open", "close"):
            side = (piece.form or piece.raw)[index]
    return sides
