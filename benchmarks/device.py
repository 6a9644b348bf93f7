"""int8 `.tflite` files on a computer: many sentences, one sentence, beam search, jobs, start.

    python benchmarks/device.py MODEL SOURCE REFERENCE --before BEFORE.tflite

The model directory is exported to a SavedModel (greedy) and to an int8 `.tflite` file with
`--bulk`, and to one with its shortlist, if it has one; `--before` is a file of an earlier build.
Each row runs in a process of its own, bound to one core, in CPU seconds (two where it says so, in
elapsed ones), rows alternating, `--rounds` times: medians. `start` is the whole command for one
line, in CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ONE_BY_ONE = 200


def saved_model(path: str) -> Callable[[list[str]], list[str]]:
    """64 sentences of similar length at once."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]

    def translate(texts: list[str]) -> list[str]:
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        found = [""] * len(texts)
        for start in range(0, len(order), 64):
            batch = order[start : start + 64]
            answer = signature(text=tf.constant([texts[index] for index in batch]))
            for index, text in zip(batch, answer["translation"].numpy(), strict=True):
                found[index] = text.decode()
        return found

    translate.loaded = loaded
    return translate


def device(path: str, beam_size: int, at_once: int, jobs: int) -> Callable[[list[str]], list[str]]:
    from keras_attn_nmt.export.runner import TFLiteTranslator

    runner = TFLiteTranslator(path, jobs=jobs)

    def translate(texts: list[str]) -> list[str]:
        found = []
        for start in range(0, len(texts), at_once):
            batch = texts[start : start + at_once]
            found += [each.text for each in runner(batch, beam_size=beam_size)]
        return found

    return translate


def run(row: dict, texts: list[str]) -> dict:
    """Measures one row in this process."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-row.get("jobs", 1) :])
    if row["kind"] == "SavedModel":
        translate = saved_model(row["path"])
    else:
        options = row["beam_size"], row["at_once"], row.get("jobs", 1)
        translate = device(row["path"], *options)
    translate(texts)  # Traces, packs the weights.
    clock = time.perf_counter if row.get("jobs", 1) > 1 else time.process_time
    start = clock()
    found = translate(texts)
    return {"seconds": (clock() - start) / len(texts), "translations": found}


def start_of(path: str, text: str) -> dict:
    """CPU seconds and memory of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program = "from keras_attn_nmt.cli import main; import sys; sys.exit(main())"
    command = [sys.executable, "-c", program, "translate", path, "--beam-size", "1"]
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": spent, "mib": after.ru_maxrss / 1024}


def own_process(function: str, *arguments: object) -> dict:
    """Calls a function of this file in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--run", function],
        input=json.dumps(arguments),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Exports, measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("source")
    parser.add_argument("reference")
    parser.add_argument("--before", help="a .tflite file of an earlier build")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    import sacrebleu

    from keras_attn_nmt.export import export_saved_model, export_tflite
    from keras_attn_nmt.model_directory import SHORTLIST

    texts = Path(options.source).read_text(encoding="utf-8").splitlines()
    references = Path(options.reference).read_text(encoding="utf-8").splitlines()
    few = texts[:ONE_BY_ONE]
    with tempfile.TemporaryDirectory() as folder:
        served = str(export_saved_model(options.model, Path(folder, "served"), beam_size=1))
        file = Path(folder, "new.tflite")
        new = str(export_tflite(options.model, file, quantize="int8", beam_size=5, bulk=True))
        files = {"": new} | ({", before": options.before} if options.before else {})
        if Path(options.model, SHORTLIST).exists():
            file, known = Path(folder, "shortlist.tflite"), {"beam_size": 5, "shortlist": True}
            path = export_tflite(options.model, file, quantize="int8", **known)
            files[", shortlist"] = str(path)
        rows = {"SavedModel, 64 at once": ({"kind": "SavedModel", "path": served}, texts)}
        many = {"kind": "device", "path": new, "beam_size": 1, "at_once": len(texts)}
        rows["int8, bulk"] = (many, texts)
        rows["int8, bulk, 2 jobs on two cores"] = ({**many, "jobs": 2}, texts)
        for name, path in files.items():
            one = {"kind": "device", "path": path, "at_once": 1}
            rows[f"int8, one by one{name}"] = ({**one, "beam_size": 1}, few)
            rows[f"int8, one by one, beam 5{name}"] = ({**one, "beam_size": 5}, few)
        found: dict[str, list[dict]] = {name: [] for name in rows}
        starts: dict[str, list[dict]] = {"int8 file": [], "model directory": []}
        for _ in range(options.rounds):
            for name, row in rows.items():
                found[name].append(own_process("run", *row))
            for name, path in (("int8 file", new), ("model directory", options.model)):
                starts[name].append(own_process("start_of", path, f"{texts[0]}\n"))
    print("| | sentences/s | ms | least to most ms | BLEU |\n|---|---|---|---|---|")
    for name, runs in found.items():
        seconds = [each["seconds"] for each in runs]
        middle = statistics.median(seconds)
        hypotheses = runs[0]["translations"]
        bleu = sacrebleu.corpus_bleu(hypotheses, [references[: len(hypotheses)]], lowercase=True)
        print(
            f"| {name} | {1 / middle:.0f} | {1000 * middle:.2f} | {1000 * min(seconds):.2f} to "
            f"{1000 * max(seconds):.2f} | {bleu.score:.2f} |"
        )
    print("\n| start of `translate` | CPU s | MiB |\n|---|---|---|")
    for name, runs in starts.items():
        spent = statistics.median(each["seconds"] for each in runs)
        print(f"| {name} | {spent:.2f} | {max(each['mib'] for each in runs):.0f} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(globals()[sys.argv[2]](*json.load(sys.stdin))))
    else:
        main()
