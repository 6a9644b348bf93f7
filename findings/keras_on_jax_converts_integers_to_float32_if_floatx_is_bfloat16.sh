#!/usr/bin/env bash
# keras 3.15.1 with jax 0.10.2 and tensorflow 2.21.0, Python 3.11.
#
# Behaviour: after keras.config.set_floatx("bfloat16"), `keras.ops` on JAX convert NumPy arrays, lists
# and Python numbers to float32, integers and bools included. According to the documentation of
# `keras.ops.convert_to_tensor`, the type is kept if no `dtype` is given. As a consequence, `take`
# rejects NumPy ids, `maximum(ids, 0)` returns float32 for int32 ids that are JAX arrays already, and
# integers above 2 ** 24 are rounded without an error, so that `equal` finds two different ids equal.
# With floatx float32 or float16, and on TensorFlow, types are kept.
#
# Output seen:
#                        array    mask     maximum  take        2 ** 24 + 1 == 2 ** 24
#   jax float32          int32    bool     int32    8           False
#   jax float16          int32    bool     int32    8           False
#   jax bfloat16         float32  float32  float32  ValueError  True
#   tensorflow bfloat16  int32    bool     int32    8           False
#
# The guess before: floatx is the type of floats that have no other, and integers stay integers.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 \
  tensorflow==2.21.0
cd "$folder"
export JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > integers.py <<'PYTHON'
import sys

import keras
import numpy as np
from keras import ops

backend = keras.backend.backend()


def dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


for floatx in sys.argv[1:]:
    keras.config.set_floatx(floatx)
    ids = np.array([1], "int32")
    try:
        taken = str(int(ops.take(ops.cast([7, 8, 9], "int32"), ids)[0]))
    except ValueError as error:
        taken = type(error).__name__
    found = (
        dtype(ops.convert_to_tensor(ids)),
        dtype(ops.convert_to_tensor(ids > 0)),
        dtype(ops.maximum(ops.cast(ids, "int32"), 0)),
        taken,
        bool(ops.equal(np.array(2**24 + 1, "int32"), np.array(2**24, "int32"))),
    )
    print("{:20} {:8} {:8} {:8} {:11} {}".format(f"{backend} {floatx}", *found))
PYTHON
{
  printf '%-20s %-8s %-8s %-8s %-11s %s\n' '' array mask maximum take '2 ** 24 + 1 == 2 ** 24'
  KERAS_BACKEND=jax venv/bin/python integers.py float32 float16 bfloat16
  KERAS_BACKEND=tensorflow venv/bin/python integers.py bfloat16
} | tee found
diff found - <<'FOUND'
                     array    mask     maximum  take        2 ** 24 + 1 == 2 ** 24
jax float32          int32    bool     int32    8           False
jax float16          int32    bool     int32    8           False
jax bfloat16         float32  float32  float32  ValueError  True
tensorflow bfloat16  int32    bool     int32    8           False
FOUND
