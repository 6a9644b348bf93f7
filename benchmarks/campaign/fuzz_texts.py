"""Fuzz targets whose readers are Python: recipes, corpora, alignments, glossaries, markup, REST.

A target is a function that prepares a folder and returns `(make, read)`. `make(rng)` gives an
input, `read(data)` reads it: it raises `ValueError` or `OSError`, or checks the answer.
"""

from __future__ import annotations

import gzip
import html
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from campaign import mutations

Target = tuple[Callable[[random.Random], bytes], Callable[[bytes], Any]]

LINES = "Ein Haus am See.\nZwei kleine Häuser\n\n 日本 \u2028 x\nLast".encode()
TSV = b"id\tde\ten\n1\tHaus\thouse\n2\tSee\tlake\n3\t\tx\n"
JSON_LINES = b"\n".join(
    json.dumps(row).encode()
    for row in (
        {"de": "Haus", "en": "house"},
        {"translation": {"de": "See", "en": "lake"}},
        {"de": "ü", "en": "\U0001f642", "more": [1, {"a": None}]},
    )
)
TMX = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="de"/><body>
<tu><tuv xml:lang="de"><seg>Haus <bpt i="1">&lt;b&gt;</bpt>am<ept i="1"/> See</seg></tuv>
<tuv xml:lang="en-US"><seg>house <hi>by</hi> the lake &#x1F642;</seg></tuv></tu>
<tu><tuv lang="DE"><seg>Zwei\nZeilen</seg></tuv><tuv lang="en"><seg><![CDATA[<x>]]></seg></tuv></tu>
</body></tmx>"""
SOURCES = b"ein Haus\nzwei Haus am See\n\nx\n"
TARGETS = b"a house\ntwo houses by the lake\n\nx\n"
LINKS = b"0-0 1-1\n0-0 1p1 2-2 3-4\n\n0?0\n"
GLOSSARY = (
    "# terms\nHund\thound\nHunde\thounds\nHunde\tpack of hounds\nsüß\tsweet\n日本\tJapan\n".encode()
)
MARKUP = (
    b'<p class="a">Ein <b>Haus</b> &amp; <br/><i>am</i> See</p> {name} %s '
    b"https://x.org/{id}?a=${y}&b=1 "
    b"a.b@c.de 1.234,5 <!-- c --> <x id='1'/> ${v} &#x1F642; 3-in-1 COVID-19 2.5mm <b>19</b>.99 5%"
)
VECTORS = b"3 2\nHaus 0.5 -1e3\nam 1 2\nSee 3 4\n"


def _file(folder: Path, name: str, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    path = folder / name
    # `fuzz_watch` takes new files for those of a reader.
    path.touch()

    def read_bytes(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    read_bytes.file = name  # type: ignore[attr-defined]
    return read_bytes


def _without_tensorflow() -> Any:
    """Corpus readers that return a list of the rows that `tf.data` would get, many times faster."""
    from keras_attn_nmt.training import corpora, json_lines, tmx

    def stream(rows: Any, count: int, columns: int = 2) -> list[tuple[bytes, ...]]:
        found = list(rows())
        assert len(found) == count, "another number of rows than counted"
        for row in found:
            assert len(row) == columns
            for text in row:
                text.decode("utf-8")
        return found

    for module in (corpora, json_lines, tmx):
        module.stream = stream
    return corpora, json_lines, tmx


def recipes(folder: Path) -> Target:
    from keras_attn_nmt.training.recipe_files import RECIPES, load_recipe, recipe_names
    from keras_attn_nmt.training.recipe_text import differences, to_toml

    contents = [(RECIPES / f"{name}.toml").read_bytes() for name in recipe_names()]
    contents += [to_toml(load_recipe(name), "x").encode() for name in recipe_names()]

    again = folder / "again.toml"
    again.touch()

    def read(path: Path) -> None:
        recipe = load_recipe(path)
        again.write_text(to_toml(recipe, "x"), encoding="utf-8")
        assert not differences(recipe, load_recipe(again)), "not read as it is written"

    def make(rng: random.Random) -> bytes:
        return mutations.changed_toml(rng, rng.choice(contents))

    return make, _file(folder, "fuzz.toml", read)


def _plain(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _lines_of(data: bytes) -> list[bytes]:
    """Only a carriage return before a line feed is part of a line ending."""
    *ended, last = _plain(data).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [*(line.removesuffix(b"\r") for line in ended), *([last] if last else [])]


def lines(folder: Path) -> Target:
    corpora, _, _ = _without_tensorflow()

    def read(path: Path) -> None:
        data = path.read_bytes()
        rows = corpora.read_lines(path, path)
        expected = _lines_of(data)
        assert rows == [(line, line) for line in expected], "other lines"

    return lambda rng: mutations.changed_text(rng, LINES), _file(folder, "fuzz.de", read)


def tsv(folder: Path) -> Target:
    corpora, _, _ = _without_tensorflow()

    def read(path: Path) -> None:
        columns = corpora.header_columns(path, "de", "en")
        rows = corpora.read_tsv(path, *(columns or (0, 1)), header=columns is not None)
        expected = [line.split(b"\t") for line in _lines_of(path.read_bytes())][bool(columns) :]
        source, target = columns or (0, 1)
        assert rows == [(row[source], row[target]) for row in expected], "other cells"

    return lambda rng: mutations.changed_text(rng, TSV), _file(folder, "fuzz.tsv", read)


def json_lines(folder: Path) -> Target:
    _, reader, _ = _without_tensorflow()

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3):
            changed = [mutations.changed_json(rng, line) for line in JSON_LINES.split(b"\n")]
            return b"\n".join(changed[: rng.randrange(1, 4)])
        return mutations.changed_text(rng, JSON_LINES)

    def read(path: Path) -> None:
        rows = reader.read_json_lines(path, "de", "en")
        found = [json.loads(line) for line in _lines_of(path.read_bytes()) if line.strip()]
        expected = [
            tuple((row if field in row else row["translation"])[field] for field in ("de", "en"))
            for row in found
        ]
        assert [tuple(map(bytes.decode, row)) for row in rows] == expected, "other texts"

    return make, _file(folder, "fuzz.jsonl", read)


def tmx(folder: Path) -> Target:
    _, _, reader = _without_tensorflow()
    tags = [b"<seg>", b"</seg>", b"<tu>", b"</tuv>", b"<bpt>", b"<!ENTITY a 'b'>", b"&a;", b"<hi>"]

    def make(rng: random.Random) -> bytes:
        if not rng.randrange(20):
            return b"<tmx><body>" + b"<tu><tuv lang='de'><seg>" * 20_000
        if rng.randrange(2):
            place = rng.randrange(len(TMX))
            return TMX[:place] + rng.choice(tags) + TMX[place + rng.randrange(12) :]
        return mutations.changed_text(rng, TMX)

    return make, _file(folder, "fuzz.tmx", lambda path: reader.read_tmx(path, "de", "en"))


def alignments(folder: Path) -> Target:
    corpora, _, _ = _without_tensorflow()
    source, target = folder / "a.de", folder / "a.en"
    source.write_bytes(SOURCES)
    target.write_bytes(TARGETS)
    odd = [b"0-0", b"9-9", b"-1-0", "٣-٣".encode(), b"9" * 5000 + b"-0", b"0p0", b"0-", b"0-0-0"]

    def make(rng: random.Random) -> bytes:
        if rng.randrange(2):
            return mutations.changed_text(rng, LINKS)
        rows = [b" ".join(rng.choices(odd, k=rng.randrange(4))) for _ in range(4)]
        return b"\n".join(rows) + b"\n"

    def read(path: Path) -> None:
        words = [
            (len(s.split()), len(t.split()))
            for s, t in zip(SOURCES.split(b"\n"), TARGETS.split(b"\n"), strict=True)
        ]
        for row, (sources, targets) in zip(
            corpora.read_lines(source, target, path), words[:-1], strict=True
        ):
            for link in row[2].replace(b"p", b"-").replace(b"?", b"-").split():
                i, j = link.split(b"-")
                assert link.isascii() and int(i) < sources and int(j) < targets, "a wrong link"

    return make, _file(folder, "fuzz.align", read)


def glossaries(folder: Path) -> Target:
    from keras_attn_nmt.text.glossary import Glossary

    def read(path: Path) -> None:
        glossary = Glossary.load(path)
        for text in ("Zwei Hunde und ein süßer Hund in 日本", path.read_text("utf-8")[:500]):
            for each in glossary.constraints(text):
                assert each.source and all(each.targets)
            glossary.terms_met(text, text)

    return lambda rng: mutations.changed_text(rng, GLOSSARY), _file(folder, "fuzz.tsv", read)


def vectors(folder: Path) -> Target:
    from keras_attn_nmt.text.tokenizer import Tokenizer
    from keras_attn_nmt.training.vectors import read_vectors, vector_size

    # All three words are pieces, whatever the version of SentencePiece.
    tokenizer = Tokenizer.learn(["Haus am See"] * 3, 280, model_type="bpe")

    def read(path: Path) -> None:
        found = read_vectors(path, tokenizer)
        assert found.vectors.shape == (len(found.ids), vector_size(path))
        assert np.isfinite(found.vectors).all(), "not finite"

    return lambda rng: mutations.changed_text(rng, VECTORS), _file(folder, "fuzz.vec", read)


def records(folder: Path) -> Target:
    from keras_attn_nmt.training.recipe_files import load_recipe, read_run

    recipe = json.loads(json.dumps(load_recipe("phrases").to_dict()))
    content = json.dumps({"recipe": recipe, "seed": 1, "metrics": {"val_bleu": 1.5}}).encode()
    return (
        lambda rng: mutations.changed_json(rng, content),
        _file(folder, "training.json", lambda path: read_run(path.parent)),
    )


def markup(folder: Path) -> Target:
    from keras_attn_nmt.text.protected_kinds import DEFAULTS
    from keras_attn_nmt.text.protection import Protection, plan_texts

    kinds = [Protection([DEFAULTS]), Protection(markup=True), Protection([DEFAULTS], markup=True)]
    ends = ["<", ">", "&", "'", "{{", "}}", "<!--", "</b>", "<b>", "https://", "@", "1.", "\0", "%"]

    def make(rng: random.Random) -> bytes:
        if rng.randrange(3):
            return mutations.changed_text(rng, MARKUP)
        # Repetitions, which a careless regular expression takes exponential time for.
        return (rng.choice(ends) * rng.randrange(1, 3000) + rng.choice(ends)).encode()

    def read(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        for protection in kinds:
            (plan,) = plan_texts(protection, [text])
            if len(plan.text) < 600:
                # As it is, and with other numbers, which are repaired.
                for translation in (plan.text, _other_numbers(plan)):
                    found = plan.restore(_itself(plan.text, translation)).text
                    _check_restored(found, text, plan)

    return make, read


def _check_restored(found: str, text: str, plan: Any) -> None:
    from keras_attn_nmt.text.words import word_spans

    letters, wanted = (_letters(each, plan.markup) for each in (found, text))
    words = word_spans(plan.text)
    taken = [mark.span[0] for mark in plan.marks if mark.kind != "kept"]
    if any(start < place < end for start, end in words for place in taken):
        # What was taken out of a word or of punctuation moves to an end of it.
        assert sorted(letters) == sorted(wanted), "other letters"
        letters, wanted = (_letters(_without(plan, each), plan.markup) for each in (found, text))
    assert letters == wanted, "another text"


def _other_numbers(plan: Any) -> str:
    """The text for the model with other numbers, of those that occur once in it."""
    from keras_attn_nmt.text.words import word_spans

    text = plan.text
    kept = [mark.span for mark in plan.marks if mark.kind == "kept"]
    for number, (start, end) in reversed(list(enumerate(word_spans(text)))):
        inside = [span for span in kept if start <= span[0] and span[1] <= end]
        # Elsewhere, the same number may be one that is not protected.
        if len(inside) == 1 and plan.text.count(plan.text[slice(*inside[0])]) == 1:
            a, b = inside[0]
            text = f"{text[:a]}{70_000_000 + number}{text[b:]}"
    return text


def _itself(text: str, translation: str) -> Any:
    """A translation with a word for each word of the text, which it attends to."""
    from keras_attn_nmt.text.words import word_spans
    from keras_attn_nmt.translation import Translation

    sides = []
    for each in (text, translation):
        starts = [start for start, _ in word_spans(each)]
        words = [each[a:b] for a, b in itertools.pairwise([*starts, len(each)])]
        spaced = [start == 0 or each[start - 1] == " " for start in starts]
        pieces = ["▁" * space + word.strip() for space, word in zip(spaced, words, strict=True)]
        sides.append([*pieces, "</s>"])
    source, target = sides
    attention = np.eye(len(target), len(source))
    return Translation(translation, 0.0, source, target, np.zeros(len(target)), attention)


def _without(plan: Any, text: str) -> str:
    """A text without what was taken out of it."""
    for raw in sorted((mark.raw for mark in plan.marks if mark.kind != "kept"), key=len)[::-1]:
        text = text.replace(raw, "", 1)
    return text


def _letters(text: str, escaped: bool) -> str:
    """A text without white space, which restoring may move."""
    return "".join((html.unescape(text) if escaped else text).split())
