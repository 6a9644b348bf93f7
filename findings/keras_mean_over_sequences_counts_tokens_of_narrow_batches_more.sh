#!/usr/bin/env bash
# keras 3.15.1 with jax 0.10.2, Python 3.11.
#
# Behaviour: keras.metrics.Mean and SparseCategoricalAccuracy get values and masks of shape (batch,
# length). They take the mean over the length first, masked places included, so that a batch counts
# by its share of unmasked places, and not by their number: one token that is right in a batch of
# length 1, and nine that are wrong in one of length 9, are 50 % right. If the first batch is padded
# to length 9, the same tokens are 10 % right. Flat values and masks give 10 % in both cases.
#
# Output seen (mean, accuracy):
#   lengths 1 and 9        0.5 0.5
#   both padded to 9       0.1 0.1
#   lengths 1 and 9, flat  0.1 0.1
#
# The guess before: with a mask as sample_weight, both are sums over the unmasked tokens of all
# batches, divided by their number, however wide the batches are.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2
export KERAS_BACKEND=jax JAX_PLATFORMS=cpu KERAS_HOME=$folder
cat > run.py <<'PYTHON'
import keras
import numpy as np

# Label 1 is always right; the last axis of scores is the classes.
RIGHT, WRONG = [0.0, 1.0], [1.0, 0.0]


def batch(hits, length):
    mask = np.zeros([1, length])
    mask[0, : len(hits)] = 1
    scores = np.full([1, length, 2], WRONG)
    scores[0, : len(hits)] = [RIGHT if hit else WRONG for hit in hits]
    return np.ones([1, length]), scores, mask


def measured(batches, flat=False):
    mean, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()
    for labels, scores, mask in batches:
        hits = (scores.argmax(-1) == labels).astype(float)
        if flat:
            labels, hits, mask = labels.ravel(), hits.ravel(), mask.ravel()
            scores = scores.reshape(-1, 2)
        mean.update_state(hits, mask)
        accuracy.update_state(labels, scores, mask)
    return f"{float(mean.result()):.1f} {float(accuracy.result()):.1f}"


right, wrong = [True], [False] * 9
print("lengths 1 and 9       ", measured([batch(right, 1), batch(wrong, 9)]))
print("both padded to 9      ", measured([batch(right, 9), batch(wrong, 9)]))
print("lengths 1 and 9, flat ", measured([batch(right, 1), batch(wrong, 9)], flat=True))
PYTHON
venv/bin/python run.py 2>/dev/null | tee found.txt
diff found.txt - <<'TEXT'
lengths 1 and 9        0.5 0.5
both padded to 9       0.1 0.1
lengths 1 and 9, flat  0.1 0.1
TEXT
