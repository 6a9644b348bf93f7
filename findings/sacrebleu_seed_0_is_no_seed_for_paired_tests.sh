#!/usr/bin/env bash
# sacrebleu 2.6.0 with numpy 2.4.6, Python 3.11.
#
# Behaviour: with SACREBLEU_SEED=0, each run of a paired test draws other samples, as with
# SACREBLEU_SEED=None, while its signature says `seed:0`. Any other integer fixes the samples, and 0
# does so for the confidence interval of the baseline, in the same output.
#
# Output seen (different results of eight runs of --paired-bs with BLEU):
#   seed  baseline's mean  system's mean  signature
#   0     1                8              seed:0
#   1     1                1              seed:1
#
# The guess before: 0 is an integer like any other (the README: "export the environment variable
# `SACREBLEU_SEED` to an integer"), and two runs with the same signature have the same p-values.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sacrebleu==2.6.0 numpy==2.4.6
cd "$folder"
cat > program.py <<'PYTHON'
import os
import random

from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

generator = random.Random(1)
names = "dog cat bird horse child teacher farmer sailor doctor baker".split()
references = [f"the {generator.choice(names)} sees the {name} near the river" for name in names]


def translated():
    return [line.replace("sees", generator.choice(["sees", "saw"])) for line in references]


systems = [("baseline", translated()), ("system", translated())]
print("seed  baseline's mean  system's mean  signature")
found = []
for seed in "01":
    os.environ["SACREBLEU_SEED"] = seed
    means = []
    for _ in range(8):
        test = PairedTest(systems, {"BLEU": BLEU()}, [references], "bs")
        signatures, scores = test()
        means.append([float(result.mean) for result in scores["BLEU"]])
    baseline, system = (len(set(each)) for each in zip(*means))
    signature = next(p for p in str(signatures["BLEU"]).split("|") if p.startswith("seed:"))
    print(f"{seed:4}  {baseline:<15}  {system:<13}  {signature}")
    found.append((baseline, system, signature))
zero, one = found
raise SystemExit(zero[::2] != (1, "seed:0") or zero[1] == 1 or one != (1, 1, "seed:1"))
PYTHON
venv/bin/python program.py
