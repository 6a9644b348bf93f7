#!/usr/bin/env bash
# keras 3.15.1 with jax 0.10.2, Python 3.11.
#
# Behaviour: two custom layers of a functional model share a Dense layer, which each has as an
# attribute and in its config, by serialize_keras_object. The model has two weights, `save` returns
# as usual, and load_model refuses the file: the second Dense of the restored model expects variables
# that were saved once. `clone_model` succeeds, with twice the weights, which are no longer shared.
# If the Dense is called twice in the functional model itself, both keep it shared.
#
# Output seen (weights of the model, of the loaded one, of the clone):
#   shared by custom layers  2  ValueError  4
#   called twice             2  2           2
#
# The guess before: what `save` writes without an error can be loaded, and a copy of a model has as
# many weights as the model.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2
export KERAS_BACKEND=jax JAX_PLATFORMS=cpu KERAS_HOME=$folder
cat > run.py <<'PYTHON'
import keras


@keras.saving.register_keras_serializable()
class Doubled(keras.layers.Layer):
    def __init__(self, inner, **options):
        super().__init__(**options)
        self.inner = inner

    def build(self, shape):
        if not self.inner.built:
            self.inner.build(shape)

    def call(self, x):
        return 2 * self.inner(x)

    def get_config(self):
        return {**super().get_config(), "inner": keras.saving.serialize_keras_object(self.inner)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "inner": keras.saving.deserialize_keras_object(config["inner"])})


def shared():
    x, dense = keras.Input([3]), keras.layers.Dense(3)
    return keras.Model(x, Doubled(dense)(Doubled(dense)(x)))


def called_twice():
    x, dense = keras.Input([3]), keras.layers.Dense(3)
    return keras.Model(x, dense(dense(x)))


for name, make in (("shared by custom layers", shared), ("called twice", called_twice)):
    model = make()
    model.save("model.keras")
    try:
        loaded = len(keras.saving.load_model("model.keras").weights)
    except ValueError as error:
        assert "expected 2 variables, but received 0 variables" in str(error), error
        loaded = "ValueError"
    copies = len(keras.models.clone_model(model).weights)
    print(f"{name:24} {len(model.weights)}  {loaded!s:10}  {copies}")
PYTHON
venv/bin/python run.py 2>/dev/null | tee found.txt
diff found.txt - <<'TEXT'
shared by custom layers  2  ValueError  4
called twice             2  2           2
TEXT
