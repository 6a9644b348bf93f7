#!/usr/bin/env bash
# keras 3.15.1 with torch 2.14.1, and with JAX to compare, Python 3.11 (a download of several GB).
#
# Behaviour: a layer has a class attribute `inner = None` and assigns a sublayer to `self.inner` in
# build(). With KERAS_BACKEND=torch, self.inner reads as None ever after, so that the sublayer's
# product is left out without a word, while its weights are listed and saved. With JAX (and
# TensorFlow), self.inner is the sublayer. A Keras layer is a torch.nn.Module there, which keeps
# submodules outside of the instance's attributes: the class attribute is found first.
#
# Output seen:
#   jax    output (1, 2), weights 2
#   torch  output (1, 3), weights 2
#
# The guess before: a class attribute is the default of an attribute, as in any Python class, and
# the same layer gives the same result on every backend.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    keras==3.15.1 torch==2.14.1 jax==0.10.2
cd "$folder"
cat > program.py <<'PYTHON'
import keras


class Wrapper(keras.layers.Layer):
    inner = None

    def build(self, input_shape):
        dense = keras.layers.Dense(2)
        dense.build(input_shape)
        self.inner = dense

    def call(self, inputs):
        return inputs if self.inner is None else self.inner(inputs)


wrapper = Wrapper()
output = wrapper(keras.ops.ones((1, 3)))
print(f"output {tuple(output.shape)}, weights {len(wrapper.weights)}")
PYTHON
export CUDA_VISIBLE_DEVICES= JAX_PLATFORMS=cpu
on_jax=$(KERAS_BACKEND=jax "$folder/venv/bin/python" program.py)
on_torch=$(KERAS_BACKEND=torch "$folder/venv/bin/python" program.py)
printf 'jax    %s\ntorch  %s\n' "$on_jax" "$on_torch"
test "$on_jax" = 'output (1, 2), weights 2' && test "$on_torch" = 'output (1, 3), weights 2'
