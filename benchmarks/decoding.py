"""Translation speed of an exported SavedModel on one core, its start, and how time grows.

    python benchmarks/decoding.py MODEL TEXTS

The model directory is exported greedy and with a beam of 5, and with its shortlist if it has one
(`keras-attn-nmt shortlist`). Batches are of texts of like length, as a client would send a file.
Growth: the same weights with an end that is never chosen, so that a translation has as many tokens
as it is allowed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPEATS = 5
LENGTHS = (50, 100, 200, 400)


def one_core() -> None:
    """Binds this process to one core, TensorFlow included."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def has_shortlist(model: str) -> bool:
    """Whether a model directory has one."""
    from keras_attn_nmt.model_directory import SHORTLIST

    return Path(model, SHORTLIST).exists()


def median_seconds(function: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call, after one that warms up."""
    function()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


def speed(path: str, texts: list[str]) -> dict:
    """Speed of a SavedModel; in the process that is measured."""
    one_core()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401

    begin = time.perf_counter()
    signature = tf.saved_model.load(path).signatures["serving_default"]
    loaded = time.perf_counter() - begin
    signature(text=tf.constant(texts[:1]))
    first = time.perf_counter() - begin
    found = {"load_s": loaded, "first_s": first}
    ranked = sorted(texts, key=len)
    for size, sample in ((64, ranked), (1, texts[:200])):
        batches = [sample[start : start + size] for start in range(0, len(sample), size)]
        seconds = []
        for batch in batches * 2:
            begin = time.perf_counter()
            signature(text=tf.constant(batch))
            seconds.append(time.perf_counter() - begin)
        seconds = seconds[len(batches) :]  # The first round warms up.
        found[f"sentences_per_second_{size}"] = len(sample) / sum(seconds)
        found[f"median_ms_{size}"] = 1000 * statistics.median(seconds)
        found[f"p99_ms_{size}"] = 1000 * statistics.quantiles(seconds, n=100)[98]
    return found


def growth(model: str) -> None:
    """Prints how the time of a greedy search grows with both lengths."""
    one_core()
    import tensorflow as tf

    from keras_attn_nmt import model_directory
    from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
    from keras_attn_nmt.decoding.search import search
    from keras_attn_nmt.decoding.search_options import SearchOptions
    from keras_attn_nmt.text.special_ids import EOS

    loaded = model_directory.load_model(model).model
    output = loaded.get_layer("target_embedding")
    output.bias.assign(np.where(np.arange(output.input_dim) == EOS, -1e9, output.bias))
    decoder = IncrementalDecoder(loaded)

    def seconds(source_length: int, target_length: int) -> float:
        ids = np.random.default_rng(1).integers(4, 1000, (1, source_length)).astype("int32")
        options = SearchOptions(1, 0.0, target_length)
        run = tf.function(lambda source: search(decoder, source, options).tokens)
        assert np.count_nonzero(run(ids)) == target_length
        return median_seconds(lambda: run(ids))

    print("| source | target | ms | ms a target token |\n|---|---|---|---|")
    pairs = [(200, each) for each in LENGTHS] + [(each, 90) for each in LENGTHS]
    for source_length, target_length in pairs:
        ms = 1000 * seconds(source_length, target_length)
        print(f"| {source_length} | {target_length} | {ms:.1f} | {ms / target_length:.3f} |")


def main() -> None:
    """Exports, measures, prints tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("texts")
    options = parser.parse_args()

    from keras_attn_nmt.export import export_saved_model

    print("| SavedModel, one core | sentences/s, 64 | ms, 1 | p99 ms, 1 | load s | first s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        whole, short = [(1, False), (5, False)], [(1, True), (5, True)]
        for beam_size, shortlist in whole + (short if has_shortlist(options.model) else []):
            path = export_saved_model(
                options.model, Path(folder, "served"), beam_size=beam_size, shortlist=shortlist
            )
            found = json.loads(_run("--speed", str(path), options.texts).splitlines()[-1])
            name = f"beam {beam_size}{', shortlist' if shortlist else ''}"
            print(
                f"| {name} | {found['sentences_per_second_64']:.0f} "
                f"| {found['median_ms_1']:.1f} | {found['p99_ms_1']:.1f} "
                f"| {found['load_s']:.1f} | {found['first_s']:.1f} |"
            )
    print()
    print(_run("--growth", options.model))


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    if sys.argv[1:2] == ["--speed"]:
        lines = Path(sys.argv[3]).read_text(encoding="utf-8").splitlines()
        print(json.dumps(speed(sys.argv[2], lines)))
    elif sys.argv[1:2] == ["--growth"]:
        growth(sys.argv[2])
    else:
        main()
