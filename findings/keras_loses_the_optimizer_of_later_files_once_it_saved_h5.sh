#!/usr/bin/env bash
# keras 3.15.1 with tensorflow 2.21.0, Python 3.11.
#
# Behaviour: `model.save("model.h5")` takes the optimizer out of the model's compile configuration.
# The model trains on with it, but each later `.keras` file says nothing of it: loaded from there, the
# model has Keras' default, RMSprop, and none of the state that the file holds. Saving gives no
# message but that `.h5` is a legacy format, loading a warning that variables of rms_sprop are skipped.
# So a script that also keeps an `.h5` of each epoch resumes its training with another optimizer.
# (Mended upstream after this release: pull request 23475.)
#
# Output seen (optimizer and number of its steps, of a model trained with Adam for 3 steps):
#   saved as                      loaded from the .keras file
#   .keras                        Adam, 3 steps
#   .h5, then .keras              RMSprop, 0 steps
#
# The guess before: saving a model does not change it.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 tensorflow==2.21.0
export KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
venv/bin/python - <<'PYTHON' 2>errors | tee found
import keras
import numpy as np

x = np.ones((3, 2), "float32")
for names in (["model.keras"], ["model.h5", "model.keras"]):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(), "mse")
    model.fit(x, x[:, :1], batch_size=1, verbose=0)
    for name in names:
        model.save(name)
    optimizer = keras.saving.load_model("model.keras").optimizer
    print(f"{' '.join(names)}: {type(optimizer).__name__}, {int(optimizer.iterations)} steps")
PYTHON
diff found - <<'FOUND'
model.keras: Adam, 3 steps
model.h5 model.keras: RMSprop, 0 steps
FOUND
