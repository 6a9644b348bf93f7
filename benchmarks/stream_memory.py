"""Does a corpus of any size stream through in flat memory?

    python benchmarks/stream_memory.py --pairs 5000000

Generates phrases, tokenizes and batches them without a cache, twice over as a training does
(counting, then an epoch), and prints the peak memory of the process on the way.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import sys
import time

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.corpora import from_pairs
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.datasets.phrasebook import Phrasebook


def peak_mebibytes() -> float:
    """Largest resident set of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5_000_000)
    parser.add_argument("--source-language", default="de")
    parser.add_argument("--target-language", default="en")
    parser.add_argument("--vocabulary-size", type=int, default=2000)
    parser.add_argument("--learn-from", type=int, default=50_000, help="pairs for the vocabulary")
    parser.add_argument("--tokens-per-batch", type=int, default=4096)
    parser.add_argument("--shuffle-buffer", type=int, default=200_000)
    arguments = parser.parse_args()

    book = Phrasebook(arguments.source_language, arguments.target_language)
    sample = itertools.chain.from_iterable(book.pairs("train", arguments.learn_from))
    tokenizer = Tokenizer.learn(sample, arguments.vocabulary_size)
    print(f"peak memory before: {peak_mebibytes():,.0f} MiB", flush=True)

    started = time.perf_counter()
    batched = BatchedPairs(
        from_pairs(lambda: book.pairs("train", arguments.pairs), arguments.pairs),
        tokenizer,
        tokenizer,
        tokens_per_batch=arguments.tokens_per_batch,
        shuffle_buffer=arguments.shuffle_buffer,
        cache=False,
    )
    plan = batched.plan
    print(
        f"counted {plan.pairs_read:,} pairs in {time.perf_counter() - started:,.0f} s: "
        f"{plan.padding:.1%} padding, {len(plan.buckets)} shapes, "
        f"{plan.steps_per_epoch:,} batches; "
        f"peak memory {peak_mebibytes():,.0f} MiB",
        flush=True,
    )

    marks = {max(plan.steps_per_epoch * percent // 100, 1): percent for percent in (10, 50, 100)}
    peaks = {}
    started = time.perf_counter()
    for step, _ in enumerate(batched.shuffled(), start=1):
        if step in marks:
            peaks[marks[step]] = peak_mebibytes()
            print(
                f"{marks[step]:3} % of an epoch: peak memory {peak_mebibytes():,.0f} MiB",
                flush=True,
            )
    seconds = time.perf_counter() - started
    print(
        f"an epoch took {seconds:,.0f} s, {plan.target_tokens / seconds:,.0f} target tokens/s; "
        f"from 10 % to 100 % the peak grew by {peaks[100] - peaks[10]:,.0f} MiB"
    )


if __name__ == "__main__":
    main()
