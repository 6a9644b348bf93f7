"""Time to quality: trains the recipe `multi30k-fast` on one core and scores it.

    python benchmarks/quality.py CORPUS MODEL [--set SECTION.KEY=VALUE ...]

`CORPUS` holds Multi30k's files; the model directory is made anew. Prints a table in Markdown: BLEU
of the validation set, mixed case, after each epoch, and of test_2016_flickr at the end.
The minutes are those from the start of the training, vocabularies and validation included. At the
end the model learns a shortlist, which is scored beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def main() -> None:
    """Trains, scores, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if options.model.exists():
        if not (options.model / "recipe.json").exists():
            parser.error(f"{options.model} is there and no model: give another directory")
        shutil.rmtree(options.model)
    settings = [f"data.folder={options.corpus}", *options.settings]
    arguments = [part for setting in settings for part in ("--set", setting)]
    _command("train", "multi30k-fast", "--output", str(options.model), "--quiet", *arguments)
    report = json.loads((options.model / "training.json").read_text(encoding="utf-8"))
    history = report["history"]
    seconds = report["seconds"] - sum(epoch["seconds"] for epoch in history)
    print("| one core | minutes | BLEU |\n|---|---|---|")
    for number, epoch in enumerate(history, 1):
        seconds += epoch["seconds"]
        print(
            f"| validation, epoch {number}, greedy | {seconds / 60:.1f} | {epoch['val_bleu']:.1f} |"
        )
    _command("shortlist", str(options.model))
    for beam_size, *shortlist in (["1"], ["5"], ["1", "--shortlist"], ["5", "--shortlist"]):
        search = ["--beam-size", beam_size, *shortlist]
        scores = json.loads(_command("evaluate", str(options.model), *search, "--json"))
        bleu, lowercase = (scores[name]["score"] for name in ("bleu", "bleu_lowercase"))
        print(
            f"| test_2016_flickr, beam {beam_size}{', shortlist' if shortlist else ''} "
            f"| {seconds / 60:.1f} | {bleu:.1f}, lower-cased {lowercase:.1f} |"
        )


def _command(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "keras_attn_nmt.cli", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    main()
