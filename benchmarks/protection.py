"""What becomes of tags and placeholders in captions, and whether they stand where they should.

    pip install eflomal
    python benchmarks/protection.py CORPUS MODEL

`CORPUS` holds Multi30k's files; `MODEL` was trained on them from German. In each caption of a
split, a pair of tags encloses one content word and a placeholder stands beside another (seeded).
The reference for their places is the word alignment of eflomal (Östling & Tiedemann 2016), learned
on the training set together with the captions and their translations. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import collections
import random
import re
import tempfile
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import data

from keras_attn_nmt.text.words import is_word, word_spans

# The most frequent words of the training set are function words.
FUNCTION_WORDS = 100
OPEN, CLOSE, PLACEHOLDER = "<b>", "</b>", "{name}"


class Caption(NamedTuple):
    """A caption with a tag pair around a word, and a placeholder before another."""

    plain: str
    marked: str
    tagged: int
    neighbours: tuple[int, int]


def words_of(text: str) -> list[str]:
    return [text[start:end].lower() for start, end in word_spans(text)]


def mark(text: str, content: set[str], generator: random.Random) -> Caption:
    """Puts tags and a placeholder into a caption, at two content words where it has two."""
    spans = word_spans(text)
    words = words_of(text)
    places = [place for place, word in enumerate(words) if word in content]
    places = places or [place for place, word in enumerate(words) if is_word(word)]
    tagged, beside = generator.sample(places, 2) if len(places) > 1 else places * 2
    before = beside + generator.choice((0, 1))
    pieces = []
    last = 0
    for place, (start, end) in enumerate(spans):
        pieces.append(text[last:start])
        if place == before:
            pieces.append(f"{PLACEHOLDER} " if pieces[-1] or not place else f" {PLACEHOLDER}")
        word = text[start:end]
        pieces.append(f"{OPEN}{word}{CLOSE}" if place == tagged else word)
        last = end
    if before == len(spans):
        pieces.append(f" {PLACEHOLDER}")
    pieces.append(text[last:])
    return Caption(text, "".join(pieces), tagged, (before - 1, before))


def align(
    pairs: Sequence[tuple[list[str], list[str]]],
) -> tuple[list[set[tuple[int, int]]], list[set[tuple[int, int]]]]:
    """Links of eflomal in both directions: their intersection and their union."""
    import eflomal

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, name) for name in ("source", "target", "forward", "reverse")]
        for path, side in zip(paths, zip(*pairs, strict=True), strict=False):
            path.write_text("".join(f"{' '.join(words)}\n" for words in side), "utf-8")
        with paths[0].open() as source, paths[1].open() as target:
            eflomal.Aligner().align(
                source, target, links_filename_fwd=str(paths[2]), links_filename_rev=str(paths[3])
            )
        directions = [
            [
                {tuple(map(int, link.split("-"))) for link in line.split()}
                for line in path.read_text().splitlines()
            ]
            for path in paths[2:]
        ]
    both = list(zip(*directions, strict=True))
    return [a & b for a, b in both], [a | b for a, b in both]


def target_words(text: str) -> tuple[list[str], set[int], int]:
    """The words of a restored translation: those in the tags, and the place of the placeholder."""
    words: list[str] = []
    tagged: set[int] = set()
    inside, place = False, -1
    for part in re.split(f"({OPEN}|{CLOSE}|{re.escape(PLACEHOLDER)})", text):
        if part in (OPEN, CLOSE):
            inside = part == OPEN
        elif part == PLACEHOLDER:
            place = len(words)
        else:
            added = words_of(part)
            tagged |= set(range(len(words), len(words) + len(added))) if inside else set()
            words += added
    return words, tagged, place


def is_intact(text: str) -> bool:
    """Whether a translation has both once and is well-formed."""
    try:
        xml.etree.ElementTree.fromstring(f"<line>{text}</line>")
    except xml.etree.ElementTree.ParseError:
        return False
    return all(text.count(each) == 1 for each in (OPEN, CLOSE, PLACEHOLDER))


def share(values: Sequence[bool]) -> str:
    return f"{sum(values)} of {len(values)} ({sum(values) / max(1, len(values)):.1%})"


def main() -> None:
    """Marks, translates, aligns, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="test_2016_flickr")
    parser.add_argument("--beam-size", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    import sacrebleu

    from keras_attn_nmt import Translator

    train, source, reference = (
        [line.strip() for line in data.read_lines(options.corpus / name)]
        for name in ("train.de.gz", f"{options.split}.de.gz", f"{options.split}.en.gz")
    )
    counts = collections.Counter(word for line in train for word in words_of(line))
    function_words = {word for word, _ in counts.most_common(FUNCTION_WORDS)}
    content = {word for line in source for word in words_of(line) if is_word(word)}
    content -= function_words
    generator = random.Random(options.seed)
    captions = [mark(text, content, generator) for text in source]

    translator = Translator.load(options.model)
    search: dict[str, Any] = {"beam_size": options.beam_size}
    plain = [found.text for found in translator([each.plain for each in captions], **search)]
    marked = [each.marked for each in captions]
    search |= {"protect": ["placeholder"], "markup": True}
    found = [each.text for each in translator(marked, **search)]

    english = [line.strip() for line in data.read_lines(options.corpus / "train.en.gz")]
    pairs = [(words_of(a), words_of(b)) for a, b in zip(train, english, strict=True)]
    pairs += [(words_of(a.plain), words_of(b)) for a, b in zip(captions, plain, strict=True)]
    sure, possible = (links[-len(captions) :] for links in align(pairs))

    on_word, only_word, beside, same = [], [], [], []
    stripped = []
    for caption, text, known, links, union in zip(
        captions, found, plain, sure, possible, strict=True
    ):
        words, tagged, place = target_words(text)
        bare = re.sub(f" ?{re.escape(PLACEHOLDER)} ?", " ", text)
        bare = re.sub(r" ([,.!?])", r"\1", bare.replace(OPEN, "").replace(CLOSE, "")).strip()
        stripped.append(bare)
        same.append(words == words_of(known))
        if not same[-1]:
            continue
        gold = {j for i, j in links if i == caption.tagged}
        if gold:
            on_word.append(bool(tagged & gold))
            only_word.append(
                bool(tagged & gold) and tagged <= {j for i, j in union if i == caption.tagged}
            )
        left = {j + 1 for i, j in links if i == caption.neighbours[0]}
        right = {j for i, j in links if i == caption.neighbours[1]}
        if left or right:
            beside.append(place in left | right)
    bleu = sacrebleu.BLEU()
    rows = {
        "tags and placeholder there once, well-formed": share([is_intact(text) for text in found]),
        "same words as the plain translation": share(same),
        "pair encloses an aligned word": share(on_word),
        "pair encloses aligned words only": share(only_word),
        "placeholder beside a word aligned to a neighbour": share(beside),
        "BLEU, plain": f"{bleu.corpus_score(plain, [reference]).score:.2f}",
        "BLEU, marked, without what was put in": (
            f"{bleu.corpus_score(stripped, [reference]).score:.2f}"
        ),
    }
    print(f"| {len(captions)} captions of {options.split} | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
