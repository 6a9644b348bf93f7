"""SavedModels as served: many sentences at once on one core, greedy and with a beam, and memory.

    python benchmarks/serving_speed.py MODEL SOURCE --before GREEDY BEAM

The model directory is exported greedy and with a beam of 5; `--before` are SavedModels of an
earlier build with the same options. Each row is a process of its own, bound to one core, which
translates the sentences sorted by length, 64 at once, in a Session. Rows alternate,
`--rounds` times: medians of CPU seconds. MiB are the resident memory of the process beyond that of
TensorFlow and TF Text alone.
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
from pathlib import Path

AT_ONCE = 64


def run(path: str, texts: list[str]) -> dict:
    """Measures one SavedModel in this process."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
    alone = resident()
    v1 = tf.compat.v1
    one_thread = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    texts = sorted(texts, key=len)
    with v1.Session(graph=tf.Graph(), config=one_thread) as session:
        loaded = v1.saved_model.load(session, [tf.saved_model.SERVING], path)
        signature = loaded.signature_def["serving_default"]
        fetches = {name: info.name for name, info in signature.outputs.items()}

        def translate() -> list[str]:
            found = []
            for start in range(0, len(texts), AT_ONCE):
                feeds = {signature.inputs["text"].name: texts[start : start + AT_ONCE]}
                answers = session.run(fetches, feeds)
                found += [text.decode() for text in answers["translation"]]
            return found

        translate()  # Optimises the graph.
        start = time.process_time()
        found = translate()
        seconds = time.process_time() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "seconds": seconds,
            "translations": found,
            "settled": resident() - alone,
            "peak": peak - alone,
        }


def resident() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def own_process(path: str, texts: list[str]) -> dict:
    """Calls `run` in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--run"],
        input=json.dumps([path, texts]),
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
    parser.add_argument("--before", nargs=2, metavar=("GREEDY", "BEAM"), help="of an earlier build")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    from keras_attn_nmt.export import export_saved_model

    texts = Path(options.source).read_text(encoding="utf-8").splitlines()
    with tempfile.TemporaryDirectory() as folder:
        rows: dict[str, str] = {}
        for place, (name, beam_size) in enumerate((("greedy", 1), ("beam 5", 5))):
            if options.before:
                rows[f"{name}, before"] = options.before[place]
            output = Path(folder, name)
            rows[name] = str(export_saved_model(options.model, output, beam_size=beam_size))
        found: dict[str, list[dict]] = {name: [] for name in rows}
        for _ in range(options.rounds):
            for name, path in rows.items():
                found[name].append(own_process(path, texts))
    print("| 64 at once, one core | sentences/s | CPU s | least to most | MiB settled | MiB peak |")
    print("|---|---|---|---|---|---|")
    for name, runs in found.items():
        seconds = [each["seconds"] for each in runs]
        middle = statistics.median(seconds)
        settled, peak = (max(each[kind] for each in runs) for kind in ("settled", "peak"))
        print(
            f"| {name} | {len(texts) / middle:.0f} | {middle:.2f} | {min(seconds):.2f} to "
            f"{max(seconds):.2f} | {settled:.0f} | {peak:.0f} |"
        )
    for name, runs in found.items():
        if before := found.get(f"{name}, before"):
            pairs = zip(runs[0]["translations"], before[0]["translations"], strict=True)
            same = statistics.mean(now == old for now, old in pairs)
            print(f"\n{name}: {100 * same:.1f} % of the translations are those before.")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(run(*json.load(sys.stdin))))
    else:
        main()
