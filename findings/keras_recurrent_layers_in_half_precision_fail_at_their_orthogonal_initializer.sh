#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0 and jax 0.10.2, Python 3.11.
#
# Behaviour: keras.layers.GRU(4, dtype="bfloat16"), and LSTM and SimpleRNN likewise, cannot be built
# on TensorFlow or JAX, nor with dtype="float16" on JAX: their default recurrent initializer,
# "orthogonal", asks the backend for a QR decomposition in the dtype of the weight, which it lacks.
#
# Output seen:
#   jax float16 NotImplementedError
#   jax bfloat16 NotImplementedError
#   tensorflow float16 ok
#   tensorflow bfloat16 InvalidArgumentError
#
# The guess before: every default initializer works in every dtype policy, as glorot_uniform does.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  tensorflow==2.21.0 keras==3.15.1 jax==0.10.2
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 JAX_PLATFORMS=cpu
cat > build.py <<'PYTHON'
import keras

for dtype in ("float16", "bfloat16"):
    try:
        keras.layers.GRU(4, dtype=dtype).build((None, None, 4))
        found = "ok"
    except Exception as error:
        found = type(error).__name__
    print(keras.backend.backend(), dtype, found)
PYTHON
for backend in jax tensorflow; do
  KERAS_BACKEND=$backend venv/bin/python build.py 2>/dev/null
done | tee found
diff found - <<'FOUND'
jax float16 NotImplementedError
jax bfloat16 NotImplementedError
tensorflow float16 ok
tensorflow bfloat16 InvalidArgumentError
FOUND
