"""Checks shared by all layers, on any backend."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

Arrays = dict[str, np.ndarray]


ON_JAX = keras.backend.backend() == "jax"


def slow_on_jax(test: Any) -> Any:
    """Marks a test that JAX compiles for seconds, and TensorFlow runs in fractions of them."""
    return pytest.mark.slow(test) if ON_JAX else test


def slow_on_jax_after(fast: int, cases: Sequence[Any]) -> list[Any]:
    """Cases for `parametrize`: all but the first ones are slow on JAX."""
    return [*cases[:fast], *_marked(cases[fast:], pytest.mark.slow)]


def fewer_on_jax(cases: Sequence[Any], kept: int = 1) -> list[Any]:
    """Cases for `parametrize`: JAX runs only the first `kept`, of which all but one are slow."""
    skip = pytest.mark.skip(reason="enough cases of this run on JAX")
    return [*slow_on_jax_after(1, cases[:kept]), *_marked(cases[kept:], skip)]


def _marked(cases: Sequence[Any], mark: Any) -> list[Any]:
    values = [each if isinstance(each, tuple) else (each,) for each in cases]
    return [pytest.param(*each, marks=[mark] if ON_JAX else []) for each in values]


def to_numpy(tree: Any) -> Any:
    """Tensors as NumPy arrays; what NumPy has no type for (bfloat16) as float32."""

    def convert(tensor: Any) -> np.ndarray:
        if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
            tensor = keras.ops.cast(tensor, "float32")
        return keras.ops.convert_to_numpy(tensor)

    return keras.tree.map_structure(convert, tree)


def randomize(layer: keras.layers.Layer, rng: np.random.Generator, scale: float = 0.7) -> None:
    """Gives every weight, biases too, numbers that no special case hides behind."""
    for weight in layer.trainable_weights:
        weight.assign(rng.normal(scale=scale, size=weight.shape))


def gradients(
    function: Callable[[], Any], variables: Sequence[keras.Variable]
) -> tuple[np.ndarray, list[np.ndarray | None]]:
    """The value of a scalar function, and its gradient by each variable; None where it reads none.

    JAX has no way to say that a variable is not read: its gradient is zero there.
    """
    if keras.backend.backend() == "jax":
        import jax

        def of_values(values: list) -> Any:
            with keras.StatelessScope(state_mapping=zip(variables, values, strict=True)):
                return function()

        values = [variable.value for variable in variables]
        value, found = jax.jit(jax.value_and_grad(of_values))(values)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        found = tape.gradient(value, [variable.value for variable in variables])
        found = [None if each is None else tf.convert_to_tensor(each) for each in found]
    return to_numpy(value), [None if each is None else to_numpy(each) for each in found]


def flat(tree: Any) -> list[np.ndarray]:
    return keras.tree.flatten(to_numpy(tree))


def assert_same(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Two structures of tensors with equal numbers."""
    for a, b in zip(flat(actual), flat(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def call(layer: keras.layers.Layer, inputs: dict[str, Any]) -> Any:
    """The results of a layer, its first input positional, or of a model, its inputs in a dict.

    Compiled on JAX, where one operation after the other is compiled otherwise.
    """
    first, *others = inputs
    if keras.backend.backend() == "jax" and isinstance(inputs[first], np.ndarray):
        if not layer.built:
            call(layer, symbols(inputs, keras.KerasTensor))
        run = compiled(layer, tuple(inputs))
        return run([variable.value for variable in layer.variables], list(inputs.values()))
    if isinstance(layer, keras.Model):
        return layer(inputs)
    return layer(inputs[first], **{name: inputs[name] for name in others})


@functools.cache
def compiled(layer: keras.layers.Layer, names: tuple[str, ...]) -> Callable[[list, list], Any]:
    """`layer` as a compiled function of its variables' values and of its inputs `names`."""
    import jax

    def run(values: list, inputs: list) -> Any:
        with keras.StatelessScope(state_mapping=zip(layer.variables, values, strict=True)):
            return call(layer, dict(zip(names, inputs, strict=True)))

    return jax.jit(run)


def symbols(inputs: Arrays, make: Callable[..., Any]) -> dict[str, Any]:
    """One symbolic tensor for each input."""
    return {name: make(value.shape, dtype=value.dtype.name) for name, value in inputs.items()}


def check_layer(
    make: Callable[..., keras.layers.Layer],
    inputs: Arrays,
    folder: Path,
    *,
    source_inputs: Sequence[str] = (),
    unused: Sequence[str] = (),
) -> None:
    """Runs all checks below.

    Args:
        make: Makes the layer; takes `dtype`.
        inputs: Call arguments by name, the first one positional. Batch first.
        folder: For the saved model.
        source_inputs: Names of the inputs with a position for each one of `mask`.
        unused: Ends of the paths of weights that the results cannot depend on.
    """
    rng = np.random.default_rng(1)
    layer = make(dtype="float32")
    outputs = call(layer, inputs)
    randomize(layer, rng)
    outputs = to_numpy(call(layer, inputs))
    check_config(layer)
    check_saving(layer, inputs, outputs, folder)
    check_policies(make, layer, inputs, outputs)
    check_gradients(layer, inputs, unused)
    check_batch_mates(layer, inputs, outputs)
    if "mask" in inputs:
        check_mask(layer, inputs, outputs, source_inputs)


def check_config(layer: keras.layers.Layer) -> None:
    """What get_config says is JSON, and makes a layer that says the same."""
    config = json.loads(json.dumps(layer.get_config()))
    clone = type(layer).from_config(config)
    assert json.loads(json.dumps(clone.get_config())) == config


def check_saving(layer: keras.layers.Layer, inputs: Arrays, outputs: Any, folder: Path) -> None:
    """In a functional model: symbolic shapes and dtypes are the real ones; .keras in safe mode."""
    tensors = {
        name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=name)
        for name, value in inputs.items()
    }
    symbolic = call(layer, tensors)
    for symbol, output in zip(keras.tree.flatten(symbolic), flat(outputs), strict=True):
        assert symbol.shape[1:] == output.shape[1:]
        assert symbol.dtype == output.dtype.name
    keras.Model(tensors, symbolic).save(folder / "model.keras")
    loaded = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    assert_same(call(loaded, inputs), outputs, tolerance=0)


def check_policies(
    make: Callable[..., keras.layers.Layer], layer: Any, inputs: Arrays, outputs: Any
) -> None:
    """Half precision computes in its dtype and stays near; float32 results stay float32."""
    for policy in ("mixed_bfloat16", "mixed_float16"):
        half = make(dtype=policy)
        call(half, inputs)
        half.set_weights(layer.get_weights())
        assert {weight.dtype for weight in half.weights} <= {"float32"}
        results = keras.tree.flatten(call(half, inputs))
        promised = keras.tree.flatten(call(half, symbols(inputs, keras.KerasTensor)))
        for result, promise in zip(results, promised, strict=True):
            assert keras.backend.standardize_dtype(result.dtype) == promise.dtype
        assert keras.backend.standardize_dtype(results[0].dtype) == policy.removeprefix("mixed_")
        assert_same(results, keras.tree.flatten(outputs), tolerance=0.06)


def check_gradients(layer: keras.layers.Layer, inputs: Arrays, unused: Sequence[str]) -> None:
    """Every weight has a finite gradient, and one that is not zero."""
    rng = np.random.default_rng(2)
    shares = [rng.normal(size=each.shape) for each in flat(call(layer, inputs))]

    def total() -> Any:
        results = keras.tree.flatten(call(layer, inputs))
        return sum(
            keras.ops.sum(result * keras.ops.cast(share, result.dtype))
            for result, share in zip(results, shares, strict=True)
        )

    weights = layer.trainable_weights
    for weight, gradient in zip(weights, gradients(total, weights)[1], strict=True):
        if weight.path.endswith(tuple(unused)):
            assert gradient is None or np.abs(gradient).max() < 1e-5, weight.path
        else:
            assert gradient is not None, weight.path
            assert np.isfinite(gradient).all(), weight.path
            assert np.abs(gradient).max() > 1e-5, weight.path


def check_batch_mates(layer: keras.layers.Layer, inputs: Arrays, outputs: Any) -> None:
    """Results are independent of batch composition."""
    for row in range(len(next(iter(inputs.values())))):
        single = call(layer, {name: value[row : row + 1] for name, value in inputs.items()})
        for a, b in zip(flat(single), flat(outputs), strict=True):
            np.testing.assert_allclose(a[0], b[row], rtol=1e-5, atol=1e-6)


def check_mask(
    layer: keras.layers.Layer, inputs: Arrays, outputs: Any, source_inputs: Sequence[str]
) -> None:
    """What stands at padding changes nothing; no mask is the same as a mask of True."""
    rng = np.random.default_rng(3)
    changed = dict(inputs)
    for name in source_inputs:
        garbage = rng.normal(scale=100.0, size=inputs[name].shape).astype(inputs[name].dtype)
        changed[name] = np.where(inputs["mask"][:, :, None], inputs[name], garbage)
    assert_same(call(layer, changed), outputs)

    all_real = {**inputs, "mask": np.ones_like(inputs["mask"])}
    unmasked = {name: value for name, value in inputs.items() if name != "mask"}
    assert_same(call(layer, unmasked), call(layer, all_real))
