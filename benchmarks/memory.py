"""Peak memory of one training step of the paper's model, by the lengths of its sentences.

    python benchmarks/memory.py

Bahdanau et al. 2015, appendix A.2.3: embeddings of 620, states of 1,000, a hidden layer of
attention of 1,000, maxout layer of 500, 30,000 words. That hidden layer, kept for all positions, is
the largest tensor by far: target x source x units; here it is computed again in the backward pass.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys

BATCH, UNITS = 16, 1000
LENGTHS = (10, 50, 100, 200)


def step(length: int) -> dict[str, float]:
    """Peak memory of two training steps on one batch; in a process of its own."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np

    from keras_attn_nmt import MaskedCrossentropy, ModelConfig, build_model

    keras.utils.set_random_seed(1)
    config = ModelConfig(
        30_000,
        30_000,
        embedding_units=620,
        encoder_units=UNITS,
        decoder_units=UNITS,
        attention_units=UNITS,
        readout="maxout",
        readout_units=500,
        tie_target_embeddings=False,
        layer_normalization=False,
        reset_after=False,
        initializer="paper",
    )
    model = build_model(config)
    model.compile("sgd", loss={"logits": MaskedCrossentropy()})
    ids = np.random.default_rng(1).integers(4, 30_000, (BATCH, length + 1)).astype("int32")
    inputs, labels = {"source": ids[:, 1:], "target": ids[:, :-1]}, {"logits": ids[:, 1:]}
    for _ in range(2):
        model.train_on_batch(inputs, labels)
    return {"length": length, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(options.step)))
        return
    print(
        f"| paper's model, {BATCH} sentences of | peak MiB | logits, MiB "
        "| hidden layer of attention, MiB, if kept |"
    )
    print("|---|---|---|---|")
    for length in LENGTHS:
        done = subprocess.run(
            [sys.executable, __file__, "--step", str(length)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        peak = json.loads(done.stdout.splitlines()[-1])["peak_mib"]
        logits, hidden = (BATCH * length * each * 4 / 2**20 for each in (30_000, length * UNITS))
        print(f"| {length} and {length} tokens | {peak:,.0f} | {logits:,.0f} | {hidden:,.0f} |")


if __name__ == "__main__":
    main()
