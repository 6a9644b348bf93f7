#!/usr/bin/env bash
# keras 3.15.1 and jax 0.10.2 with numpy 2.1.0 and numpy 2.3.5, Python 3.11.
#
# Behaviour: `keras.ops.zeros_like`, `ones_like` and `full_like` take a `keras.Variable` on JAX with
# numpy 2.1.0. With numpy 2.3.5 the same calls raise ValueError ("Could not convert <Variable ...>
# to a NumPy dtype"). `add` and `isfinite` take it with both, and so does `full_like` that is given
# a dtype.
#
# Output seen:
#   numpy 2.1.0: taken by add, full_like, full_like with a dtype, isfinite, ones_like, zeros_like
#   numpy 2.3.5: taken by add, full_like with a dtype, isfinite
#
# The guess before: a variable is as good as a tensor for an op of Keras, whatever the version of
# NumPy, which no tensor of JAX depends on.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
cd "$folder"
export KERAS_BACKEND=jax JAX_PLATFORMS=cpu
cat > ops.py <<'PYTHON'
import keras
import numpy
from keras import ops

variable = keras.Variable([[1.0, 2.0]])
calls = {
    "add": lambda: ops.add(variable, 1.0),
    "full_like": lambda: ops.full_like(variable, 3.0),
    "full_like with a dtype": lambda: ops.full_like(variable, 3.0, dtype="float32"),
    "isfinite": lambda: ops.isfinite(variable),
    "ones_like": lambda: ops.ones_like(variable),
    "zeros_like": lambda: ops.zeros_like(variable),
}
taken = []
for name, call in calls.items():
    try:
        call()
        taken.append(name)
    except ValueError:
        pass
print(f"numpy {numpy.__version__}: taken by {', '.join(taken)}")
PYTHON
for version in 2.1.0 2.3.5; do
  venv/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 \
    "numpy==$version"
  venv/bin/python ops.py
done | tee found
diff found - <<'FOUND'
numpy 2.1.0: taken by add, full_like, full_like with a dtype, isfinite, ones_like, zeros_like
numpy 2.3.5: taken by add, full_like with a dtype, isfinite
FOUND
