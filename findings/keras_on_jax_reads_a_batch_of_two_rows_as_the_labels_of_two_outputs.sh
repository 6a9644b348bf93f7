#!/usr/bin/env bash
# keras 3.15.1 with jax 0.10.2, Python 3.11.
#
# Behaviour: a model with two outputs is compiled with loss=["mse", None], as only the first output
# has labels. With one, three and four rows, `train_on_batch` returns the mean squared error of the
# first output. A batch of exactly two rows gives another number, without an error: Keras packs the
# array into the structure of the two outputs. With loss={"first": "mse"} and labels {"first": ...}
# the number is right.
#
# Output seen:
#   1 rows: right
#   2 rows: wrong
#   3 rows: right
#   4 rows: right
#   2 rows of named labels: right
#
# The guess before: an array of labels belongs to the only output that has a loss, whatever its
# number of rows.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2
cd "$folder"
export KERAS_BACKEND=jax JAX_PLATFORMS=cpu
cat > rows.py <<'PYTHON'
import keras
import numpy as np

inputs = np.arange(12, dtype="float32").reshape(4, 3)
labels = np.arange(1, 5, dtype="float32").reshape(4, 1)


def is_right(rows, named):
    keras.utils.set_random_seed(1)
    given = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1)(given) for name in ("first", "second")}
    model = keras.Model(given, outputs if named else list(outputs.values()))
    model.compile("sgd", loss={"first": "mse"} if named else ["mse", None])
    found = model(inputs[:rows])
    first = found["first"] if named else found[0]
    wanted = float(np.mean((np.array(first) - labels[:rows]) ** 2))
    truth = {"first": labels[:rows]} if named else labels[:rows]
    return "right" if np.isclose(model.train_on_batch(inputs[:rows], truth), wanted) else "wrong"


for rows in (1, 2, 3, 4):
    print(f"{rows} rows: {is_right(rows, named=False)}")
print(f"2 rows of named labels: {is_right(2, named=True)}")
PYTHON
venv/bin/python rows.py | tee found
diff found - <<'FOUND'
1 rows: right
2 rows: wrong
3 rows: right
4 rows: right
2 rows of named labels: right
FOUND
