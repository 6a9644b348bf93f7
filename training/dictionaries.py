"""Pronunciation dictionaries: words and their phones."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Iterable, Sequence

from keras_attn_nmt.training.textfiles import raw_lines

Entry = tuple[str, str]

# Of each held-out split, one word in so many.
_HELD_OUT = 20
_COMMENT = ";;;"
# Further pronunciations of WORD are WORD(1), WORD(2), ...
_VARIANT = re.compile(r"(.+)\(\d+\)")
# Marks at the start of a file.
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# Two or three bytes that Latin-1 rarely has beside each other.
_UTF_8_LETTER = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")

logger = logging.getLogger(__name__)


def read_dictionary(path: str | os.PathLike[str]) -> list[Entry]:
    """Reads a dictionary in the form of CMUdict, plain or gzip.

        ;;; a comment
        READ  R EH1 D
        READ(1)  R IY1 D  # a comment

    The word ends at the first white space. Numbers of variants (`READ(1)`) and comments are
    removed; case and stress marks stay as they are. A file that is not UTF-8 and looks like
    Latin-1, such as CMUdict 0.7b, is read as that, with a warning.

    Args:
        path: The dictionary.

    Returns:
        `(word, phones)` of each line, in the order of the file; phones are separated by one space.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A word has no phones, there is no word, or the file is damaged.
    """
    entries = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.startswith(_COMMENT) or not line.strip():
            continue
        word, *phones = line.split()
        comment = next((i for i, phone in enumerate(phones) if phone.startswith("#")), None)
        phones = phones[:comment]
        if not phones:
            raise ValueError(
                f"{path}, line {number}: {word!r} has no phones; expected WORD  P H O N E S, "
                f"separated by spaces, or a comment after {_COMMENT}"
            )
        variant = _VARIANT.fullmatch(word)
        entries.append((variant[1] if variant else word, " ".join(phones)))
    if not entries:
        raise ValueError(f"{path} has no words; expected lines such as WORD  P H O N E S.")
    return entries


def _text(path: str | os.PathLike[str]) -> str:
    content = b"".join(raw_lines(path))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        others, letters = _UTF_8_LETTER.subn(b"", content)
        if content.startswith(_UTF_16) or letters > sum(byte > 127 for byte in others):
            raise ValueError(
                f"{path}, line {line}: not UTF-8; it looks like UTF-16 or damaged UTF-8, not like "
                "Latin-1. Save it as UTF-8."
            ) from error
        logger.warning("%s is not UTF-8 (line %d): reading it as Latin-1", path, line)
        return content.decode("latin-1")


def held_out_split(word: str, splits: Sequence[str]) -> str:
    """The split of a word: one of the held-out splits, or `"train"`.

    It depends on the word alone, so that all pronunciations of a word are in the same split, and
    the words of a grown dictionary keep their splits. Composed and decomposed spellings are one.
    """
    composed = unicodedata.normalize("NFC", word).encode()
    digest = hashlib.md5(composed, usedforsecurity=False).digest()
    place = int.from_bytes(digest[:8], "big") % _HELD_OUT
    return splits[place] if place < len(splits) else "train"


def pronunciations(entries: Iterable[Sequence[str]]) -> dict[str, list[str]]:
    """The distinct pronunciations of each word, both in the order of their first entries."""
    found: dict[str, list[str]] = {}
    for word, phones in entries:
        known = found.setdefault(word, [])
        if phones not in known:
            known.append(phones)
    return found
