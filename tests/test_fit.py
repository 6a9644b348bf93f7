"""`model.fit` of `build_model`: labels, weights, metrics and `floatx`."""

import keras
import numpy as np
import pytest
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import ModelConfig, Translator, build_model
from keras_attn_nmt.layers.losses import MaskedCrossentropy
from keras_attn_nmt.layers.metrics import Perplexity, TokenAccuracy

UNITS = {f"{name}_units": 12 for name in ("embedding", "encoder", "decoder", "attention")}


def test_fit_learns_and_reports() -> None:
    keras.utils.set_random_seed(0)
    model = build_model(ModelConfig(11, 11, **UNITS))
    model.compile(
        keras.optimizers.Adam(0.03),
        loss={"logits": MaskedCrossentropy(0.1)},
        metrics={"logits": [TokenAccuracy(), Perplexity()]},
    )
    # Else the step is traced once to make the optimizer's variables, and once more.
    model.optimizer.build(model.trainable_variables)
    # Every token to itself.
    source = np.array([[4, 5, 2, 0], [6, 2, 0, 0], [7, 4, 5, 2], [5, 2, 0, 0]], "int32")
    target = np.array([[1, 4, 5, 0], [1, 6, 0, 0], [1, 7, 4, 5], [1, 5, 0, 0]], "int32")
    # Few epochs of many steps, as an epoch costs more than its steps do.
    source, target = np.tile(source, (25, 1)), np.tile(target, (25, 1))
    history = model.fit(
        {"source": source, "target": target},
        {"logits": source},
        batch_size=4,
        epochs=4,
        verbose=0,
    ).history
    assert history["loss"][-1] < history["loss"][0]
    accuracy = next(values for name, values in history.items() if "token_accuracy" in name)
    perplexity = next(values for name, values in history.items() if "perplexity" in name)
    assert accuracy[-1] == 1
    assert 1 < perplexity[-1] < 1.5 < perplexity[0]
    # Labels passed as an array are those of the logits; with two rows, too, as outputs are two.
    batch = {"source": source[:2], "target": target[:2]}
    by_name, plain, listed = (
        model.evaluate(batch, labels, verbose=0, return_dict=True)
        for labels in ({"logits": source[:2]}, source[:2], [source[:2]])
    )
    assert plain == pytest.approx(by_name)
    assert listed == pytest.approx(by_name)
    weights = np.array([[1, 0, 2, 1], [1, 1, 0, 0]], "float32")
    weighted, listed = (
        model.evaluate(batch, labels, sample_weight=given, verbose=0, return_dict=True)
        for labels, given in ((source[:2], weights), ([source[:2]], [weights]))
    )
    assert listed == pytest.approx(weighted)
    assert weighted["loss"] != plain["loss"]
    # Keras would weight a sentence by the position of its largest id.
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="class_weight is for one class per row"):
            train(batch, source[:2], class_weight={4: 2.0})
    # A loss without a name is that of the logits, too.
    model.compile("sgd", loss=MaskedCrossentropy(0.1))
    for labels, given in ((source[:2], weights), ({"logits": source[:2]}, {"logits": weights})):
        unnamed = model.evaluate(batch, labels, sample_weight=given, verbose=0, return_dict=True)
        assert unnamed["loss"] == pytest.approx(weighted["loss"])
    model.compile("sgd", loss=[MaskedCrossentropy(), None])
    with pytest.raises(ValueError, match="loss is a list"):
        model.evaluate(batch, source[:2], verbose=0)


@pytest.mark.parametrize("floatx", ["float16", pytest.param("float64", marks=pytest.mark.slow)])
def test_trains_with_another_floatx(floatx: str) -> None:
    before = keras.config.floatx()
    keras.config.set_floatx(floatx)
    try:
        model = build_model(ModelConfig(11, 11, **UNITS))
        model.compile("sgd", loss={"logits": MaskedCrossentropy()})
        ids = np.array([[4, 5, 2], [6, 2, 0]], "int32")
        first, *_, last = (
            float(model.train_on_batch({"source": ids, "target": ids}, ids)) for _ in range(20)
        )
    finally:
        keras.config.set_floatx(before)
    assert last < first


def test_metrics_count_all_tokens_with_another_floatx() -> None:
    labels = np.full((8, 100), 4, "int32")
    logits = np.zeros((8, 100, 11), "float32")
    logits[::2, :, 4] = 1
    results = []
    for floatx in ("float32", "float16"):
        keras.config.set_floatx(floatx)
        try:
            for metric in (Perplexity(), TokenAccuracy()):
                for _ in range(100):
                    metric.update_state(labels, logits)
                results.append(float(metric.result()))
        finally:
            keras.config.set_floatx("float32")
    assert results[2:] == results[:2]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("nbest", {"beam_size": 1}),
        ("nbest", {"beam_size": 3, "diversity_penalty": 0.5, "coverage_penalty": 0.1}),
        ("nbest", {"constraints": [["Haus"]] * len(TEXTS)}),
        ("sample", {"top_k": 5}),
    ],
)
def test_translates_with_another_floatx(method: str, options: dict) -> None:
    files = tiny_files()
    found = []
    for floatx in ("float32", "float16"):
        keras.config.set_floatx(floatx)
        try:
            translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
            rows = getattr(translator, method)(TEXTS, max_length=9, **options)
        finally:
            keras.config.set_floatx("float32")
        found.append([[(each.text, each.score) for each in row] for row in rows])
    assert found[0] == found[1]
