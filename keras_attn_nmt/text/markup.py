"""Inline markup of HTML, XLIFF and TMX: tags, their pairs, and escaped characters.

Requires only the standard library.
"""

from __future__ import annotations

import collections
import html
import re
from collections.abc import Iterator, Sequence
from html.entities import html5
from typing import NamedTuple

# A name and its attributes, whose values may hold ">" in quotes.
_NAME = r"[A-Za-z_][\w:.-]*"
_ATTRIBUTES = r"""(?:\s+[^\s"'<>/=]+(?:\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+))?)*\s*"""
TAG = re.compile(
    rf"<!--(?:(?!-->).)*-->|<\?(?:(?!\?>).)*\?>|<!\[CDATA\[(?:(?!\]\]>).)*\]\]>|<![A-Za-z][^<>]*>"
    rf"|<(?P<close>/)?(?P<name>{_NAME})(?P<attributes>{_ATTRIBUTES})(?P<empty>/)?>",
    re.DOTALL,
)
# Comments, processing instructions and CDATA sections.
_CODES = (("<!--", "-->"), ("<?", "?>"), ("<![CDATA[", "]]>"))
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]*);")
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'<>=`]+))""")
# HTML elements without a closing tag.
_VOID = frozenset(("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta"))
_VOID |= {"param", "source", "track", "wbr"}
# The content of these is code: of HTML, of XLIFF 1.2 and TMX.
_OPAQUE = frozenset(("code", "script", "style", "ph", "it", "bpt", "ept", "ut"))
_OPENING, _CLOSING = frozenset(("bpt", "bx", "sc")), frozenset(("ept", "ex", "ec"))
_PAIR_IDS = ("rid", "i", "startRef", "id")

# Pairs within pairs.
DEEPEST = 100


class Part(NamedTuple):
    """A part of a text with markup.

    Attributes:
        kind: `"text"`, `"open"`, `"close"` or `"single"`: an empty element, a comment, code.
        raw: As written.
        key: What an opening and a closing tag have in common.
        place: Start in the text, in characters.
    """

    kind: str
    raw: str
    key: str
    place: int


class MarkupError(ValueError):
    """Text with markup that is not well-formed."""


def parse_markup(text: str) -> list[Part]:
    """Divides a text into tags and text, strictly.

    Pairs of tags nest. Pairs of XLIFF and TMX that stand for native code (`bpt` and `ept`, `bx`
    and `ex`, `sc` and `ec`) may cross others; those that do are singles.

    Raises:
        MarkupError: The text is not well-formed: a tag without its counterpart, tags that cross, a
            "<" that starts no tag, or a "&" that starts no entity. The message has the column.
    """
    parts = list(_joined_code(text, list(_parts(text))))
    open_tags: list[Part] = []
    for part in parts:
        if part.kind == "text":
            _check_text(part)
        elif part.kind == "open" and not _native(part):
            open_tags.append(part)
            if len(open_tags) > DEEPEST:
                raise MarkupError(f"{_at(part)} is the {len(open_tags)}th tag that is open.")
        elif part.kind == "close" and not _native(part):
            if not open_tags:
                raise MarkupError(f"{_at(part)} closes no tag: remove it, or open it before.")
            if open_tags[-1].key != part.key:
                raise MarkupError(
                    f"{_at(part)} does not close {_at(open_tags[-1])}: close that one first."
                )
            open_tags.pop()
    if open_tags:
        raise MarkupError(_unclosed(open_tags[-1]))
    return pair_tags(parts)


def find_tags(text: str) -> list[Part]:
    """Divides a text into tags and text; what is not a tag is text, in which "&" is only that."""
    return pair_tags(list(_joined_code(text, list(_parts(text)), strict=False)))


def pair_tags(parts: list[Part]) -> list[Part]:
    """Turns tags without counterpart, and those that cross another pair, into singles."""
    elements = _pairs(parts, [None if _native(part) else "" for part in parts])
    # The innermost element around each part. A pair of codes may cross it: it is two singles then.
    around: list[str] = []
    inner = [""]
    for index in range(len(parts)):
        if index in elements and parts[index].kind == "close":
            inner.pop()
        around.append(inner[-1])
        if index in elements and parts[index].kind == "open":
            inner.append(str(index))
    paired = elements | _pairs(
        parts, [place if _native(part) else None for place, part in zip(around, parts, strict=True)]
    )
    return [
        part._replace(kind="single")
        if part.kind in ("open", "close") and index not in paired
        else part
        for index, part in enumerate(parts)
    ]


def _pairs(parts: Sequence[Part], scopes: Sequence[str | None]) -> set[int]:
    """The indices of tags that are pairs and do not cross, of those that have a scope in common."""
    paired: set[int] = set()
    stack: list[int] = []
    opened: collections.Counter[tuple[str | None, str]] = collections.Counter()
    for index, (part, scope) in enumerate(zip(parts, scopes, strict=True)):
        if scope is None or part.kind not in ("open", "close"):
            continue
        known = scope, part.key
        if part.kind == "open":
            if len(stack) < DEEPEST:
                stack.append(index)
                opened[known] += 1
        elif opened[known]:
            # Those that are still open inside of the pair would cross it.
            while True:
                start = stack.pop()
                found = scopes[start], parts[start].key
                opened[found] -= 1
                if found == known:
                    break
            paired |= {start, index}
    return paired


def unescape(text: str) -> tuple[str, list[str]]:
    """Resolves entities: the text, and what is written for each of its characters.

    Example:
        >>> unescape("a &lt; b")
        ('a < b', ['a', ' ', '&lt;', ' ', 'b'])
    """
    characters: list[str] = []
    raw: list[str] = []
    place = 0
    while place < len(text):
        entity = _ENTITY.match(text, place)
        written = entity[0] if entity else text[place]
        meant = html.unescape(written)
        characters += meant
        # A reference to a character that HTML does not have, such as &#1;, means nothing.
        raw += [written] + [""] * (len(meant) - 1) if meant else []
        place += len(written)
    return "".join(characters), raw


def escape(text: str) -> str:
    """Escapes `&`, `<` and `>`."""
    return html.escape(text, quote=False)


def _parts(text: str) -> Iterator[Part]:
    place = 0
    for match in TAG.finditer(_mask_unterminated(text)):
        if match.start() > place:
            yield Part("text", text[place : match.start()], "", place)
        yield _tag(match)._replace(raw=text[slice(*match.span())])
        place = match.end()
    if place < len(text):
        yield Part("text", text[place:], "", place)


def _mask_unterminated(text: str) -> str:
    """Blanks the openings of unterminated comments, processing instructions and CDATA sections.

    The regular expression would scan to the end of the text for each of them.
    """
    for begin, end in _CODES:
        last = text.rfind(end) + 1
        text = text[:last] + text[last:].replace(begin, "<".ljust(len(begin)))
    return text


def _tag(match: re.Match[str]) -> Part:
    name = match["name"]
    kind, key = "single", ""
    if name is not None and name.lower() in _OPENING | _CLOSING and match["empty"]:
        kind = "open" if name.lower() in _OPENING else "close"
        key = _pair_key(name, match["attributes"])
    elif name is not None and not match["empty"] and (match["close"] or name.lower() not in _VOID):
        # HTML's names are the same in upper and lower case.
        kind, key = "close" if match["close"] else "open", name.lower()
    return Part(kind, match[0], key, match.start())


def _pair_key(name: str, attributes: str) -> str:
    """The key of a pair of codes: `bpt 1` for both `<bpt id="1">` and `<ept id="1">`."""
    values = _values(attributes)
    family = {"ept": "bpt", "ex": "bx", "ec": "sc"}.get(name.lower(), name.lower())
    number = next((values[each] for each in _PAIR_IDS if each in values), "")
    return f"{family} {number}"


def _values(attributes: str) -> dict[str, str]:
    found = _ATTRIBUTE.finditer(attributes)
    return {each[1]: each[2] or each[3] or each[4] or "" for each in found}


def _native(part: Part) -> bool:
    return " " in part.key


def _joined_code(text: str, parts: list[Part], strict: bool = True) -> Iterator[Part]:
    """Joins elements whose content is not translated into one part each."""
    closing = _closing(parts)
    index = 0
    while index < len(parts):
        part = parts[index]
        match = TAG.match(part.raw) if part.kind == "open" and not _native(part) else None
        if match is None or not _is_code(match):
            yield part
            index += 1
            continue
        last = closing.get(index)
        if last is None:
            if strict:
                raise MarkupError(_unclosed(part))
            yield part
            index += 1
            continue
        end = parts[last].place + len(parts[last].raw)
        kind, key = "single", ""
        if part.key in _OPENING | _CLOSING:
            kind = "open" if part.key in _OPENING else "close"
            key = _pair_key(part.key, match["attributes"])
        yield Part(kind, text[part.place : end], key, part.place)
        index = last + 1


def _is_code(match: re.Match[str]) -> bool:
    # Names of HTML are those in lower case.
    attributes = {name.lower(): value for name, value in _values(match["attributes"]).items()}
    return (
        match["name"].lower() in _OPAQUE
        or attributes.get("translate", "").lower() == "no"
        or attributes.get("mtype", "").lower() == "protected"
        or "notranslate" in attributes.get("class", "").split()
    )


def _closing(parts: Sequence[Part]) -> dict[int, int]:
    """The index of the tag that closes each opening tag, by that of the opening tag."""
    closing: dict[int, int] = {}
    opened: collections.defaultdict[str, list[int]] = collections.defaultdict(list)
    for index, part in enumerate(parts):
        if part.kind == "open":
            opened[part.key].append(index)
        elif part.kind == "close" and opened[part.key]:
            closing[opened[part.key].pop()] = index
    return closing


def _check_text(part: Part) -> None:
    for found in re.finditer("[<&]", part.raw):
        place = part.place + found.start() + 1
        if found[0] == "<":
            raise MarkupError(f'"<" in column {place} starts no tag: write &lt;.')
        entity = _ENTITY.match(part.raw, found.start())
        if entity is None or not (entity[0][1] == "#" or entity[0][1:] in html5):
            raise MarkupError(f'"&" in column {place} starts no entity: write &amp;.')


def _unclosed(part: Part) -> str:
    name = re.split(r"[^\w:.-]", part.raw[1:])[0]
    return f"{_at(part)} is not closed: add </{name}>."


def _at(part: Part) -> str:
    return f"{part.raw if len(part.raw) < 60 else part.raw[:57] + '...'} in column {part.place + 1}"
