"""Parity, size, time and memory of exported models on a test set, one thread, a sentence at a time.

    python benchmarks/exports.py MODEL SOURCE REFERENCE

All search is greedy. The model directory is exported to a SavedModel (also with its shortlist if it
has one) and to `.tflite` files without, with float16 and with int8 quantisation. Each runs in a
process of its own, bound to one core. `same` is the share of translations that equal those of
`Translator`; BLEU is lower-cased.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import decoding

WARM = 20


def run(kind: str, path: str, texts: list[str]) -> dict:
    """Translates each text alone; in the process that is measured."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    start = time.perf_counter()
    if kind == "tflite":
        from keras_attn_nmt.export.runner import TFLiteTranslator

        runner = TFLiteTranslator(path)

        def translate(text: str) -> str:
            return runner([text], beam_size=1)[0].text
    else:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        if kind == "SavedModel":
            import tensorflow_text  # noqa: F401

            served = tf.saved_model.load(path)
            signature = served.signatures["serving_default"]

            def translate(text: str) -> str:
                return signature(text=tf.constant([text]))["translation"][0].numpy().decode()
        else:
            from keras_attn_nmt import Translator

            translator = Translator.load(path)

            def translate(text: str) -> str:
                return translator([text], beam_size=1)[0].text

    translations = [translate(texts[0])]
    first = time.perf_counter() - start
    for text in texts[:WARM]:
        translate(text)
    seconds = []
    for text in texts:
        begin = time.perf_counter()
        translations.append(translate(text))
        seconds.append(time.perf_counter() - begin)
    return {
        "translations": translations[1:],
        "first_s": first,
        "median_ms": 1000 * statistics.median(seconds),
        "p99_ms": 1000 * statistics.quantiles(seconds, n=100)[-1],
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    """Most memory that this program had; `getrusage` would count the one that started it, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def measure(kind: str, path: Path, source: str) -> dict:
    """`run` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--run", kind, str(path), source],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def size(path: Path) -> float:
    """Megabytes of a file, or of all files in a directory."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files) / 1e6


def main() -> None:
    """Exports, measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("reference")
    options = parser.parse_args()

    import sacrebleu

    from keras_attn_nmt.export import export_saved_model, export_tflite

    references = Path(options.reference).read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        runs = {"Translator": ("Translator", Path(options.model, "model.keras"), options.model)}
        served = export_saved_model(options.model, Path(folder, "served"), beam_size=1)
        runs["SavedModel"] = ("SavedModel", served, served)
        if decoding.has_shortlist(options.model):
            path = export_saved_model(
                options.model, Path(folder, "served"), beam_size=1, shortlist=True
            )
            runs["SavedModel, shortlist"] = ("SavedModel", path, path)
        for quantize in ("none", "float16", "int8"):
            path = export_tflite(
                options.model, Path(folder, f"{quantize}.tflite"), quantize=quantize
            )
            runs[f"TFLite {quantize}"] = ("tflite", path, path)
        print("| runtime | MB | BLEU | same | median ms | p99 ms | start s | peak MiB |")
        print("|---|---|---|---|---|---|---|---|")
        wanted: list[str] = []
        for name, (kind, file, path) in runs.items():
            found = measure(kind, path, options.source)
            translations = found["translations"]
            wanted = wanted or translations
            bleu = sacrebleu.corpus_bleu(translations, [references], lowercase=True).score
            same = sum(map(str.__eq__, translations, wanted)) / len(wanted)
            print(
                f"| {name} | {size(file):.1f} | {bleu:.2f} | {same:.1%} | {found['median_ms']:.1f} "
                f"| {found['p99_ms']:.1f} | {found['first_s']:.1f} | {found['peak_mib']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        lines = Path(sys.argv[4]).read_text(encoding="utf-8").splitlines()
        print(json.dumps(run(sys.argv[2], sys.argv[3], lines)))
    else:
        main()
