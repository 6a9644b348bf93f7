#!/usr/bin/env bash
# keras-nightly 3.16.0.dev2026102704 (keras 3.15.1 is right), tensorflow 2.21.0, Python 3.11,
# x86-64.
#
# Behaviour: GRU, LSTM, SimpleRNN and Bidirectional read the mask of their input and no longer hand
# it on: a second recurrent layer runs over the padding, and the loss counts it. The only sign is a
# UserWarning that the layer "does not support masking", which it does.
#
# Output seen (largest difference between [1, 2, 3, 0, 0] and [1, 2, 3] with mask_zero=True and two
# layers; loss of the first one with return_sequences=True, padded and not):
#   3.16.0.dev2026102704
#     GRU 0.001  LSTM 0.001  SimpleRNN 0.117  Bidirectional 0.015  loss 2.29938 2.29777
#   3.15.1
#     GRU 0.000  LSTM 0.000  SimpleRNN 0.000  Bidirectional 0.000  loss 2.29777 2.29777
#
# The guess before: stacked recurrent layers leave padding out, as in every Keras before.
#
# Exits with 0 while the nightly build differs with padding and the release does not, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0 keras==3.15.1
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps \
    --target "$folder/nightly" keras-nightly==3.16.0.dev2026102704
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 KERAS_BACKEND=tensorflow
cat > padded.py <<'PYTHON'
import sys

import keras
import numpy as np

layers = keras.layers
padded, short = np.array([[1, 2, 3, 0, 0]]), np.array([[1, 2, 3]])


def model(*others):
    keras.utils.set_random_seed(1)
    return keras.Sequential([layers.Embedding(10, 4, mask_zero=True), *others])


kinds = {each.__name__: each for each in (layers.GRU, layers.LSTM, layers.SimpleRNN)}
kinds["Bidirectional"] = lambda *sizes, **options: layers.Bidirectional(
    layers.GRU(*sizes, **options)
)
differences = []
for layer in kinds.values():
    stack = model(layer(3, return_sequences=True), layer(3))
    results = [stack.predict(each, verbose=0) for each in (padded, short)]
    differences.append(float(np.abs(results[0] - results[1]).max()))
tagger = model(layers.GRU(3, return_sequences=True), layers.Dense(10))
tagger.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
labels = np.array([[2, 3, 4, 0, 0]])
losses = [
    tagger.evaluate(each, labels[:, : each.shape[1]], verbose=0) for each in (padded, short)
]
print(
    f"{keras.__version__}\n ",
    *(f" {name} {each:.3f}" for name, each in zip(kinds, differences)),
    f" loss {losses[0]:.5f} {losses[1]:.5f}",
)
wrong = [each > 1e-4 for each in (*differences, abs(losses[0] - losses[1]))]
sys.exit(0 if all(wrong) else 3 if not any(wrong) else 1)
PYTHON
code=0
PYTHONPATH="$folder/nightly" "$folder/venv/bin/python" padded.py 2>/dev/null || code=$?
test "$code" = 0
"$folder/venv/bin/python" padded.py 2>/dev/null || code=$?
test "$code" = 3
