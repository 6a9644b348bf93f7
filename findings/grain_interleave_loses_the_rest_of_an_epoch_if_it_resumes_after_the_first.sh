#!/usr/bin/env bash
# grain 0.2.18 (0.2.16 does so, too, 0.2.15 is right) with numpy 2.4.6, Python 3.11, x86-64.
#
# Behaviour: RepeatIterDataset over InterleaveIterDataset. An iterator that is set to the state of
# another one, as a checkpoint does, continues as that one does if the state is from the first
# epoch. If it is from a later epoch and from one of the shards with which the epoch begins, what
# is left of these is missing, without an error. With a cycle of all shards, this is the whole
# rest of the epoch. (InterleaveDatasetIterator.set_state, by which the next epoch begins, keeps
# the marks of exhausted shards of the epoch before, and get_state writes them into the state,
# although the shards are open.)
#
# Output seen (4 shards of 5 elements, 2 epochs of 20; elements that come after the state was
# restored, of those that are left, for states after 5, 15, 21, 25 and 35 elements):
#   0.2.15 cycle of 2: 35/35 25/25 19/19 15/15 5/5
#   0.2.15 cycle of 4: 35/35 25/25 19/19 15/15 5/5
#   0.2.18 cycle of 2: 35/35 25/25 10/19 10/15 5/5
#   0.2.18 cycle of 4: 35/35 25/25 0/19 0/15 0/5
#
# The guess before: the state is all that a checkpoint needs, in any epoch.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat > states.py <<'PYTHON'
import itertools
import json
import sys

import grain

EPOCH = 20
version = sys.argv[1]
wrong = False
for cycle_length in (2, 4):
    shards = [grain.MapDataset.range(10 * i, 10 * i + 5).to_iter_dataset() for i in range(4)]
    dataset = grain.experimental.InterleaveIterDataset(shards, cycle_length=cycle_length)
    dataset = grain.experimental.RepeatIterDataset(dataset, num_epochs=2)
    whole = list(dataset)
    wrong |= len(whole) != 2 * EPOCH or whole[:EPOCH] != whole[EPOCH:]
    row = []
    for taken in (5, 15, 21, 25, 35):
        first = iter(dataset)
        wrong |= list(itertools.islice(first, taken)) != whole[:taken]
        state = json.dumps(first.get_state())
        wrong |= list(first) != whole[taken:]
        second = iter(dataset)
        second.set_state(json.loads(state))
        rest = list(second)
        row.append(f"{len(rest)}/{len(whole) - taken}")
        if version == "0.2.15" or taken < EPOCH:
            wrong |= rest != whole[taken:]
        elif taken < EPOCH + 10:
            wrong |= len(rest) >= len(whole) - taken
    print(version, f"cycle of {cycle_length}:", *row)
sys.exit(wrong)
PYTHON
for version in 0.2.15 0.2.18; do
    python3 -m venv $version
    $version/bin/pip install --quiet --disable-pip-version-check grain==$version numpy==2.4.6
    # grain writes "Exception ignored in __del__" when the program ends.
    $version/bin/python states.py $version 2>/dev/null
done
