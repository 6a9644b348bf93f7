#!/usr/bin/env bash
# tensorflow 2.21.0, Python 3.11, on a CPU.
#
# Behaviour: a function removes the ends of padded rows by RaggedTensor.from_tensor and
# tf.ragged.boolean_mask. With XLA's automatic clustering (the variable TF_XLA_FLAGS, no change of
# the program) it fails with InvalidArgumentError (Range must have a compile-time constant) for the
# first shape, and for every batch whose shape comes again; the first batch of each later shape
# succeeds, with the right result. A function that shortens the rows by their lengths, without a mask,
# succeeds in all six calls.
#
# Output seen (batches of 1, 1, 2, 2, 3 and 3 rows, one after the other):
#   usual       mask     ok ok ok ok ok ok
#   usual       lengths  ok ok ok ok ok ok
#   clustering  mask     InvalidArgumentError InvalidArgumentError ok InvalidArgumentError ok InvalidArgumentError
#   clustering  lengths  ok ok ok ok ok ok
#
# The guess before: automatic clustering leaves out what it cannot compile, so that programs which run
# without it run with it; and a call that worked works again.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tensorflow==2.21.0
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > run.py <<'PYTHON'
import sys

import tensorflow as tf

END = 2
shapes = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]


@tf.function(input_signature=shapes, autograph=False)
def mask(ids, lengths):
    rows = tf.RaggedTensor.from_tensor(ids, lengths)
    return tf.ragged.boolean_mask(rows, rows != END).to_tensor()


@tf.function(input_signature=shapes, autograph=False)
def shorter(ids, lengths):
    last = tf.gather(ids, lengths - 1, batch_dims=1)
    return tf.RaggedTensor.from_tensor(ids, lengths - tf.cast(last == END, tf.int32)).to_tensor()


IDS, LENGTHS, WANTED = [[5, 6, 2], [7, 2, 0], [4, 2, 0]], [3, 2, 2], [[5, 6], [7, 0], [4, 0]]
for name, function in (("mask", mask), ("lengths", shorter)):
    found = []
    for rows in (1, 1, 2, 2, 3, 3):
        try:
            result = function(tf.constant(IDS[:rows]), tf.constant(LENGTHS[:rows]))
            right = result.numpy()[:, :2].tolist() == WANTED[:rows]
            found.append("ok" if right else "wrong")
        except tf.errors.OpError as error:
            found.append(type(error).__name__)
    print(f"{sys.argv[1]:11} {name:8} {' '.join(found)}")
PYTHON
{
    venv/bin/python run.py usual
    TF_XLA_FLAGS="--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit" venv/bin/python run.py clustering
} 2>/dev/null | tee found.txt
diff found.txt - <<'TEXT'
usual       mask     ok ok ok ok ok ok
usual       lengths  ok ok ok ok ok ok
clustering  mask     InvalidArgumentError InvalidArgumentError ok InvalidArgumentError ok InvalidArgumentError
clustering  lengths  ok ok ok ok ok ok
TEXT
