"""Translation memories: TMX files (Translation Memory eXchange 1.1 to 1.4)."""

from __future__ import annotations

import collections
import gzip
import logging
import os
import zlib
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

import tensorflow as tf

from keras_attn_nmt.training.streaming import stream
from keras_attn_nmt.training.textfiles import damaged_gzip, open_binary, without_line_breaks

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
# Elements inside a segment whose content is code of the original format, not text.
_CODE = frozenset({"bpt", "ept", "it", "ph", "ut"})


def read_tmx(
    path: str | os.PathLike[str], source_language: str, target_language: str
) -> tf.data.Dataset:
    """Reads a translation memory in TMX, plain or gzip.

    A language such as `en` matches the variants `en`, `EN`, `en-US` and `en_GB` of the file,
    `en-US` only itself; of several variants in a unit, an exact match has precedence over the first
    one. Units without one of the languages are left out and reported. Inline codes (`bpt`, `ept`,
    `it`, `ph`, `ut`) are removed with their content, highlighted text (`hi`) is kept without its
    tags, and a line break inside a segment becomes a space.

    Args:
        path: The file, in an encoding that it declares (UTF-8, UTF-16, ISO-8859-1).
        source_language: Source language.
        target_language: Target language.

    Returns:
        Dataset of `(source, target)`, tf.string of shape `()`, with known cardinality. The file is
        read in constant memory, at each iteration.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: the file is not TMX or damaged (with the line), declares entities, or has no
            unit in both languages.

    Reference:
        [TMX 1.4b](https://www.gala-global.org/tmx-14b)
    """
    languages = _normalized(source_language), _normalized(target_language)
    if languages[0] == languages[1]:
        raise ValueError(
            f"Source and target language are both {source_language!r}: set two languages of {path}."
        )
    count, reader = 0, _Reader(path, languages)
    for _ in reader.pairs():
        count += 1
    if not count:
        known = ", ".join(f"{name} ({number:,})" for name, number in reader.found.most_common(20))
        raise ValueError(
            f"{path} has no translation unit in {source_language} and {target_language}. Its "
            f"languages: {known or 'none'}."
        )
    if reader.units > count:
        logger.warning(
            "%s: %s of %s translation units lack %s or %s and are left out",
            *(path, f"{reader.units - count:,}", f"{reader.units:,}"),
            *(source_language, target_language),
        )
    return stream(lambda: _Reader(path, languages).pairs(), count)


class _Reader:
    """Parses a file once; memory holds one translation unit and one chunk of the file."""

    def __init__(self, path: str | os.PathLike[str], languages: tuple[str, str]):
        self.units = 0
        self.found: collections.Counter[str] = collections.Counter()
        self._path = path
        self._languages = languages
        self._pairs: list[tuple[bytes, bytes]] = []
        self._unit: dict[str, str] = {}
        self._language = ""
        self._segment: list[str] | None = None
        self._code_depth = 0
        self._has_root = False
        # Expat reads neither external entities nor DTDs. Entities that a file declares can expand
        # to gigabytes, and undeclared ones would vanish.
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.EntityDeclHandler = self._refuse_declaration
        self._parser.SkippedEntityHandler = self._refuse_entity

    def pairs(self) -> Iterator[tuple[bytes, bytes]]:
        with open_binary(self._path) as file:
            while True:
                try:
                    chunk = file.read(_CHUNK_BYTES)
                except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                    raise damaged_gzip(self._path, error) from error
                try:
                    self._parser.Parse(chunk, not chunk)
                except expat.ExpatError as error:
                    reason = expat.ErrorString(error.code)
                    raise ValueError(
                        f"{self._path}, line {error.lineno}: not a TMX file, or a damaged one: "
                        f"{reason}."
                    ) from error
                except LookupError as error:  # Of the codecs of Python.
                    raise self._error(f"encoding not known ({error})") from error
                except UnicodeError as error:  # Half a character as a number: &#xD800;
                    raise self._error(f"text that is not Unicode ({error})") from error
                yield from self._pairs
                self._pairs.clear()
                if not chunk:
                    return

    def _start(self, name: str, attributes: dict[str, Any]) -> None:
        if not self._has_root:
            self._has_root = True
            if name != "tmx":
                raise self._error(f"the root element is <{name}>, expected <tmx>")
        if self._segment is not None:
            self._code_depth += bool(self._code_depth or name in _CODE)
        elif name == "tu":
            self._unit = {}
        elif name == "tuv":
            language = attributes.get("xml:lang") or attributes.get("lang")
            if not language:
                raise self._error("a <tuv> has no xml:lang")
            self._language = _normalized(language)
        elif name == "seg":
            self._segment = []

    def _end(self, name: str) -> None:
        if self._code_depth:
            self._code_depth -= 1
        elif name == "seg" and self._segment is not None:
            text = without_line_breaks("".join(self._segment)).strip()
            self._unit[self._language] = self._unit.get(self._language) or text
            self._segment = None
        elif name == "tu":
            self._finish_unit()

    def _text(self, text: str) -> None:
        if self._segment is not None and not self._code_depth:
            self._segment.append(text)

    def _finish_unit(self) -> None:
        self.units += 1
        self.found.update(self._unit.keys())
        source, target = (_choose(self._unit, wanted) for wanted in self._languages)
        if source is not None and target is not None:
            self._pairs.append((source.encode(), target.encode()))
        self._unit = {}

    def _refuse_declaration(self, name: str, *_: Any) -> None:
        raise self._error(
            f"it declares the entity {name!r}, which is refused, as entities can expand to any "
            "size: write the text itself, and remove the declaration"
        )

    def _refuse_entity(self, name: str, is_parameter: bool) -> None:
        if not is_parameter:
            raise self._error(f"the entity &{name}; is not defined: write the character itself")

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self._path}, line {self._parser.CurrentLineNumber}: {reason}.")


def _normalized(language: str) -> str:
    return language.strip().replace("_", "-").lower()


def _choose(unit: dict[str, str], wanted: str) -> str | None:
    """The text of a language: an exact match or the first variant of it, if possible not empty."""
    exact = [unit[wanted]] if wanted in unit else []
    texts = [*exact, *(text for name, text in unit.items() if name.startswith(f"{wanted}-"))]
    return next(filter(None, texts), texts[0] if texts else None)
