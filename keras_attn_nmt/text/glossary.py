"""Glossaries: source terms with the target terms that translations must contain.

Requires only NumPy and the standard library.
"""

from __future__ import annotations

import collections
import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from keras_attn_nmt.text.blank import INVISIBLE, is_blank
from keras_attn_nmt.text.lines import checked_line
from keras_attn_nmt.text.word_boundaries import JOINERS, joins

_WITHOUT_INVISIBLE = dict.fromkeys(map(ord, INVISIBLE))


@dataclasses.dataclass(frozen=True)
class Constraint:
    """A phrase that a translation must contain.

    Args:
        targets: The phrase, or several of which any one will do, as they are written. A phrase
            stands for whole words: `"hound"` is not met by *hounds*. At the beginning of a
            translation, its first letter may be a capital.
        source: The term of the source text that it translates, as written there. The attention
            then places the phrase. `""` if it is unknown.

    Raises:
        ValueError: A phrase is blank or not a string, or contains a tab or line break.
    """

    targets: tuple[str, ...]
    source: str = ""

    def __init__(self, targets: str | Sequence[str], source: str = ""):
        several = isinstance(targets, Iterable) and not isinstance(targets, (str, bytes))
        phrases: tuple[Any, ...] = tuple(targets) if several else (targets,)
        for text in (*phrases, source):
            if not isinstance(text, str):
                raise ValueError(
                    f"A constraint consists of strings, got {text!r} among the phrases {phrases} "
                    f"and the term {source!r}: correct it, or leave it out."
                )
            if set(text) & set("\t\r\n"):
                raise ValueError(f"A constraint is one line without tabs, got {text!r}.")
        if not phrases or any(map(is_blank, phrases)):
            raise ValueError(f"A constraint needs phrases that are not blank, got {phrases}.")
        object.__setattr__(self, "targets", tuple(dict.fromkeys(map(_normalized, phrases))))
        object.__setattr__(self, "source", _normalized(source))

    def as_line(self) -> str:
        """The line of a SavedModel's input `constraints`: term and phrases between tabs."""
        return "\t".join((self.source, *self.targets))


class Glossary:
    """Source terms with the target terms that they must become.

    A term is found where it stands as whole words, by Unicode's letters, digits and marks; in
    scripts without spaces, anywhere. White space of any kind is a space, and invisible characters
    such as soft hyphens do not count. Of several terms at one place, the longest counts, and each
    place counts once. A term that occurs twice in a text must have its target term twice.

    Upper and lower case matter, except that a term in lower case is also found with a capital as
    its first letter (`running` in *Running man*, `insan` in *İnsan*). Inflected forms are
    terms of their own.

    Args:
        terms: Target term by source term, or several target terms of which any one will do.

    Raises:
        ValueError: A term is blank or not a string, or there is none.

    Example:
        >>> glossary = Glossary({"Hund": "hound", "Hunde": ["hounds", "pack of hounds"]})
        >>> glossary.constraints("Zwei Hunde und ein Hund")[1]
        Constraint(targets=('hound',), source='Hund')
    """

    def __init__(self, terms: Mapping[str, str | Sequence[str]]):
        self._constraints: dict[str, Constraint] = {}
        if not isinstance(terms, Mapping):
            raise ValueError(
                f"Expected a mapping of source to target terms, got {type(terms).__name__}; read "
                "a file with Glossary.load."
            )
        if not terms:
            raise ValueError("The glossary has no terms.")
        also: dict[str, Constraint] = {}
        for source, targets in terms.items():
            if not isinstance(source, str) or is_blank(source):
                raise ValueError(f"A source term must be a string that is not blank: {source!r}.")
            given = Constraint(targets, source)
            source = given.source
            if source in self._constraints:
                targets = (*self._constraints[source].targets, *given.targets)
                given = Constraint(targets, source)
            self._constraints[source] = given
            capitals = [capitalized(source)]
            if source.startswith("i"):
                capitals.append(f"İ{source[1:]}")  # As in Turkish.
            for term in capitals:
                also[term] = Constraint(given.targets, term)
        # Terms that are given themselves come first.
        self._constraints = {**also, **self._constraints}
        self._lengths: dict[str, list[int]] = {}
        for term in self._constraints:
            self._lengths.setdefault(term[0], []).append(len(term))
        for lengths in self._lengths.values():
            lengths[:] = sorted(set(lengths), reverse=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Glossary:
        """Reads a TSV file: a source term, a tab and a target term per line, in UTF-8.

        Blank lines and lines that begin with `#` are left out. A source term with several lines has
        several target terms, of which any one will do.

        Raises:
            ValueError: A line is not such a pair or not UTF-8, or there is none.
            OSError: The file cannot be read.
        """
        terms: dict[str, list[str]] = {}
        if not os.path.exists(path):
            raise FileNotFoundError(f"The glossary {path} does not exist.")
        with open(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                line = checked_line(raw, number, path).decode("utf-8")
                if is_blank(line) or line.startswith("#"):
                    continue
                cells = line.split("\t")
                if len(cells) != 2 or any(map(is_blank, cells)):
                    raise ValueError(
                        f"{path}, line {number}: expected a source term, a tab and a target term, "
                        f"got {line!r}. Give other target terms of a source term in lines of "
                        "their own, and begin comments with #."
                    )
                try:
                    Constraint(cells[1], cells[0])
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: {error}") from error
                terms.setdefault(_normalized(cells[0]), []).append(cells[1])
        if not terms:
            raise ValueError(f"{path} has no terms: expected a source term, a tab, a target term.")
        return cls(terms)

    def __len__(self) -> int:
        """Number of source terms, with those that begin with a capital instead."""
        return len(self._constraints)

    def __iter__(self) -> Iterator[Constraint]:
        return iter(self._constraints.values())

    def constraints(self, text: str) -> list[Constraint]:
        """The constraints of a text, in the order of their terms in it."""
        text = _normalized(text)
        found = []
        place = 0
        while place < len(text):
            term = self._term_at(text, place)
            if term:
                found.append(self._constraints[term])
            place += max(1, len(term))
        return found

    def terms_met(self, text: str, translation: str) -> tuple[int, int]:
        """How many terms of a text are in its translation, and how many there are."""
        counts = collections.Counter(each.targets for each in self.constraints(text))
        terms = counts.total()
        places = [
            (start - end, len(targets), start, targets)
            for targets in counts
            for spelling in {*targets, *map(capitalized, targets)}
            for start, end in occurrences(translation, spelling)
        ]
        taken: list[tuple[int, int]] = []
        # The longest first, as of "dog house", "dog" is no other term; then terms without choice.
        for length, _, start, targets in sorted(places):
            end = start - length
            if counts[targets] and not any(start < b and a < end for a, b in taken):
                taken.append((start, end))
                counts[targets] -= 1
        return len(taken), terms

    def _term_at(self, text: str, start: int) -> str:
        """The longest term that begins here, or `""`."""
        for length in self._lengths.get(text[start], ()):
            term = text[start : start + length]
            if term in self._constraints and _is_whole(text, start, start + len(term)):
                return term
        return ""


def target_phrases(
    glossary: Glossary | None = None,
    constraints: Sequence[Sequence[Constraint | str]] | None = None,
) -> list[str]:
    """All target phrases of a glossary and of constraints, which `text_constraints` checks."""
    found = list(glossary) if isinstance(glossary, Glossary) else []
    for given in constraints or ():
        if not isinstance(given, (str, bytes, Constraint)):
            found += [each if isinstance(each, Constraint) else Constraint(each) for each in given]
    return [phrase for each in found for phrase in each.targets]


def text_constraints(
    texts: Sequence[str],
    glossary: Glossary | None = None,
    constraints: Sequence[Sequence[Constraint | str]] | None = None,
) -> list[list[Constraint]]:
    """The constraints of each text: those of the glossary, then the given ones.

    Raises:
        ValueError: The numbers of texts and constraints differ, or one is not a constraint.
    """
    if glossary is not None and not isinstance(glossary, Glossary):
        raise ValueError(
            f"glossary must be a Glossary, got {type(glossary).__name__}: read a file with "
            "Glossary.load(path), or use Glossary({'source term': 'target term'})."
        )
    found = [glossary.constraints(text) if glossary else [] for text in texts]
    if constraints is None:
        return found
    if isinstance(constraints, (str, bytes)) or len(constraints) != len(texts):
        raise ValueError(
            "Expected a list of constraints for each text, which may be empty: got "
            f"{len(constraints)} for {len(texts)} texts."
        )
    for index, (own, given) in enumerate(zip(found, constraints, strict=True)):
        if isinstance(given, (str, bytes, Constraint)):
            raise ValueError(
                f"constraints[{index}] must be a list of phrases or Constraint, got {given!r}: "
                "wrap it in a list."
            )
        own += [each if isinstance(each, Constraint) else Constraint(each) for each in given]
    return found


def occurrences(text: str, phrase: str) -> list[tuple[int, int]]:
    """Where a phrase stands in a normalized text, as whole words, without overlaps."""
    text, phrase = _normalized(text), _normalized(phrase)
    found, start = [], 0
    while (start := text.find(phrase, start)) >= 0:
        end = start + len(phrase)
        if whole := _is_whole(text, start, end):
            found.append((start, end))
        start = end if whole else start + 1
    return found


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether a part of a text consists of whole words."""
    before, after = start - 1, end
    while before >= 0 and text[before] in JOINERS:
        before -= 1
    while after < len(text) and text[after] in JOINERS:
        after += 1
    return not joins(text[max(before, 0) : before + 1], text[start]) and not joins(
        text[end - 1], text[after : after + 1]
    )


def _normalized(text: str) -> str:
    """As the model reads it: in NFC, with single spaces, without invisible characters."""
    visible = text.translate(_WITHOUT_INVISIBLE)
    return unicodedata.normalize("NFC", " ".join(visible.split()))


def capitalized(text: str) -> str:
    """The text with a capital as its first letter, if that is a letter in lower case."""
    return text[0].upper() + text[1:] if text[0].islower() else text
