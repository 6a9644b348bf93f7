#!/usr/bin/env bash
# grain 0.2.18 (0.2.17 does so, too, 0.2.15 is right) with numpy 2.4.6, Python 3.11, x86-64.
#
# Behaviour: RepeatIterDataset over InterleaveIterDataset gives each element once in its first two
# epochs. From the third on, shards with which an epoch begins are missing and later ones come
# twice, without an error. Nothing is interrupted or restored. A cycle of all shards is right.
# (InterleaveDatasetIterator.set_state, by which an epoch begins, takes over the list of open
# shards from the state that RepeatIterDataset keeps, without a copy: reading the second epoch
# changes it.)
#
# Output seen (4 shards of 2 elements, 4 epochs; 0.2.15 has the first epoch four times):
#   cycle of 1: 0 1 10 11 20 21 30 31
#   cycle of 1: 0 1 10 11 20 21 30 31
#   cycle of 1: 30 31 10 11 20 21 30 31
#   cycle of 1: 30 31 10 11 20 21 30 31
#   cycle of 2: 0 10 1 11 20 30 21 31
#   cycle of 2: 0 10 1 11 20 30 21 31
#   cycle of 2: 20 30 21 31 20 30 21 31
#   cycle of 2: 20 30 21 31 20 30 21 31
#   cycle of 4: 0 10 20 30 1 11 21 31 (four times)
#
# The guess before: all epochs are the same ("Each epoch will be identical", RepeatIterDataset).
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > epochs.py <<'PYTHON'
import sys

import grain

version = sys.argv[1]
wrong = False
for cycle_length in (1, 2, 4):
    shards = [grain.MapDataset.range(10 * i, 10 * i + 2).to_iter_dataset() for i in range(4)]
    dataset = grain.experimental.InterleaveIterDataset(shards, cycle_length=cycle_length)
    read = list(grain.experimental.RepeatIterDataset(dataset, num_epochs=4))
    epochs = [read[start : start + 8] for start in range(0, len(read), 8)]
    for epoch in epochs:
        print(version, f"cycle of {cycle_length}:", *epoch)
    right = version == "0.2.15" or cycle_length == 4
    wrong |= [sorted(epoch) == sorted(dataset) for epoch in epochs] != [True, True, right, right]
sys.exit(wrong)
PYTHON
for version in 0.2.15 0.2.18; do
    python3 -m venv $version
    $version/bin/pip install --quiet --disable-pip-version-check grain==$version numpy==2.4.6
    # grain writes "Exception ignored in __del__" when the program ends.
    $version/bin/python epochs.py $version 2>/dev/null
done
