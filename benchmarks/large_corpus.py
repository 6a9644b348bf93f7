"""Training on a corpus of any size: time to the first step, peak memory and speed.

    python benchmarks/large_corpus.py WORK --pairs 20000000

Writes a corpus of random words to `WORK`, trains a small model on all of it as a stream and on its
first pairs from memory, each in a process of its own, and prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

SIDES = ("de", "en")


def write_corpus(folder: Path, pairs: int) -> None:
    """Sentences of 3 to 40 words with about 85 bytes on average, by Zipf's law."""
    generator = random.Random(0)
    letters = "eeeeennnniiisssrrraaatttddhhuullccggmmoobbwwffkzpvüäöß"
    words = ["".join(generator.choices(letters, k=generator.randint(2, 11))) for _ in range(30_000)]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    texts = []
    for _ in range(100_000):
        length = min(40, 2 + int(generator.lognormvariate(1.9, 0.6)))
        texts.append(" ".join(generator.choices(words, cum_weights=weights, k=length)))
    files = [(folder / f"train.{side}").open("w", encoding="utf-8") for side in SIDES]
    for number in range(0, pairs, 1000):
        count = min(1000, pairs - number)
        for file in files:
            # The last word makes pairs differ.
            drawn = zip(
                generator.choices(texts, k=count), generator.choices(words, k=count), strict=True
            )
            file.write("".join(f"{text} {word}\n" for text, word in drawn))
    for file in files:
        file.close()


def peak_mebibytes() -> float:
    """Largest resident set of this process so far, as the kernel counts it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Trains in this process."""
    begin = time.perf_counter()
    import keras

    from keras_attn_nmt import ModelConfig, Tokenizer, build_model
    from keras_attn_nmt.layers.losses import MaskedCrossentropy
    from keras_attn_nmt.layers.optimizer import FusedAdam
    from keras_attn_nmt.training.callbacks import KeepFreedMemory
    from keras_attn_nmt.training.data import BatchedPairs
    from keras_attn_nmt.training.large_corpora import open_line_files
    from keras_attn_nmt.training.streamed_pairs import StreamedPairs

    corpus = open_line_files(*(options.work / f"train.{side}" for side in SIDES))
    if options.measured == "memory":
        corpus = corpus.first(options.small)
    marks = {"indexed": time.perf_counter() - begin}
    learned_on = corpus.sample(options.sample).dataset().batch(1024).as_numpy_iterator()
    sides: tuple[list[str], list[str]] = ([], [])
    for chunk in learned_on:
        for side, texts in zip(sides, chunk, strict=True):
            side += [text.decode() for text in texts]
    tokenizers = [Tokenizer.learn(side, options.vocabulary) for side in sides]
    del sides
    marks["vocabularies"] = time.perf_counter() - begin
    settings = {"tokens_per_batch": 4096, "max_length": 60}
    if options.measured == "memory":
        data = BatchedPairs(corpus.dataset(), *tokenizers, **settings)
    else:
        data = StreamedPairs(
            corpus, *tokenizers, sample=options.sample, steps_per_epoch=options.steps, **settings
        )
    marks["planned"] = time.perf_counter() - begin
    model = build_model(
        ModelConfig(
            *(each.vocabulary_size for each in tokenizers),
            **{f"{part}_units": options.units for part in ("embedding", "encoder", "decoder")},
            attention_units=options.units,
        )
    )
    model.compile(FusedAdam(1e-3), {"logits": MaskedCrossentropy()})

    class Marks(keras.callbacks.Callback):
        """Times of the first step, and of those after the first tenth."""

        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            now = time.perf_counter()
            if batch == 0:
                marks["first step"] = now - begin
            if batch == options.steps // 10:
                self.warm = now
            marks["seconds"] = now - getattr(self, "warm", now)

    model.fit(
        data.epochs(1, seed=1).take(options.steps),
        steps_per_epoch=options.steps,
        callbacks=[KeepFreedMemory(), Marks()],
        verbose=0,
    )
    steps = options.steps - 1 - options.steps // 10
    tokens = data.plan.target_tokens / data.plan.steps_per_epoch * steps
    return {
        **marks,
        "pairs": corpus.pairs,
        "tokens/s": tokens / marks["seconds"],
        "peak MiB": peak_mebibytes(),
    }


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--pairs", type=int, default=20_000_000)
    parser.add_argument("--small", type=int, default=200_000, help="pairs from memory (200,000)")
    parser.add_argument("--sample", type=int, default=500_000)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--units", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--measured", choices=("memory", "stream"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if options.measured:
        print(json.dumps(measure(options)))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    size = options.work / "pairs"
    if not size.exists() or size.read_text() != str(options.pairs):
        write_corpus(options.work, options.pairs)
        size.write_text(str(options.pairs))
    columns = ("pairs", "indexed", "vocabularies", "planned", "first step", "tokens/s", "peak MiB")
    print(f"| corpus | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}", flush=True)
    for measured in ("memory", "stream"):
        done = subprocess.run(
            [sys.executable, __file__, *sys.argv[1:], "--measured", measured],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        cells = " | ".join(f"{found[column]:,.0f}" for column in columns)
        print(f"| {measured} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
