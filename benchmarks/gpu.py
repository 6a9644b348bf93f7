"""Everything that is measured on an accelerator, in one call, without TensorFlow.

    KERAS_BACKEND=jax python benchmarks/gpu.py [--json FILE] [--small]

Needs keras, JAX and NumPy; with PyTorch installed, its loop of the same model is measured beside.
Sizes are those of `keras_systems.py`, on random ids without padding. `--small` shows on any machine
that the script runs; its figures mean nothing. A step of one sentence does the same launches as
one of many, so that its share of their time bounds what launches cost.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import keras
import numpy as np
from keras_systems import DROPOUT, EMBEDDING, SMOOTHING, UNITS, our_config

from keras_attn_nmt import MaskedCrossentropy, build_model
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search import search
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import EOS

VOCABULARY = 8000
POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
REPEATS = 20


def median_seconds(step: Callable[[], Any], repeats: int) -> float:
    """Median time of a call that waits for its result, after three that warm up."""
    seconds = []
    for _ in range(repeats + 3):
        begin = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[3:])


def batch_of(sentences: int, length: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random ids, as `model.fit` takes them."""
    ids = np.random.default_rng(1).integers(4, VOCABULARY, (sentences, length + 1)).astype("int32")
    return {"source": ids[:, 1:], "target": ids[:, :-1]}, {"logits": ids[:, 1:]}


def ours(policy: str, sentences: int, length: int, repeats: int) -> float:
    """Seconds of a training step, as `model.fit` takes it."""
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    model = build_model(our_config(VOCABULARY))
    optimizer = keras.optimizers.Adam(1e-3, global_clipnorm=1.0)
    model.compile(optimizer, loss={"logits": MaskedCrossentropy(SMOOTHING)})
    keras.config.set_dtype_policy("float32")
    inputs, labels = batch_of(sentences, length)
    # Gives the loss as a number, so that every step is waited for.
    return median_seconds(lambda: model.train_on_batch(inputs, labels), repeats)


def torch_loop(half: bool, sentences: int, length: int, repeats: int) -> float:
    """Seconds of a training step of the same model as most people write it in PyTorch."""
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "cpu"

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.source = nn.Embedding(VOCABULARY, EMBEDDING)
            self.target = nn.Embedding(VOCABULARY, EMBEDDING)
            self.encoder = nn.GRU(EMBEDDING, UNITS, bidirectional=True, batch_first=True)
            self.initial = nn.Linear(UNITS, UNITS)
            self.cell = nn.GRUCell(EMBEDDING + 2 * UNITS, UNITS)
            self.query = nn.Linear(UNITS, UNITS, bias=False)
            self.key = nn.Linear(2 * UNITS, UNITS, bias=False)
            self.score = nn.Linear(UNITS, 1, bias=False)
            self.norms = nn.ModuleList(nn.LayerNorm(n) for n in (UNITS, UNITS, EMBEDDING))
            self.readout = nn.Linear(3 * UNITS + EMBEDDING, EMBEDDING)
            self.output = nn.Linear(EMBEDDING, VOCABULARY)
            self.output.weight = self.target.weight
            self.dropout = nn.Dropout(DROPOUT)

        def forward(self, source: Any, target: Any) -> Any:
            annotations, last = self.encoder(self.dropout(self.source(source)))
            annotations = self.dropout(annotations)
            keys = self.norms[1](self.key(annotations))
            state = torch.tanh(self.initial(last[1]))
            embedded = self.dropout(self.target(target))
            features = []
            for position in range(target.shape[1]):
                query = self.norms[0](self.query(state))
                energies = self.score(torch.tanh(query[:, None] + keys))[..., 0]
                weights = torch.softmax(energies.float(), -1).to(annotations.dtype)
                context = torch.bmm(weights[:, None], annotations)[:, 0]
                state = self.cell(torch.cat([embedded[:, position], context], -1), state)
                features.append(torch.cat([state, embedded[:, position], context], -1))
            read = torch.tanh(self.norms[2](self.readout(torch.stack(features, 1))))
            return self.output(self.dropout(read))

    torch.manual_seed(1)
    # As JAX does on such a device by default.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    model = Model().to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    criterion = nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    inputs, labels = batch_of(sentences, length)
    source, target = (torch.tensor(inputs[name]).long().to(device) for name in inputs)
    wanted = torch.tensor(labels["logits"]).long().to(device)

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            logits = model(source, target)
            loss = criterion(logits.flatten(0, 1), wanted.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return median_seconds(step, repeats)


def searching(sentences: int, beam: int, length: int, repeats: int) -> float:
    """Seconds of a search with attention that takes `length` steps for every sentence."""
    model = build_model(our_config(VOCABULARY))
    output = model.get_layer("target_embedding")
    output.bias.assign(np.where(np.arange(VOCABULARY) == EOS, -1e4, output.bias))
    decoder = IncrementalDecoder(model)
    source = batch_of(sentences, length)[0]["source"]
    run = jax.jit(lambda ids: search(decoder, ids, SearchOptions(beam, 0.0, length)))
    return median_seconds(lambda: jax.block_until_ready(run(source)), repeats)


def main() -> None:
    """Measures all, prints tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    try:
        import torch
    except ImportError:
        torch = None
    device = jax.devices()[0]
    repeats = 1 if options.small else REPEATS
    shapes = [(4, 5)] if options.small else [(64, 16), (64, 32), (512, 16), (512, 32)]
    versions = {"jax": jax.__version__, "keras": keras.__version__}
    if torch is not None:
        versions["torch"] = torch.__version__
    print(f"Device: {device.device_kind}; {versions}\n")
    systems: dict[str, Callable[[int, int], float]] = {
        f"ours, {policy}": lambda n, length, policy=policy: ours(policy, n, length, repeats)
        for policy in POLICIES
    }
    if torch is not None:
        for half in (False, True):
            systems[f"PyTorch loop, {'bfloat16' if half else 'float32'}"] = (
                lambda n, length, half=half: torch_loop(half, n, length, repeats)
            )
    rows = []
    print("| training | sentences x tokens | target tokens/s | ms | share of one sentence's step |")
    print("|---|---|---|---|---|")
    for name, run in systems.items():
        for sentences, length in shapes:
            try:
                seconds, alone = run(sentences, length), run(1, length)
            except Exception as error:  # One system that fails leaves the others their figures.
                print(f"{name}: {type(error).__name__}: {error}"[:500], file=sys.stderr)
                print(f"| {name} | {sentences} x {length} | did not run | | |", flush=True)
                continue
            rate = sentences * length / seconds
            rows.append({"system": name, "shape": [sentences, length], "seconds": seconds})
            print(
                f"| {name} | {sentences} x {length} | {rate:,.0f} | {1000 * seconds:.1f} "
                f"| {alone / seconds:.0%} |",
                flush=True,
            )
    print("\n| search with attention | sentences | ms | sentences/s |\n|---|---|---|---|")
    for beam in (1, 5):
        for sentences in (1, shapes[0][0]):
            seconds = searching(sentences, beam, shapes[0][1], repeats)
            rows.append({"system": f"beam {beam}", "shape": [sentences], "seconds": seconds})
            print(
                f"| beam {beam}, {shapes[0][1]} steps | {sentences} | {1000 * seconds:.1f} "
                f"| {sentences / seconds:,.0f} |",
                flush=True,
            )
    if options.json:
        report = {"device": device.device_kind, "versions": versions, "rows": rows}
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
