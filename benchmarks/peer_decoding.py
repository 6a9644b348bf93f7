"""Translation speed side by side, one core, at equal step counts.

    benchmarks/peers/install.sh
    python benchmarks/peer_decoding.py CORPUS WORK

All have the sizes of `training.py` and untrained weights, translate the same sentences of 15 pieces
and take 16 steps for each: none may end before, so that all do the same work. This project's
are an exported SavedModel, with text in and the attention out, and a `.tflite` file, both as they
are shipped, and the SavedModel with a shortlist. That comes from how often pieces stand in the same
sentence pair, as an untrained model has no attention to learn it from; the peers have none.
`peers/decode.py` says how each peer is run. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import data
import decoding
import numpy as np
import yaml

import training
from keras_attn_nmt.decoding.shortlist import Shortlist

HERE = Path(__file__).resolve().parent
PIECES, STEPS = 15, 16
# What keras-attn-nmt shortlist learns where nobody says another number.
CANDIDATES, COMMON = 50, 100
SENTENCES = 128
RUNS = ((1, 64), (1, 1), (5, 64), (5, 1))
OWN = ("SavedModel", "SavedModel, shortlist", "TFLite none", "TFLite int8")
# What a system that does not run raises here: the others still get their rows.
FAILURES = (subprocess.SubprocessError, OSError, ValueError, LookupError, ArithmeticError)


def sample(work: Path) -> tuple[list[str], list[str]]:
    """Sentences of `PIECES` pieces: as pieces with spaces between them, and as text."""
    found: list[tuple[str, str]] = []
    for split in ("test_2016_flickr", "val", "train"):
        pieces, texts = (
            (work / f"{split}.de{end}").read_text(encoding="utf-8").splitlines()
            for end in ("", ".txt")
        )
        found += [
            pair for pair in zip(pieces, texts, strict=True) if len(pair[0].split()) == PIECES
        ]
    return tuple(list(each) for each in zip(*found[:SENTENCES], strict=True))  # type: ignore


def prepare_peer(system: str, work: Path, peers: Path) -> None:
    """Writes what a peer is configured by, and trains for a step where it needs a model file."""
    folder = work / system
    program = training.command(system, work, peers, 1, 0)
    if system == "opennmt_py":
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        config.update(train_steps=2, save_checkpoint_steps=2)
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    elif system == "marian":
        program += ["--after-batches", "1"]
    if system in ("opennmt_py", "marian"):
        with (work / f"{system}.prepare.log").open("w") as log:
            subprocess.run(program, stdout=log, stderr=log, env=training.environment(1), check=True)
    if system == "marian":
        # Its decoder has no shortest length: let the end, id 0, never be chosen.
        weights = dict(np.load(folder / "model.npz"))
        weights["decoder_ff_logit_l2_b"][0, 0] = -1e4
        np.savez(folder / "model.npz", **weights)
    pieces, _ = sample(work)
    (folder / "sample").write_text("".join(f"{line}\n" for line in pieces), encoding="utf-8")


def prepare_own(work: Path) -> Path:
    """A model directory at the sizes of the comparison, whose translations never end."""
    import keras_systems

    from keras_attn_nmt import Tokenizer, build_model
    from keras_attn_nmt.model_directory import SHORTLIST, ModelFiles, save_model
    from keras_attn_nmt.text.special_ids import EOS

    folder = work / "untrained"
    tokenizer = Tokenizer.load(work / "joint.model")
    shutil.rmtree(folder, ignore_errors=True)
    config = keras_systems.our_config(data.VOCABULARY_SIZE)
    model = build_model(config)
    output = model.get_layer("target_embedding")
    output.bias.assign(np.where(np.arange(output.input_dim) == EOS, -1e4, output.bias))
    save_model(folder, ModelFiles(model, config, tokenizer, tokenizer))
    lexical_shortlist(work).save(folder / SHORTLIST, tokenizer, tokenizer)
    return folder


def lexical_shortlist(work: Path) -> Shortlist:
    """A shortlist of the usual size for a model that has no attention to learn it from: by how
    often pieces stand in the same sentence pair (Dice 1945).
    """
    size = data.VOCABULARY_SIZE
    pairs = [(set(source), set(target[1:])) for source, target in data.pairs(work)]
    both = np.concatenate(
        [np.add.outer(size * np.array([*s]), np.array([*t])).ravel() for s, t in pairs]
    )
    together, counts = np.unique(both, return_counts=True)
    of_source, of_target = (
        np.bincount([piece for pair in pairs for piece in pair[side]], minlength=size)
        for side in (0, 1)
    )
    source, target = np.divmod(together, size)
    dice = 2 * counts / (of_source[source] + of_target[target])
    table = np.zeros((size, CANDIDATES), "int32")
    for piece in range(size):
        begin, end = np.searchsorted(source, [piece, piece + 1])
        best = target[begin:end][np.argsort(-dice[begin:end])][:CANDIDATES]
        table[piece, : len(best)] = best
    return Shortlist(table, np.argsort(-of_target)[:COMMON].astype("int32"))


def run_own(kind: str, path: str, texts: list[str], beam: int, batch: int) -> dict:
    """Translates the sample twice; in the process that is measured."""
    if kind.startswith("SavedModel"):
        decoding.one_core()
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        loaded = tf.saved_model.load(path)
        signature = loaded.signatures["serving_default"]

        def translate(lines: list[str]) -> list[int]:
            return signature(text=tf.constant(lines))["target_length"].numpy().tolist()
    else:
        from keras_attn_nmt.export import TFLiteTranslator

        translator = TFLiteTranslator(path)

        def translate(lines: list[str]) -> list[int]:
            return [len(each.target_tokens) for each in translator(lines, beam_size=beam)]

    texts = texts if batch > 1 else texts[:64]
    batches = [texts[start : start + batch] for start in range(0, len(texts), batch)]
    seconds, counts = [], []
    for lines in [*batches, *batches]:
        begin = time.perf_counter()
        counts += translate(lines)
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds[len(batches) :], "tokens": statistics.mean(counts)}


def measure_own(kind: str, model: Path, work: Path) -> dict[tuple[int, int], dict]:
    """All runs of one of this project's own runtimes."""
    from keras_attn_nmt.export import export_saved_model, export_tflite

    found = {}
    for beam, batch in RUNS:
        if kind.startswith("SavedModel"):
            base = work / f"served_{beam}"
            shutil.rmtree(base, ignore_errors=True)
            shortlist = kind != "SavedModel"
            path = export_saved_model(
                model, base, beam_size=beam, max_length=STEPS, shortlist=shortlist
            )
        elif batch > 1:
            continue  # A device translates one sentence at a time.
        else:
            quantize = kind.removeprefix("TFLite ")
            path = export_tflite(
                model, work / f"{quantize}.tflite", quantize=quantize, max_target_length=STEPS
            )
        arguments = ["--run", kind, str(path), str(beam), str(batch)]
        found[beam, batch] = _answer([sys.executable, __file__, "", str(work), *arguments])
    return found


def measure_peer(system: str, work: Path, peers: Path) -> dict[tuple[int, int], dict]:
    """All runs of a peer."""
    prepare_peer(system, work, peers)
    python = str(peers / system / "bin" / "python")
    found = {}
    for beam, batch in RUNS:
        program = [python, str(HERE / "peers" / "decode.py"), system, str(work / system)]
        program += ["--beam", str(beam), "--batch", str(batch), "--steps", str(STEPS)]
        found[beam, batch] = _answer(program)
    return found


def _answer(program: list[str]) -> dict:
    done = subprocess.run(
        program,
        stdout=subprocess.PIPE,
        text=True,
        env=training.environment(1),
        check=True,
        timeout=600,
        # Whatever threads a system has, they share one core.
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
    )
    return json.loads(done.stdout.splitlines()[-1])


def _row(name: str, found: dict[tuple[int, int], dict], own: dict[tuple[int, int], dict]) -> str:
    cells = [name]
    for run in RUNS:
        if run not in found:
            cells += [""] * (2 if run[1] > 1 else 3)
            continue
        seconds = found[run]["seconds"]
        step = sum(seconds) / found[run]["tokens"]
        ratio = (
            f"{step / (sum(own[run]['seconds']) / own[run]['tokens']):.1f} x" if run in own else ""
        )
        if run[1] > 1:
            cells += [f"{SENTENCES / sum(seconds):.0f}", ratio]
        else:
            p99 = statistics.quantiles(seconds, n=100)[98]
            cells += [f"{1000 * statistics.median(seconds):.1f}", f"{1000 * p99:.1f}", ratio]
    tokens = {round(each["tokens"], 1) for each in found.values()}
    return " | ".join(["", *cells, ", ".join(map(str, sorted(tokens))), ""]).strip()


def main() -> None:
    """Runs all systems that are there, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peers", type=Path, default=HERE / "peers" / ".venv")
    parser.add_argument("--systems", nargs="*", default=[*OWN, *training.LOGGED])
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        kind, path, beam, batch = options.run
        _, texts = sample(options.work)
        print(json.dumps(run_own(kind, path, texts, int(beam), int(batch))))
        return
    data.prepare(options.corpus, options.work)
    print(
        "| one core, 16 steps a sentence | greedy, 64: sentences/s | time of ours "
        "| greedy, 1: median ms | p99 ms | time of ours | beam 5, 64: sentences/s | time of ours "
        "| beam 5, 1: median ms | p99 ms | time of ours | tokens that came |"
    )
    print("|---" * 12 + "|")
    model = prepare_own(options.work)
    reference: dict[tuple[int, int], dict] = {}
    for system in options.systems:
        if system not in OWN and not (options.peers / system / "ready").exists():
            continue
        try:
            if system in OWN:
                found = measure_own(system, model, options.work)
            else:
                found = measure_peer(system, options.work, options.peers)
            row = _row(system, found, reference or found)
        except FAILURES as error:
            print(f"{system}: {error}", file=sys.stderr)
            print(f"| {system} | did not run |" + " |" * 10)
            continue
        reference = reference or found
        print(row, flush=True)


if __name__ == "__main__":
    main()
