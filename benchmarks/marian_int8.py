"""int8 `.tflite` files against Marian's best on a CPU: its int8, and its shortlist; one core.

    benchmarks/peers/install.sh
    python benchmarks/marian_int8.py CORPUS WORK

Sizes, sentences (all of test_2016_flickr at once; the first 100 one by one) and vocabulary (8,000
pieces, for both sides) are the same, weights untrained, and no translation ends by itself: Marian
takes as many steps as a batch has source tokens, the `.tflite` file always 16, so that times are
those of a step of a sentence, and the steps of both are counted. Both shortlists hold 50 candidates
from co-occurrence for each source piece, and the 100 most frequent pieces.

Marian's converted int8 models cannot be GRUs: it aborts, as it concatenates packed weights
(marian-dev, issue 832). So a GRU gets the int8 that it packs while it loads (`packed8`), and a
model with LSTMs, which has a third more recurrent weights, the converted one (`intgemm8`).

Every row runs in a process of its own, alternating with the others, `--rounds`
times: medians of CPU seconds.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import data
import numpy as np
import peer_decoding
import sentencepiece

import training

HERE = Path(__file__).resolve().parent
STEPS = 16
ONE_BY_ONE = 100
# Marian was fastest with 32 of 16, 32, 64 and 128 sentences in a batch.
MINI_BATCH = 32
# Marian ends this one by itself where a batch is one sentence.
UNSUPPORTED = "Marian, LSTM, intgemm8, shortlist"
MODES = {"all at once": (True, 1), "one by one": (False, 1), "one by one, beam 5": (False, 5)}


def prepare_marian(work: Path, peers: Path) -> dict[str, list[str]]:
    """Models, vocabulary and shortlist; returns the options of every row."""
    program = training.command("marian", work, peers, 1, 0)
    folder = work / "marian"
    counts = collections.Counter((work / "train.en").read_text(encoding="utf-8").split())
    pieces = (work / "joint.vocab").read_text(encoding="utf-8").splitlines()
    # The shortlist's most frequent pieces are the first ids.
    names = ["</s>", "<unk>", *sorted(pieces, key=lambda piece: -counts[piece])]
    lines = [f"{json.dumps(name, ensure_ascii=False)}: {i}\n" for i, name in enumerate(names)]
    vocabulary = folder / "joint.yml"
    vocabulary.write_text("".join(lines), encoding="utf-8")
    models = {}
    for cell in ("gru", "lstm"):
        models[cell] = folder / f"{cell}.npz"
        for name, values in (
            ("--vocabs", [str(vocabulary)] * 2),
            ("--model", [str(models[cell])]),
            ("--enc-cell", [cell]),
            ("--dec-cell", [cell]),
        ):
            place = program.index(name) + 1
            program[place : place + len(values)] = values
        with (work / "marian.prepare.log").open("w") as log:
            trained = [*program, "--after-batches", "1"]
            subprocess.run(trained, stdout=log, stderr=log, env=training.environment(1), check=True)
        # Its decoder has no shortest length: the end, id 0, is never chosen.
        weights = dict(np.load(models[cell]))
        weights["decoder_ff_logit_l2_b"][0, 0] = -1e4
        np.savez(models[cell], **weights)
    wide = "avx512bw" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    converted = folder / "lstm.bin"
    conversion = ["convert", "-f", str(models["lstm"]), "-t", str(converted)]
    conversion += ["-g", "intgemm8avx512" if wide else "intgemm8avx2"]
    binary = str(peers / "marian" / "bin" / "pymarian")
    subprocess.run([binary, *conversion], check=True, stderr=subprocess.DEVNULL)
    write_lexical(work, folder / "lexical")
    numbers = [str(peer_decoding.COMMON), str(peer_decoding.CANDIDATES)]
    shortlist = ["--shortlist", str(folder / "lexical"), *numbers, "0"]
    kinds = {
        "Marian, GRU, float32": (models["gru"], []),
        "Marian, GRU, packed8": (models["gru"], ["--gemm-type", "packed8"]),
        "Marian, LSTM, intgemm8": (converted, []),
    }
    rows = {}
    for name, (model, extra) in kinds.items():
        options = ["--models", str(model), "--vocabs", *[str(vocabulary)] * 2, *extra]
        options += ["--normalize", "1", "--cpu-threads", "1", "--max-length-factor", "1"]
        options += ["--quiet", "--quiet-translation"]
        rows[name] = options
        rows[f"{name}, shortlist"] = [*options, *shortlist]
    return rows


def write_lexical(work: Path, path: Path) -> None:
    """The shortlist of the comparison as Marian reads it: target, source, probability."""
    known = sentencepiece.SentencePieceProcessor(str(work / "joint.model"))
    first = data.EOS + 2  # After the special ids.
    with path.open("w", encoding="utf-8") as file:
        for source, row in enumerate(peer_decoding.lexical_shortlist(work).candidates):
            for rank, target in enumerate(row.tolist()):
                if min(source, target) >= first:
                    pair = f"{known.id_to_piece(target)} {known.id_to_piece(source)}"
                    file.write(f"{pair} {1 / (rank + 2):.6f}\n")


def prepare_own(work: Path) -> dict[str, str]:
    """The `.tflite` file of every row."""
    from keras_attn_nmt.export import export_tflite

    model = peer_decoding.prepare_own(work)
    rows = {}
    for name, shortlist in (("TFLite int8", False), ("TFLite int8, shortlist", True)):
        made = export_tflite(
            model,
            work / f"bulk{'_shortlist' if shortlist else ''}.tflite",
            quantize="int8",
            max_target_length=STEPS,
            beam_size=5,
            bulk=True,
            shortlist=shortlist,
        )
        rows[name] = str(made)
    return rows


def run_own(row: dict) -> dict:
    """Measures a `.tflite` file in this process."""
    from keras_attn_nmt.export import TFLiteTranslator

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    translator, texts = TFLiteTranslator(row["path"]), row["sentences"]
    calls = [texts] if row["at_once"] else [[text] for text in texts]
    for call in calls:  # Packs the weights of all signatures.
        translator(call, beam_size=row["beam"])
    begin = time.process_time()
    found = [each for call in calls for each in translator(call, beam_size=row["beam"])]
    seconds = time.process_time() - begin
    return {"seconds": seconds, "tokens": [len(each.target_tokens) for each in found]}


def own_process(program: list[str], row: dict) -> dict:
    """Calls a program with a row; returns the answer, its last line."""
    done = subprocess.run(
        program, input=json.dumps(row), stdout=subprocess.PIPE, text=True, check=True, timeout=900
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Prepares both, measures, and prints a table for each way of translating."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--peers", type=Path, default=HERE / "peers" / ".venv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", nargs="*", choices=MODES, default=list(MODES))
    options = parser.parse_args()
    if not (options.peers / "marian" / "ready").exists():
        print("Marian is not installed: run benchmarks/peers/install.sh first.")
        return
    data.prepare(options.corpus, options.work)
    marian = prepare_marian(options.work, options.peers)
    # In a process of its own: the conversion takes much memory.
    own = own_process([sys.executable, __file__, "--export"], {"work": str(options.work)})
    texts, pieces = (
        (options.work / f"test_2016_flickr.de{end}").read_text(encoding="utf-8").splitlines()
        for end in (".txt", "")
    )
    python = str(options.peers / "marian" / "bin" / "python")
    for mode in options.modes:
        at_once, beam = MODES[mode]
        size = len(texts) if at_once else ONE_BY_ONE
        rows: dict[str, tuple[list[str], dict]] = {}
        for name, path in own.items():
            row = {"path": path, "sentences": texts[:size], "at_once": at_once, "beam": beam}
            rows[name] = ([sys.executable, __file__, "--run"], row)
        for name, words in marian.items():
            if not at_once and name == UNSUPPORTED:
                continue
            batch = ["--beam-size", str(beam), "--mini-batch", str(MINI_BATCH if at_once else 1)]
            batch += ["--maxi-batch", "100", "--maxi-batch-sort", "src"] if at_once else []
            row = {"options": [*words, *batch], "sentences": pieces[:size], "at_once": at_once}
            rows[name] = ([python, str(HERE / "peers" / "marian_decode.py")], row)
        found: dict[str, list[dict]] = {name: [] for name in rows}
        for _ in range(options.rounds):
            for name, row in rows.items():
                found[name].append(own_process(*row))
        print_table(mode, found)


def print_table(mode: str, found: dict[str, list[dict]]) -> None:
    """Prints the medians in Markdown; the last column is relative to the first row."""
    print(f"\n| {mode} | sentences/CPU s | steps | µs a step | least to most | of ours |")
    print("|---" * 6 + "|")
    first = 0.0
    for name, runs in found.items():
        steps, size = sum(runs[0]["tokens"]), len(runs[0]["tokens"])
        if not steps:
            print(f"| {name} | no translation came | | | | |")
            continue
        times = [1e6 * each["seconds"] / steps for each in runs]
        middle = statistics.median(times)
        first = first or middle
        print(
            f"| {name} | {1e6 * size / steps / middle:.0f} | {steps:,} | {middle:.0f} | "
            f"{min(times):.0f} to {max(times):.0f} | {middle / first:.2f} x |",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["--run"]:
        print(json.dumps(run_own(json.load(sys.stdin))))
    elif sys.argv[1:] == ["--export"]:
        print(json.dumps(prepare_own(Path(json.load(sys.stdin)["work"]))))
    else:
        main()
