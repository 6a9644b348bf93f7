"""Moving averages of the weights in `fit`."""

import keras
import numpy as np
import pytest

from keras_attn_nmt import FusedAdam
from keras_attn_nmt.training import callbacks


def test_averages_are_validated():
    seen = {"step": [], "validation": [], "epoch end": []}

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen["step"].append(self.model.get_weights()[0].copy())

        def on_test_begin(self, logs=None):
            seen["validation"].append(self.model.get_weights()[0].copy())

        def on_epoch_end(self, epoch, logs=None):
            seen["epoch end"].append(self.model.get_weights()[0].copy())

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9), loss="mse")
    x, y = np.random.default_rng(1).normal(size=(12, 2)), np.ones((12, 1))
    model.fit(
        *(x, y),
        validation_data=(x, y),
        batch_size=4,
        epochs=2,
        callbacks=[callbacks.AverageWeights(), Watch()],
        verbose=0,
    )
    # The average of the first step is what it came to; then each counts for a tenth.
    average = seen["step"][0]
    averages = [average := 0.9 * average + 0.1 * each for each in seen["step"]]
    for which in ("validation", "epoch end"):
        np.testing.assert_allclose(seen[which], [averages[2], averages[5]], rtol=1e-5)
    assert not np.allclose(averages[2], seen["step"][2], rtol=1e-3)


class Weights(keras.callbacks.Callback):
    """Records the kernel, and saves checkpoints; after `AverageWeights`."""

    def __init__(self, path=None):
        super().__init__()
        self.path, self.seen = path, {"begin": [], "step": []}

    def on_epoch_begin(self, epoch, logs=None):
        self.seen["begin"].append(self.model.get_weights()[0].copy())

    def on_train_batch_end(self, batch, logs=None):
        self.seen["step"].append(self.model.get_weights()[0].copy())

    def on_epoch_end(self, epoch, logs=None):
        if self.path:
            self.model.save_weights(self.path)


def compiled(optimizer):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer(0.1, use_ema=True, ema_momentum=0.9), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, FusedAdam])
def test_fit_ends_with_the_averages_and_another_one_begins_with_them(optimizer, tmp_path):
    data = np.random.default_rng(1).normal(size=(12, 2)), np.ones((12, 1))
    options = {"validation_data": data, "epochs": 2, "verbose": 0}
    model, path = compiled(optimizer), tmp_path / "last.weights.h5"
    first, second, resumed = Weights(path), Weights(), Weights()
    history = model.fit(*data, **options, callbacks=[callbacks.AverageWeights(), first]).history
    ended = model.get_weights()[0].copy()
    assert model.evaluate(*data, verbose=0) == pytest.approx(history["val_loss"][-1])
    # Within a training, each epoch goes on from the weights that were not averaged.
    np.testing.assert_array_equal(first.seen["begin"][1], first.seen["step"][0])
    assert abs(ended - first.seen["step"][1]).max() > 1e-3
    model.fit(*data, **options, callbacks=[callbacks.AverageWeights(), second])
    np.testing.assert_array_equal(second.seen["begin"][0], ended)
    # A checkpoint has both.
    model = compiled(optimizer)
    model.load_weights(path)
    model.fit(*data, **options, callbacks=[callbacks.AverageWeights(in_place=True), resumed])
    np.testing.assert_array_equal(resumed.seen["begin"][0], first.seen["step"][1])


def test_an_optimizer_without_averages_is_refused():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("adam", loss="mse")
    with pytest.raises(ValueError, match=r"Adam\(use_ema=True\); got Adam without"):
        model.fit(
            *(np.zeros((4, 2)), np.zeros((4, 1))), callbacks=[callbacks.AverageWeights()], verbose=0
        )
