"""Texts for campaigns: real ones in six languages, and fuzzed ones."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

CORPORA = Path(__file__).resolve().parents[3] / "shared" / "data"
_FILES = (
    "multi30k/val.de.gz",
    "multi30k/val.en.gz",
    "multi30k/val.fr.gz",
    "tanaka_enja/dev.ja.gz",
)
# Generated, as there is no file of these; numbers, dates and money of German are the model's own.
_PHRASES = ("es", "ru", "de")
_ODD = (
    *("", " ", "\t", "\n", "\r\n", "\u2028", "\x85", "\0", "\x1b[0m", "\u00a0", "\u3000", "\u200b"),
    *("\ufeff", "\u00ad", "\u200d", "\u202e", "\u0301", "e\u0301", "é", "ﬁ", "½", "①", "ｶﾞ", "１２"),
    *(
        "🙂",
        "👨‍👩‍👧",
        "🇩🇪",
        "\U0010ffff",
        "\ufffd",
        "\ufffe",
        "\ue000",
        "▁",
        "<s>",
        "</s>",
        "<pad>",
    ),
    *("<unk>", "<0x41>", "⁇", "שלום", "مرحبا", "한국어", "हिन्दी", "Tiếng", "ß", "ẞ", "İ", "ǅ"),
)
_PLANES = ((0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700))
_PLANES += ((0x900, 0xE00), (0x1E00, 0x2070), (0x3040, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4))
_PLANES += ((0x1F300, 0x1F700), (0xE000, 0x110000), (0, 0xD800))


def real_texts(seed: int, count: int, corpora: str | Path = CORPORA) -> list[str]:
    """Sentences of all languages in turn; of those whose files are absent, there are none."""
    from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

    generator = random.Random(seed)
    sources = []
    for name in _FILES:
        if (path := Path(corpora, name)).exists():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                lines = file.read().splitlines()
            sources.append(generator.sample(lines, min(len(lines), count)))
    for language in _PHRASES:
        pairs = Phrasebook(language, "en").pairs("test", min(count, 2000))
        sources.append([source for source, _ in pairs])
    return [
        sources[number % len(sources)][number // len(sources) % len(sources[number % len(sources)])]
        for number in range(count)
    ]


def fuzzed_texts(seed: int, count: int, corpora: str | Path = CORPORA) -> list[str]:
    """Damaged sentences and random characters of all planes, without lone surrogates."""
    generator = random.Random(seed)
    real = real_texts(seed, 200, corpora)
    return [_fuzzed(generator, generator.choice(real)) for _ in range(count)]


def mixed_texts(seed: int, count: int, corpora: str | Path = CORPORA) -> list[str]:
    """Real texts, then as many fuzzed ones; every text once."""
    texts = [
        *real_texts(seed, count - count // 2, corpora),
        *fuzzed_texts(seed, count // 2, corpora),
    ]
    return list(dict.fromkeys(texts))


def _fuzzed(generator: random.Random, text: str) -> str:
    kind = generator.randrange(6)
    if kind == 0:
        first, end = generator.choice(_PLANES)
        codes = [generator.randrange(first, end) for _ in range(generator.randrange(1, 16))]
        return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
    if kind == 1:
        return "".join(generator.choices(_ODD, k=generator.randrange(1, 8)))
    characters = list(text)
    for _ in range(generator.randrange(1, 6)):
        place = generator.randrange(len(characters) + 1)
        change = generator.randrange(4)
        if change == 0:
            characters[place:place] = generator.choice(_ODD)
        elif change == 1:
            del characters[place : place + generator.randrange(1, 4)]
        elif change == 2:
            characters[place:place] = characters[place : place + 3] * generator.randrange(1, 9)
        else:
            characters[place : place + 2] = reversed(characters[place : place + 2])
    return "".join(characters)
