"""Compares `.tflite` files on ARM64 with this machine (`make test-arm`): `run.py FOLDER`.

On x86-64, `prepare.sh` must have put an emulated ARM64 machine into the folder; ARM64 itself runs
the files as it is. Float files must have the same tokens and the same scores; int8 kernels differ
between processors, so that its file is judged by how many held-out phrases it translates right.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from keras_attn_nmt import cli
from keras_attn_nmt.export import export_tflite
from keras_attn_nmt.training.corpora import decoded
from keras_attn_nmt.training.splits import load_split, recorded_data

PHRASES = 64
SIZE = ["--set", "data.size=16000", "--set", "training.epochs=10"]
PROCESSORS = ("cortex-a72", "cortex-a76")  # Without dot products of int8, and with them.
SCORES, ATTENTION = 1e-4, 1e-5  # Largest differences of a float file.
FEWER_RIGHT = 3  # Phrases that int8 may translate worse than float32.

HERE = Path(__file__).parent
NATIVE = platform.machine() == "aarch64"


def answers(python: str | Path, path: Path, lines: list[str], processor: str = "") -> list[Any]:
    """What `answers.py` prints for each line."""
    done = subprocess.run(
        [str(python), str(HERE / "answers.py"), str(path)],
        input="".join(f"{line}\n" for line in lines),
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "QEMU_CPU": processor},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    machine, *found = map(json.loads, done.stdout.splitlines())
    if processor and machine != "aarch64":
        raise SystemExit(f"{python} runs on {machine}, not on ARM64.")
    return found


def compare(found: list[Any], wanted: list[Any], search: str) -> tuple[int, float, float]:
    """How many lines have the same tokens, and their largest differences of scores, attention."""
    pairs = [
        (got[search], expected[search])
        for got, expected in zip(found, wanted, strict=True)
        if got[search]["tokens"] == expected[search]["tokens"]
    ]
    scores, attention = (
        max(np.abs(np.subtract(got[key], expected[key])).max() for got, expected in pairs)
        for key in ("scores", "attention")
    )
    return len(pairs), scores, attention


def main(folder: Path) -> int:
    model = folder / "model"
    if not (model / "training.json").is_file():
        arguments = ["train", "phrases", "--output", str(model), "--quiet", *SIZE]
        if code := cli.main(arguments):
            return code
    pairs = decoded(load_split(recorded_data(model), "test").take(PHRASES))
    lines, references = zip(*pairs, strict=True)
    failed = False
    processors = [""] if NATIVE else PROCESSORS
    right = {}
    for quantize in ("none", "float16", "int8"):
        path = export_tflite(model, folder / f"{quantize}.tflite", quantize=quantize)
        wanted = [] if NATIVE else answers(sys.executable, path, lines)
        for processor in processors:
            python = sys.executable if NATIVE else folder / "bin" / "python"
            found = answers(python, path, lines, processor)
            for search in ("greedy", "beam"):
                texts = [each[search]["text"] for each in found]
                count = sum(map(str.__eq__, texts, references))
                right.setdefault((processor, search), count)  # Of float32, which is the first.
                report = f"{count} of {len(lines)} right"
                failed |= count < right[processor, search] - FEWER_RIGHT
                if wanted:
                    same, scores, attention = compare(found, wanted, search)
                    report += (
                        f"; {same} as on {platform.machine()}, "
                        f"scores to {scores:.1e}, attention to {attention:.1e}"
                    )
                    exact = same == len(lines) and scores <= SCORES and attention <= ATTENTION
                    failed |= quantize != "int8" and not exact
                print(f"{quantize:8}{processor or 'native':12}{search:8}{report}", flush=True)
    print("FAILED" if failed else "passed")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
