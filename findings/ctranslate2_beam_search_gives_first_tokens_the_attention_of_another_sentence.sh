#!/usr/bin/env bash
# ctranslate2 4.8.5 with numpy 2.4.6, Python 3.11, x86-64 (CPU).
#
# Behaviour: `translate_batch` with several sentences and a beam of size k returns, for the first
# target token of sentence i of the batch (sorted by length), the attention of sentence i // k,
# cut to its own length. Later tokens have their own attention. One sentence alone and beam_size=1
# are right. Alignments, the word that replace_unknowns copies and coverage_penalty are taken from
# these rows, so the last two translate a sentence otherwise in a batch than alone, without an
# error. (In decoding.cc, the first step repeats each row of attention k times and then gathers
# rows by the index of the sentence, not by that of its first repetition.)
#
# Output seen (16 sentences of five words: whose attention each first token has; sentences whose
# later tokens have other attention than alone; sentences with another translation than alone:
# without options, with replace_unknowns, with coverage_penalty):
#   beam 1 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 later 0 [0, 0, 0]
#   beam 2 0 0 1 1 2 2 3 3 4 4 5 5 6 6 7 7 later 0 [0, 12, 3]
#   beam 4 0 0 0 0 1 1 1 1 2 2 2 2 3 3 3 3 later 0 [0, 10, 4]
#
# The guess before: neighbours in a batch change nothing, as they change no score and no token
# without these options.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ctranslate2==4.8.5 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys

import ctranslate2
import numpy as np

WORDS = [f"w{i}" for i in range(16)]
UNITS, HEADS, LAYERS = 16, 2, 2
rng = np.random.default_rng(0)


def weights(*shape):
    return rng.normal(size=shape).astype("float32")


def fill(linear, outputs, inputs):
    linear.weight = weights(outputs, inputs) / np.float32(inputs**0.5)
    linear.bias = np.zeros(outputs, "float32")


def fill_norm(norm):
    norm.gamma, norm.beta = np.ones(UNITS, "float32"), np.zeros(UNITS, "float32")


def small_model(folder):
    """A Transformer of random weights."""
    spec = ctranslate2.specs.TransformerSpec.from_config(LAYERS, HEADS)
    vocabulary = ["<blank>", "<unk>", "<s>", "</s>", *WORDS]
    spec.encoder.embeddings[0].weight = weights(len(vocabulary), UNITS)
    spec.decoder.embeddings.weight = weights(len(vocabulary), UNITS)
    fill(spec.decoder.projection, len(vocabulary), UNITS)
    spec.decoder.projection.bias[[1, 3]] = 3  # <unk> and </s> often
    for layer in [*spec.encoder.layer, *spec.decoder.layer]:
        fill(layer.self_attention.linear[0], 3 * UNITS, UNITS)
        fill(layer.self_attention.linear[1], UNITS, UNITS)
        fill_norm(layer.self_attention.layer_norm)
        fill(layer.ffn.linear_0, UNITS, UNITS)
        fill(layer.ffn.linear_1, UNITS, UNITS)
        fill_norm(layer.ffn.layer_norm)
    for layer in spec.decoder.layer:
        for linear, outputs in zip(layer.attention.linear, (UNITS, 2 * UNITS, UNITS)):
            fill(linear, outputs, UNITS)
        fill_norm(layer.attention.layer_norm)
    fill_norm(spec.encoder.layer_norm)
    fill_norm(spec.decoder.layer_norm)
    spec.register_source_vocabulary(vocabulary)
    spec.register_target_vocabulary(vocabulary)
    spec.validate()
    spec.optimize()
    os.mkdir(folder)
    spec.save(folder)


small_model("model")
translator = ctranslate2.Translator("model", device="cpu", compute_type="float32")
sentences = [[str(each) for each in rng.permutation(WORDS)[:5]] for _ in range(16)]


def translated(beam_size, **options):
    """All sentences in one batch, and each alone."""
    options.update(beam_size=beam_size, max_decoding_length=8)
    together = translator.translate_batch(sentences, **options)
    return together, [translator.translate_batch([each], **options)[0] for each in sentences]


def differ(beam_size, **options):
    together, alone = translated(beam_size, **options)
    return sum(a.hypotheses != b.hypotheses for a, b in zip(together, alone))


def same(a, b):
    return np.allclose(a, b, atol=1e-4)


right = {}
for beam_size in (1, 2, 4):
    together, alone = translated(beam_size, return_attention=True, min_decoding_length=2)
    together, alone = ([each.attention[0] for each in both] for both in (together, alone))
    whose = [[same(a[0], b[0]) for b in alone].index(True) for a in together]
    later = sum(not same(a[1:], b[1:]) for a, b in zip(together, alone))
    counts = [differ(beam_size)]
    counts.append(differ(beam_size, replace_unknowns=True))
    counts.append(differ(beam_size, coverage_penalty=1))
    print("beam", beam_size, *whose, "later", later, counts)
    right[beam_size] = (
        whose == [i // beam_size for i in range(16)]
        and later == counts[0] == 0
        and (counts[1] > 0 and counts[2] > 0) == (beam_size > 1)
    )
sys.exit(not all(right.values()))
PYTHON
