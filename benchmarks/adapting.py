"""Adapts a trained phrases model (German to English) to thirty new words from 150 pairs.

    python benchmarks/adapting.py build/demo/model --output build/adapting

Prints the exact match on 300 unseen phrases with the new words and on the model's own test set,
before, after training on the new pairs alone, and with its old data mixed in.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

NOUNS = {
    "Schrauben": "screws",
    "Äpfel": "apples",
    "Nägel": "nails",
    "Hunde": "dogs",
    "Katzen": "cats",
    "Brücken": "bridges",
    "Fenster": "windows",
    "Bücher": "books",
    "Schlüssel": "keys",
    "Gläser": "glasses",
    "Vögel": "birds",
    "Fische": "fish",
    "Kartoffeln": "potatoes",
    "Zwiebeln": "onions",
    "Löffel": "spoons",
    "Gabeln": "forks",
    "Messer": "knives",
    "Stühle": "chairs",
    "Tische": "tables",
    "Lampen": "lamps",
    "Züge": "trains",
    "Fahrräder": "bicycles",
    "Flugzeuge": "planes",
    "Schiffe": "ships",
    "Berge": "mountains",
    "Flüsse": "rivers",
    "Blumen": "flowers",
    "Bäume": "trees",
    "Pferde": "horses",
    "Eier": "eggs",
}
PAIRS_PER_WORD, TESTS_PER_WORD = 5, 10


def new_words(split: str, per_word: int, seed: int = 1) -> list[tuple[str, str]]:
    """Numbers of a split with each of the nouns: `zwölf Äpfel`, `twelve apples`."""
    from keras_attn_nmt.training.datasets.phrasebook import Phrasebook

    numbers = Phrasebook("de", "en", ("cardinal",)).draw(split, seed)
    pairs = []
    while len(pairs) < per_word * len(NOUNS):
        phrase = next(numbers)
        german, english = list(NOUNS.items())[len(pairs) % len(NOUNS)]
        # Not "ein Äpfel".
        if not phrase.source.endswith("eins"):
            pairs.append((f"{phrase.source} {german}", f"{phrase.target} {english}"))
    random.Random(seed).shuffle(pairs)
    return pairs


def write_tsv(path: Path, pairs: list[tuple[str, str]]) -> None:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model directory of the demo")
    parser.add_argument("--output", type=Path, default=Path("build/adapting"))
    parser.add_argument("--ratios", type=float, nargs="+", default=[0, 5])
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    from keras_attn_nmt import Translator
    from keras_attn_nmt.training import evaluate, load_recipe, train
    from keras_attn_nmt.training.corpora import decoded
    from keras_attn_nmt.training.splits import load_recorded

    options.output.mkdir(parents=True, exist_ok=True)
    write_tsv(options.output / "words.tsv", new_words("train", PAIRS_PER_WORD))
    tests = {
        "new words": new_words("test", TESTS_PER_WORD, seed=2),
        "old test set": decoded(load_recorded(options.model, "test")),
    }

    def report(name: str, model: str | Path) -> None:
        translator = Translator.load(model)
        scores = {
            test: evaluate(translator, *zip(*pairs, strict=True))["exact_match"]
            for test, pairs in tests.items()
        }
        print(json.dumps({"model": name, **scores}), flush=True)

    report("before", options.model)
    for ratio in options.ratios:
        recipe = load_recipe(
            Path(__file__).parent / "adapting.toml",
            [
                f"data.folder={options.output}",
                f'data.mix=[{{corpus="parent", ratio={ratio}}}]' if ratio else "data.mix=[]",
                *options.set,
            ],
            parent=options.model,
        )
        name = f"ratio {ratio:g}" if ratio else "new pairs alone"
        model = options.output / name.replace(" ", "-")
        written = train(recipe, model, parent=options.model, quiet=True)
        report(f"{name}, {written['seconds']:.0f} s", model)


if __name__ == "__main__":
    main()
