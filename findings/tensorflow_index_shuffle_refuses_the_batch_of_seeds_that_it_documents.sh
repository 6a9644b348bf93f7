#!/usr/bin/env bash
# tensorflow 2.21.0, Python 3.11.
#
# Behaviour: tf.random.experimental.index_shuffle documents seeds "of shape [2] or [n, 2]" and raises
# InvalidArgumentError for every seed of shape [n, 2]. It lengthens a seed by a constant for the op
# below, which wants shape [3] or [n, 3], but along the first axis: [4, 2] becomes [5, 2]. The op
# itself takes a batch of seeds, and gives for each what index_shuffle gives for it alone.
#
# Output seen (indices 0 to 3 in a permutation of 0 to 99, seeds [1, 2], [3, 4], [5, 6], [7, 8]):
#   index_shuffle, one seed after another  29 32 2 61
#   tf.raw_ops.RandomIndexShuffle          29 32 2 61
#   index_shuffle, all seeds               InvalidArgumentError
#   (its message: Seed must be a vector of size [3] or a matrix of size [4, 3] but got [5,2].)
#
# The guess before: all seeds at once give what one seed after another gives.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tensorflow==2.21.0
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>/dev/null
import tensorflow as tf

shuffle = tf.random.experimental.index_shuffle
index, largest = tf.range(4), tf.fill([4], 99)
seeds = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])

alone = [int(shuffle(index[row], seeds[row], largest[row])) for row in range(4)]
print("index_shuffle, one seed after another ", *alone)
constant = 498247692  # What index_shuffle puts in front of a seed.
lengthened = tf.pad(seeds, [[0, 0], [1, 0]], constant_values=constant)
op = tf.raw_ops.RandomIndexShuffle(index=index, seed=lengthened, max_index=largest).numpy().tolist()
print("tf.raw_ops.RandomIndexShuffle         ", *op)
try:
    together = shuffle(index, seeds, largest).numpy().tolist()
    print("index_shuffle, all seeds              ", *together)
    raise SystemExit(1)
except tf.errors.InvalidArgumentError as error:
    print("index_shuffle, all seeds               InvalidArgumentError")
    raise SystemExit(alone != op or "but got [5,2]" not in str(error))
PYTHON
