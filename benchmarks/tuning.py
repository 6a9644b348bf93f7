"""Chooses settings on the validation set: many trainings at once on an accelerator.

    python benchmarks/tuning.py prepare GROUP CORPUS FILE.npz
    KERAS_BACKEND=jax python benchmarks/tuning.py train GROUP FILE.npz FOUND.npz [--seconds 600]
    python benchmarks/tuning.py score FOUND.npz ...

`GROUPS` has what is compared. `prepare` tokenizes a corpus, as TensorFlow and SentencePiece need
not be where the accelerator is. `train` trains all of a group side by side (`stacked.py`), all on
the same batches, and translates the validation set with a beam of 5; with `--seconds`, as many
passes as fit. `score` prints BLEU. Commands of several groups can run on one device at a time.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from keras_attn_nmt.text.special_ids import EOS

EN_DE = ["data.source_language=en", "data.target_language=de"]
EN_FR = ["data.source_language=en", "data.target_language=fr"]
JA_EN = ["data.source_language=ja", "data.target_language=en"]
# `vocabulary.segmentation_samples`: segmentations of each sentence, one per pass.
SAMPLES = 4


def dropout(*rates: float, **settings: float) -> dict[str, float]:
    """Settings of one training: rates of embedding, annotations and readout, and others."""
    names = ("embedding_dropout", "annotation_dropout", "readout_dropout")
    return {**dict(zip(names, rates, strict=True)), **settings}


EVEN = [dropout(rate, rate, rate) for rate in (0.1, 0.2, 0.3)]
# Recipe, what is set in it, passes over the corpus, and the trainings.
GROUPS: Mapping[str, tuple[str, list[str], int, list[dict[str, float]]]] = {
    "en-de": (
        "multi30k",
        EN_DE,
        20,
        [
            *EVEN,
            dropout(0.2, 0.3, 0.3),
            dropout(0.2, 0.2, 0.2, learning_rate=1e-3),
            dropout(0.2, 0.2, 0.2, learning_rate=3e-3),
        ],
    ),
    "en-de, R-Drop": (
        "multi30k",
        EN_DE,
        20,
        [
            dropout(0.2, 0.2, 0.2, r_drop=0.5),
            dropout(0.2, 0.2, 0.2, r_drop=2.0),
            dropout(0.3, 0.3, 0.3, r_drop=1.0),
        ],
    ),
    "en-fr": ("multi30k", EN_FR, 20, [*EVEN[1:], dropout(0.2, 0.3, 0.3)]),
    "ja-en": (
        "tanaka_enja",
        JA_EN,
        16,
        [*EVEN, dropout(0.2, 0.2, 0.2, learning_rate=1e-3)],
    ),
}


def prepare(options: argparse.Namespace) -> None:
    """Writes a corpus as ids, each training sentence in `SAMPLES` segmentations."""
    from keras_attn_nmt.training.corpora import decoded
    from keras_attn_nmt.training.recipe_files import load_recipe
    from keras_attn_nmt.training.splits import load_split
    from keras_attn_nmt.training.subword_sampling import SubwordSampler
    from keras_attn_nmt.training.vocabularies import load_given, make_tokenizers

    name, settings, *_ = GROUPS[options.group]
    recipe = load_recipe(name, [*settings, f"data.folder={options.corpus}"])
    pairs = load_split(recipe.data, "train")
    tokenizers = make_tokenizers(recipe.vocabulary, pairs, load_given(recipe.vocabulary))
    texts = {"train": decoded(pairs), "validation": decoded(load_split(recipe.data, "validation"))}
    arrays: dict[str, Any] = {
        "model": json.dumps(dict(recipe.model)),
        "references": json.dumps([target for _, target in texts["validation"]]),
    }
    for side, language in enumerate(("source", "target")):
        tokenizer = tokenizers[side]
        arrays[f"{language}_size"] = tokenizer.vocabulary_size
        arrays[f"{language}_pieces"] = np.frombuffer(tokenizer.model_proto, np.uint8)
        train, validation = ([pair[side] for pair in texts[split]] for split in texts)
        add(arrays, f"validation_{language}", tokenizer.encode(validation))
        add(arrays, f"train_{language}_0", tokenizer.encode(train))
        sampler = SubwordSampler(tokenizer, recipe.vocabulary.sampling_alpha)
        for sample in range(1, SAMPLES):
            generator = random.Random(f"{sample} {side}")
            rows = [sampler(text, generator) for text in train]
            add(arrays, f"train_{language}_{sample}", rows)
    np.savez_compressed(options.file, **arrays)


def add(arrays: dict[str, Any], name: str, rows: list[list[int]]) -> None:
    """Adds token sequences, closed by eos, one after another."""
    closed = [np.array([*row, EOS], np.uint16) for row in rows]
    arrays[f"{name}_ids"] = np.concatenate(closed)
    arrays[f"{name}_lengths"] = np.array([len(row) for row in closed], np.uint16)


def train(options: argparse.Namespace) -> None:
    """Trains a group and writes translations of the validation set."""
    from stacked import train_stacked

    _, _, passes, members = GROUPS[options.group]
    with np.load(options.file) as corpus:
        found = train_stacked(dict(corpus), members, passes, SAMPLES, options.seconds)
        kept = {name: corpus[name] for name in ("target_pieces", "references")}
    np.savez_compressed(options.found, group=options.group, **kept, **found)


def score(options: argparse.Namespace) -> None:
    """Prints a table in Markdown: BLEU of the validation set, and perplexities."""
    from keras_attn_nmt.text.tokenizer import Tokenizer
    from keras_attn_nmt.training.evaluation import corpus_scores

    print("| group | training | val BLEU | lower-cased | perplexity: training | val |")
    print("|---|---|---|---|---|---|")
    for path in options.found:
        found = np.load(path)
        group = str(found["group"])
        tokenizer = Tokenizer(found["target_pieces"].tobytes())
        references = json.loads(str(found["references"]))
        for index, member in enumerate(GROUPS[group][3]):
            texts = tokenizer.decode(found["tokens"][index].tolist())
            scores = corpus_scores(texts, references, options.tokenize)
            mixed, lower = (scores[name]["score"] for name in ("bleu", "bleu_lowercase"))
            of_training, of_validation = found["perplexities"][-1, :, index]
            passes = len(found["perplexities"])
            settings = ", ".join(f"{name} {value}" for name, value in member.items())
            print(
                f"| {group}, {passes} passes | {settings} | {mixed:.1f} | {lower:.1f} "
                f"| {of_training:.2f} | {of_validation:.2f} |"
            )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("prepare")
    command.add_argument("group", choices=GROUPS)
    command.add_argument("corpus", type=Path)
    command.add_argument("file", type=Path)
    command.set_defaults(run=prepare)
    command = commands.add_parser("train")
    command.add_argument("group", choices=GROUPS)
    command.add_argument("file", type=Path)
    command.add_argument("found", type=Path)
    command.add_argument("--seconds", type=float, default=float("inf"))
    command.set_defaults(run=train)
    command = commands.add_parser("score")
    command.add_argument("found", type=Path, nargs="+")
    command.add_argument("--tokenize", default="13a")
    command.set_defaults(run=score)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
