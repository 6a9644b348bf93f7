"""Attention against the word alignments of eflomal, with and without guided training by them.

    benchmarks/peers/install.sh
    python benchmarks/alignment.py CORPUS WORK [--recipe multi30k-fast] [--weights 0 0.5]

`CORPUS` holds Multi30k's files. eflomal aligns all splits together (`peers/align_words.py`); links
of both of its directions are sure, those of grow-diag-final-and possible. A model is trained for
each weight of `training.guided_alignment`. Prints a table in Markdown: BLEU, and the alignment
error rate of the attention given the reference, both of test_2016_flickr.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import data

HERE = Path(__file__).resolve().parent
SPLITS = {"train": "train", "val": "val", "test": "test_2016_flickr"}


def main() -> None:
    """Aligns, trains, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peers", type=Path, default=HERE / "peers" / ".venv")
    parser.add_argument("--recipe", default="multi30k-fast")
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.5])
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    prepare(options.corpus, options.work / "corpus", options.peers / "eflomal" / "bin" / "python")
    print(
        "| guided alignment | BLEU, beam of 5 | greedy | alignment error rate |\n|---|---|---|---|"
    )
    for weight in options.weights:
        model = options.work / "-".join([options.recipe, f"guided-{weight:g}", *options.set])
        record = model / "training.json"
        if not record.exists():
            train(model, options.work / "corpus", options.recipe, weight, options.set)
        if not json.loads(record.read_text(encoding="utf-8"))["finished"]:
            raise SystemExit(f"{model} is unfinished: remove it.")
        scores = [bleu(model, size) for size in (5, 1)]
        cells = [f"{weight:g}", *(f"{score:.1f}" for score in scores), error_rate(model)]
        print(f"| {' | '.join(cells)} |", flush=True)


def prepare(corpus: Path, folder: Path, python: Path) -> None:
    """Writes the line-aligned files of all splits, with their alignments."""
    if (folder / "test.align").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        (split, side): data.read_lines(corpus / f"{stem}.{side}.gz")
        for split, stem in SPLITS.items()
        for side in data.SIDES
    }
    for (split, side), lines in texts.items():
        write(folder / f"{split}.{side}", lines)
    both = [folder / f"all.{side}" for side in data.SIDES]
    for path, side in zip(both, data.SIDES, strict=True):
        write(path, [line for split in SPLITS for line in texts[split, side]])
    program = [python, HERE / "peers" / "align_words.py", *both]
    links = subprocess.run(program, check=True, capture_output=True, text=True).stdout.splitlines()
    for split in SPLITS:
        count = len(texts[split, "de"])
        write(folder / f"{split}.align", links[:count])
        del links[:count]


def write(path: Path, lines: list[str]) -> None:
    """Writes a text file."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def train(model: Path, corpus: Path, recipe: str, weight: float, settings: list[str]) -> None:
    """Trains a recipe on the aligned corpus."""
    for each in (
        "data.corpus=lines",
        f"data.folder={corpus}",
        "data.validation=val",
        "data.test=test",
        "data.alignment=align",
        f"training.guided_alignment={weight}",
    ):
        settings = [*settings, each]
    command("train", recipe, "--quiet", "--output", model, *(f"--set={each}" for each in settings))


def bleu(model: Path, beam_size: int) -> float:
    """BLEU of the test set in lower case."""
    found = json.loads(command("evaluate", model, "--beam-size", beam_size, "--json")[0])
    return found["bleu_lowercase"]["score"]


def error_rate(model: Path) -> str:
    """Alignment error rate of the test set, in percent."""
    return re.search(r"alignment error rate ([\d.]+ ?%)", command("align", model)[1])[1]


def command(*arguments: object) -> tuple[str, str]:
    """Runs a command of this project; returns its output and its messages."""
    program = [sys.executable, "-m", "keras_attn_nmt.cli", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout, done.stderr


if __name__ == "__main__":
    main()
