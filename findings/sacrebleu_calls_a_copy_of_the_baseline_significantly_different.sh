#!/usr/bin/env bash
# sacrebleu 2.6.0 with numpy 2.4.6, Python 3.11.
#
# Behaviour: both paired tests call a system whose output is that of the baseline, byte for byte,
# significantly different from it, with the smallest p-value there is (1 / (samples + 1)).
# Approximate randomization does so, too, for a system with a single better sentence. sacrebleu counts
# the trials with a larger difference than that of the systems (">"), although its output defines p
# as the probability of "the absolute score difference (delta) or higher". (A comment in its source
# wants this for "the same system against itself"; the README does not say so.)
#
# Output seen (10 sentences; exact: share of all swaps with at least that difference of BLEU):
#   sentences that differ  --paired-ar  --paired-bs  exact
#   0                      0.0001*      0.0010*      1.0000
#   1                      0.0001*      0.2567       1.0000
#   2                      0.0001*      0.0330*      0.5000
#   4                      0.0001*      0.0040*      0.1250
#
# The guess before: p is 1 for a copy, and no test finds a significant difference in one sentence.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check sacrebleu==2.6.0 numpy==2.4.6
cd "$folder"
unset SACREBLEU_SEED SACREBLEU_FORMAT
cat > program.py <<'PYTHON'
import itertools
import json
import subprocess
import sys

from sacrebleu.metrics import BLEU

names = "dog cat bird horse child teacher farmer sailor doctor baker".split()
references = [f"the {name} sees a small house near the old river" for name in names]
baseline = [line.replace("small", "large") for line in references]
counts = (0, 1, 2, 4)
systems = [references[:count] + baseline[count:] for count in counts]


def written(name, lines):
    with open(name, "w") as file:
        file.writelines(f"{line}\n" for line in lines)
    return name


def p_values(test):
    files = [written(f"{count}", system) for count, system in zip(counts, systems)]
    command = [f"{sys.prefix}/bin/sacrebleu", written("references", references), "-m", "bleu"]
    command += ["-f", "json", f"--paired-{test}", "-i", written("baseline", baseline), *files]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [result["BLEU"]["p_value"] for result in json.loads(output)[1:]]


def difference(first, second):
    scores = [BLEU().corpus_score(lines, [references]).score for lines in (first, second)]
    return abs(scores[0] - scores[1])


def exact(count, system):
    observed, found = difference(baseline, system), []
    for swap in itertools.product((False, True), repeat=count):
        pairs = [(b, a) if s else (a, b) for s, a, b in zip(swap, baseline, system)]
        pairs += list(zip(baseline[count:], system[count:]))
        found.append(difference(*zip(*pairs)) >= observed - 1e-9)
    return sum(found) / len(found)


def shown(p):
    return f"{p:.4f}" + "*" * (p < 0.05)


table = list(zip(counts, p_values("ar"), p_values("bs"), map(exact, counts, systems)))
print("sentences that differ  --paired-ar  --paired-bs  exact")
for count, *found in table:
    print(f"{count:<21}  {shown(found[0]):11}  {shown(found[1]):11}  {shown(found[2])}")
_, ar, bs, wanted = zip(*table)
raise SystemExit(not (max(ar) < 0.001 and bs[0] < 0.01 and min(wanted) > 0.1))
PYTHON
venv/bin/python program.py
