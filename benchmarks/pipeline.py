"""Target tokens a second that the input pipeline delivers from memory and from text.

    python benchmarks/pipeline.py CORPUS WORK

Multi30k de-en with the vocabulary of the other benchmarks, batches of 64 sentences. `CORPUS` holds
its files (`train.de.gz`, ...). Compare with the tokens that a training takes (`training.py`).
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import data

REPEATS = 5


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    data.prepare(options.corpus, options.work)

    from keras_attn_nmt import Tokenizer
    from keras_attn_nmt.training.corpora import read_lines
    from keras_attn_nmt.training.data import BatchedPairs

    tokenizer = Tokenizer.load(options.work / "joint.model")
    pairs = read_lines(options.corpus / "train.de.gz", options.corpus / "train.en.gz")
    print("| input pipeline | target tokens/s | padding |\n|---|---|---|")
    for name, cache in (("tokenized once, then from memory", True), ("tokenized anew", False)):
        batched = BatchedPairs(pairs, tokenizer, tokenizer, sentences_per_batch=64, cache=cache)
        rates = []
        for seed in range(REPEATS + 1):
            begin = time.perf_counter()
            for _ in batched.shuffled(seed=seed):
                pass
            rates.append(batched.plan.target_tokens / (time.perf_counter() - begin))
        # The first epoch fills the cache.
        print(f"| {name} | {statistics.median(rates[1:]):,.0f} | {batched.plan.padding:.1%} |")


if __name__ == "__main__":
    main()
