"""Pictures of attention in TensorBoard."""

import keras
import numpy as np
import pytest

from keras_attn_nmt import Translation
from keras_attn_nmt.training.callbacks import AttentionPicture


def test_every_fit_adds_pictures(tmp_path):
    pytest.importorskip("tensorboard", reason="needs the extra train")
    from tensorboard.backend.event_processing import event_accumulator

    found = Translation("a", 0.0, ["▁ein", "</s>"], ["▁a", "</s>"], np.zeros(2), np.eye(2))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    pictures = AttentionPicture(lambda texts, **_: [found], "ein", tmp_path)
    for begin in (0, 2):
        model.fit(
            *(np.zeros((4, 2)), np.zeros((4, 1))),
            initial_epoch=begin,
            epochs=begin + 2,
            callbacks=[pictures],
            verbose=0,
        )
    steps = []
    for path in tmp_path.iterdir():
        events = event_accumulator.EventAccumulator(str(path), {"tensors": 0, "images": 0})
        events.Reload()
        steps += [each.step for each in events.Tensors("attention")]
    assert sorted(steps) == [0, 1, 2, 3]
