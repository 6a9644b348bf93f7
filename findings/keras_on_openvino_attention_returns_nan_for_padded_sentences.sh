#!/usr/bin/env bash
# keras 3.15.1 with openvino 2026.4.1, and with jax 0.10.2 to compare, Python 3.11, x86-64.
#
# Behaviour: MultiHeadAttention over an Embedding with mask_zero=True. With
# KERAS_BACKEND=openvino, its output is NaN at padding. A second attention has these places as
# keys and values of weight 0, so that all tokens of each padded sentence are NaN, without an
# error. Sentences without padding are right, and so is a layer that also returns its scores.
# (Padding as a query has no key. Keras hands the mask as bool to OpenVINO's
# ScaledDotProductAttention, which takes a softmax of -inf; other backends, and Keras' own way to
# the scores, use a large negative number.)
#
# Output seen (first unit of each token after one layer, and after two):
#   jax output only 3 1 2   7.9 8.0 7.3 | 40.9 40.8 40.9
#   jax output only 3 1 2 0 7.9 8.0 7.3 2.8 | 40.9 40.8 40.9 28.5
#   openvino output only 3 1 2   7.9 8.0 7.3 | 40.7 40.7 40.7
#   openvino output only 3 1 2 0 7.9 8.0 7.3 nan | nan nan nan nan
#   openvino with scores 3 1 2 0 7.9 8.0 7.3 1.6 | 40.7 40.7 40.7 1.0
#
# The guess before: padding changes no token, on any backend.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 openvino==2026.4.1 jax==0.10.2 numpy==2.4.6
cd "$folder"
cat > attention.py <<'PYTHON'
import sys

import keras
import numpy as np
from keras import layers


def model(scores):
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(4, 4, mask_zero=True)(ids)
    outputs = []
    for _ in range(2):
        x = layers.MultiHeadAttention(2, 4)(x, x, return_attention_scores=scores)
        x = x[0] if scores else x
        outputs.append(x)
    built = keras.Model(ids, outputs)
    random = np.random.default_rng(0)
    built.set_weights([random.normal(size=each.shape) for each in built.get_weights()])
    return built


backend = keras.backend.backend()
wrong = False
for scores in (False, True):
    built = model(scores)
    alone, padded = (
        [layer[0, :, 0] for layer in built.predict(np.array([ids]), verbose=0)]
        for ids in ([3, 1, 2], [3, 1, 2, 0])
    )
    for name, found in (("3 1 2", alone), ("3 1 2 0", padded)):
        row = " | ".join(" ".join(f"{each:.1f}" for each in layer) for layer in found)
        print(backend, "with scores" if scores else "output only", f"{name:7}", row)
    if backend == "openvino" and not scores:
        nan = [np.isnan(layer).tolist() for layer in padded]
        wrong |= nan != [[False, False, False, True], [True, True, True, True]]
    else:
        wrong |= not np.allclose(padded[1][:3], alone[1], rtol=0.01)
sys.exit(wrong)
PYTHON
for backend in jax openvino; do
    KERAS_BACKEND=$backend venv/bin/python attention.py
done
