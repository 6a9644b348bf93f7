"""How many numbers that no training text has arrive in a translation, with `copy`, or protected.

    python benchmarks/copying.py CORPUS MODEL

`CORPUS` holds Multi30k's files; `MODEL` was trained on them from German. In each sentence of val
and test_2016_flickr that has digits, three times, other numbers take the place of its own. Prints a
table in Markdown: the share of numbers that are in the translation, by beam size.
"""

from __future__ import annotations

import argparse
import random
import re
from pathlib import Path
from typing import Any

import data

NUMBER = re.compile(r"\d+")
DRAWS = 3


def main() -> None:
    """Rewrites, translates, counts, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    options = parser.parse_args()

    from keras_attn_nmt import Translator

    train, *others = (
        data.read_lines(options.corpus / f"{split}.de.gz")
        for split in ("train", "val", "test_2016_flickr")
    )
    seen = {number for line in train for number in NUMBER.findall(line)}
    lines = [line.strip() for other in others for line in other]
    generator = random.Random(1)

    def unseen(number: re.Match) -> str:
        while True:
            drawn = generator.choice("123456789")
            for _ in range(max(2, len(number.group())) - 1):
                drawn += generator.choice("0123456789")
            if drawn not in seen:
                return drawn

    texts = [
        NUMBER.sub(unseen, line) for line in lines if NUMBER.search(line) for _ in range(DRAWS)
    ]
    translator = Translator.load(options.model)
    print(f"| {len(texts)} sentences | beam 1 | beam 5 |\n|---|---|---|")
    systems: dict[str, dict[str, Any]] = {
        "without copying": {},
        "with copying": {"copy": True},
        "protected": {"protect": ["number"]},
    }
    for name, system in systems.items():
        cells = []
        for beam_size in (1, 5):
            found = translator(texts, beam_size=beam_size, **system)
            kept = []
            for text, translation in zip(texts, found, strict=True):
                written = NUMBER.findall(translation.text)
                kept += [number in written for number in NUMBER.findall(text)]
            cells.append(f"{sum(kept)} of {len(kept)} ({sum(kept) / len(kept):.0%})")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
