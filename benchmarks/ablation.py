"""What each part of a recipe is worth: trainings that differ from it in one setting.

    python benchmarks/ablation.py CORPUS WORK [--recipe multi30k] [--only NAME ...] [--passes 12]
        [--set NAME=VALUE ...]

`CORPUS` holds Multi30k's files. `WORK` gets a model directory for each training; one that is there
is not trained again, one that was stopped goes on. All have one seed and see as many sentences.
Prints a table in Markdown of those that are there: BLEU of the validation set in mixed case, greedy
and with a beam of 5. The test set is not touched. `--set` changes all of them, as in
`keras-attn-nmt train`, but for what a training changes itself; other settings need another `WORK`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from keras_attn_nmt.training.recipe_files import load_recipe

RECIPE = "the recipe"
BEAM_SIZES = (1, 5)
# What is changed, and where the idea comes from.
VARIANTS = {
    RECIPE: ([], ""),
    "no dropout": (
        [f"model.{name}_dropout=0.0" for name in ("embedding", "annotation", "readout")],
        "Srivastava et al. 2014",
    ),
    "dropout 0.3, 0.4, 0.4": (
        [
            "model.embedding_dropout=0.3",
            "model.annotation_dropout=0.4",
            "model.readout_dropout=0.4",
        ],
        "Srivastava et al. 2014",
    ),
    "R-Drop 0.5": (["training.r_drop=0.5"], "Wu et al. 2021"),
    "dropout per sentence": (["model.dropout_per_sentence=true"], "Gal & Ghahramani 2016"),
    "word dropout 0.1": (["model.word_dropout=0.1"], "Sennrich et al. 2016"),
    "no label smoothing": (["training.label_smoothing=0.0"], "Szegedy et al. 2016"),
    "no layer normalisation": (["model.layer_normalization=false"], "Ba et al. 2016"),
    "no tied embeddings": (["model.tie_target_embeddings=false"], "Press & Wolf 2017"),
    "no moving average": (["training.ema_momentum=0.0"], "Polyak & Juditsky 1992"),
    "joint vocabulary": (["vocabulary.shared=true"], "Sennrich et al. 2016"),
    "3,000 pieces": (
        ["vocabulary.source_size=3000", "vocabulary.target_size=3000"],
        "Sennrich & Zhang 2019",
    ),
    "BPE": (["vocabulary.model_type=bpe"], "Sennrich et al. 2016"),
    "no subword sampling": (["vocabulary.segmentation_samples=1"], "Kudo 2018"),
    "subword sampling, 4 segmentations": (["vocabulary.segmentation_samples=4"], "Kudo 2018"),
    "query without previous embedding": (
        ["model.query_previous_token=false"],
        "Bahdanau et al. 2015",
    ),
    "multiplicative attention": (["model.attention=luong"], "Luong et al. 2015"),
}


def settings(name: str, options: argparse.Namespace) -> list[str]:
    """Everything that differs from the recipe."""
    changed = [f"data.folder={options.corpus}", *options.set, *VARIANTS[name][0]]
    # An epoch is a pass for each sample of a sentence.
    passes = options.passes
    samples = load_recipe(options.recipe, changed).vocabulary.segmentation_samples
    if passes % samples:
        raise SystemExit(f"{name}: {passes} passes are no multiple of its {samples} samples")
    return [*changed, f"training.epochs={passes // samples}"]


def main() -> None:
    """Trains what is missing, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", default="multi30k")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument("--passes", type=int, default=12)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        model = folder(options.work, name)
        report = model / "training.json"
        if not (report.exists() and json.loads(report.read_text()).get("finished", True)):
            arguments = ["train", options.recipe, "--quiet", "--output", str(model)]
            for setting in settings(name, options):
                arguments += ["--set", setting]
            if (model / "checkpoints" / "state.json").exists():
                arguments += ["--resume"]
            run(arguments)
        if not scores(model).exists():
            evaluation = ["evaluate", str(model), "--split", "validation", "--json", "--beam-size"]
            found = [json.loads(run([*evaluation, str(size)])) for size in BEAM_SIZES]
            scores(model).write_text(json.dumps(found), encoding="utf-8")

    print("| model | val, greedy | beam 5 | difference, beam 5 | parameters | minutes | source |")
    print("|---|---|---|---|---|---|---|")
    reference = None
    for name, (_, source) in VARIANTS.items():
        model = folder(options.work, name)
        if not scores(model).exists():
            continue
        report = json.loads((model / "training.json").read_text(encoding="utf-8"))
        found = json.loads(scores(model).read_text(encoding="utf-8"))
        greedy, bleu = (each["bleu"]["score"] for each in found)
        reference = bleu if name == RECIPE else reference
        difference = "" if reference is None else f"{bleu - reference:+.1f}"
        print(
            f"| {name} | {greedy:.1f} | {bleu:.1f} | {difference} "
            f"| {report['parameters'] / 1e6:.1f} M | {report['seconds'] / 60:.0f} | {source} |"
        )


def folder(work: Path, name: str) -> Path:
    """Where a training is."""
    return work / name.replace(" ", "_").replace(",", "")


def scores(model: Path) -> Path:
    """Where its scores are, one for each of `BEAM_SIZES`."""
    return model / "validation.json"


def run(arguments: list[str]) -> str:
    """What a command of `keras-attn-nmt` prints."""
    program = [sys.executable, "-m", "keras_attn_nmt.cli", *arguments]
    return subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True).stdout


if __name__ == "__main__":
    main()
