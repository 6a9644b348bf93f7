#!/usr/bin/env bash
# keras 3.15.1, tensorflow 2.21.0, jax 0.10.2, Python 3.11, x86-64.
#
# Behaviour: keras.config.set_floatx("float16") or "bfloat16" also makes integers small: where(mask,
# 1, 0) on TensorFlow, and arange(n) on TensorFlow and JAX, are int16. Running counts of more than
# 32,767 tokens wrap around without a word, positions wrap or stop there; adding either to an int32
# tensor is a TypeError on TensorFlow. With float64, they are int64 on TensorFlow.
#
# Output seen (70,000 ones counted by cumsum; the last of 40,000 positions):
#   tensorflow float32   int32  70000   int32  39999
#   tensorflow bfloat16  int16  4464    int16  32767
#   jax        bfloat16  int32  70000   int16  -25537
#
# The guess before: floatx is the precision of floats, and integers stay int32.
#
# Exits with 0 while positions are wrong in bfloat16 alone, and counts on TensorFlow, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 tensorflow==2.21.0 jax==0.10.2
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 JAX_PLATFORMS=cpu
cat > integers.py <<'PYTHON'
import sys

import keras
from keras import ops

keras.config.set_floatx(sys.argv[1])
counts = ops.cumsum(ops.where(ops.ones((70_000,), "bool"), 1, 0))
positions = ops.arange(40_000)
names = [keras.backend.standardize_dtype(each.dtype) for each in (counts, positions)]
print(*names, int(counts[-1]), int(positions[-1]))
PYTHON
seen() {
    KERAS_BACKEND=$1 "$folder/venv/bin/python" integers.py "$2" 2>/dev/null
}
for backend in tensorflow jax; do
    for floatx in float32 bfloat16; do
        echo "$backend $floatx $(seen $backend $floatx)"
    done
done | tee results
diff results - <<'EXPECTED'
tensorflow float32 int32 int32 70000 39999
tensorflow bfloat16 int16 int16 4464 32767
jax float32 int32 int32 70000 39999
jax bfloat16 int32 int16 70000 -25537
EXPECTED
