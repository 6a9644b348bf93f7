"""Custom functional models: translation, saving, loading and export."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from keras_attn_nmt import (
    AttentionDecoder,
    BidirectionalEncoder,
    MaskedCrossentropy,
    ModelConfig,
    Perplexity,
    TanhReadout,
    Tokenizer,
    TranslationModel,
    Translator,
    build_model,
    model_file,
)
from keras_attn_nmt.decoding.model_parts import ModelParts
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.layers.attention import Attention

TEXTS = ["a house", "two houses", "a lake", "two lakes by a house"]


@keras.saving.register_keras_serializable(package="test_hand_built")
class SquaredDistance(Attention):
    """A score that nobody wrote a backward pass for: minus the distance of query and key."""

    def build(self, state_shape, annotations_shape, **_):
        self.query_projection = self._projection("query", state_shape, 6)
        self.key_projection = self._projection("key", annotations_shape, 6)

    def score(self, query, keys):
        difference = ops.expand_dims(query, 2) - ops.expand_dims(keys, 1)
        return -ops.sum(difference**2, axis=-1)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn(TEXTS * 3, 290)


def hand_built(tokenizer, *, mask_zero=False, previous_token=False):
    """The model of docs/python.md, with custom layers and layer names."""
    size = tokenizer.vocabulary_size
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    mask = {} if mask_zero else {"mask": source != 0}
    embedded = keras.layers.Embedding(size, 16, mask_zero=mask_zero)(source)
    embedded = keras.layers.Dense(16)(embedded)
    annotations, sentence_vector = BidirectionalEncoder(16, cell="lstm")(embedded, **mask)
    embedded = keras.layers.LayerNormalization()(keras.layers.Embedding(size, 16)(target))
    states, previous_states, contexts, attention = AttentionDecoder(
        32,
        cell="lstm",
        attention=SquaredDistance(),
        initial_state_units=16,
        query_previous_token=previous_token,
    )(embedded, annotations, sentence_vector, **mask)
    features = TanhReadout(32)(embedded, states, previous_states, contexts)
    logits = keras.layers.Dense(size)(keras.layers.Dropout(0.1)(features))
    return keras.Model([source, target], [logits, attention])


@pytest.fixture(scope="module")
def trained(tokenizer):
    """A translator that has learned to give the text back."""
    # With seed 2, rounding of a version of Keras decides whether the last steps are learned.
    keras.utils.set_random_seed(4)
    model = hand_built(tokenizer, previous_token=True)
    model.compile(keras.optimizers.Adam(0.02), loss=[MaskedCrossentropy(), None])
    # Else the step is traced once to make the optimizer's variables, and once more.
    model.optimizer.build(model.trainable_variables)
    rows = [[*ids, 2] for ids in tokenizer.encode(TEXTS)]
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows], "int32")
    shifted = np.concatenate([np.ones_like(ids[:, :1]), ids[:, :-1]], axis=1)
    # One epoch of many steps, as an epoch costs more than its steps do.
    ids, shifted = np.tile(ids, (160, 1)), np.tile(shifted, (160, 1))
    model.fit([ids, shifted], ids, batch_size=len(rows), shuffle=False, verbose=0)
    return Translator(model, tokenizer, tokenizer, search=SearchOptions(3, 1.0, 16))


def test_custom_model_translates_with_attention(trained):
    found = trained(TEXTS)
    assert [each.text for each in found] == TEXTS
    for each in found:
        np.testing.assert_allclose(each.attention.sum(axis=1), 1, atol=1e-5)
    scored = trained.score(TEXTS, TEXTS)
    for searched, given in zip(found, scored, strict=True):
        np.testing.assert_allclose(searched.score, given.score, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(searched.attention, given.attention, atol=1e-5)


def test_results_are_independent_of_padding(trained):
    together = trained(TEXTS)
    for text, other in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(trained([text])[0].attention, other.attention, atol=1e-5)


def test_custom_model_saves_as_model_directory(trained, tmp_path):
    trained.save(tmp_path / "model")
    loaded = Translator.load(tmp_path / "model")
    assert loaded.config is None
    for ours, theirs in zip(trained(TEXTS), loaded(TEXTS), strict=True):
        assert ours.text == theirs.text
        np.testing.assert_allclose(ours.attention, theirs.attention, atol=1e-6)


def test_unregistered_custom_class_is_named(trained, tmp_path):
    trained.save(tmp_path / "model")
    # A process of its own has not imported this module.
    command = [sys.executable, "-m", "keras_attn_nmt.cli", "translate", str(tmp_path / "model")]
    found = subprocess.run(command, input=TEXTS[0], capture_output=True, text=True)
    assert found.returncode == 1
    assert "custom classes that are not registered: test_hand_built>SquaredDistance." in (
        found.stderr
    )
    assert "The command line cannot import it: use Translator.load in Python" in found.stderr


def test_a_class_of_a_notebook_is_named(trained, tokenizer, tmp_path):
    # What keras.saving writes for classes of __main__ differs.
    notebook = type("FromNotebook", (keras.Model,), {"__module__": "__main__"})
    model = trained.model
    Translator(notebook(model.input, model.output), tokenizer, tokenizer).save(tmp_path / "model")
    with pytest.raises(ValueError, match="classes that are not registered: FromNotebook"):
        Translator.load(tmp_path / "model")


def test_metrics_of_logits_alone(tokenizer):
    model = hand_built(tokenizer, mask_zero=True)
    logits, attention = model.output
    model = TranslationModel(model.input, {"logits": logits, "attention": attention})
    model.compile(loss={"logits": MaskedCrossentropy()}, metrics={"logits": [Perplexity()]})
    ids = np.array([[5, 6, 2], [7, 2, 0]], "int32")
    found = model.evaluate([ids, ids], ids, verbose=0, return_dict=True)
    (perplexity,) = (value for name, value in found.items() if "perplexity" in name)
    np.testing.assert_allclose(perplexity, np.exp(found["loss"]), rtol=1e-4)


def test_damaged_file_of_a_custom_model_is_rejected(trained, tmp_path):
    trained.save(tmp_path / "model")
    (tmp_path / "model" / "model.keras").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"model\.keras is damaged"):
        Translator.load(tmp_path / "model")


@keras.saving.register_keras_serializable(package="test_hand_built")
class Within(keras.layers.Layer):
    """Has such a layer, and another that is loaded."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.table, self.dense = Table(), keras.layers.Dense(3)

    def build(self, shape):
        self.table.build(shape)
        self.dense.build(shape)

    def call(self, inputs):
        return self.table(self.dense(inputs))


@keras.saving.register_keras_serializable(package="test_hand_built")
class Table(keras.layers.Layer):
    """Has a weight that is computed, not saved."""

    def build(self, _):
        self.table = self.add_weight(shape=(3,), initializer="ones", trainable=False)

    def call(self, inputs):
        return inputs * self.table

    def save_own_variables(self, store):
        """Nothing to save."""

    load_own_variables = save_own_variables


@pytest.mark.parametrize("layer", [Table, Within])
def test_weights_that_a_layer_computes_need_not_be_in_the_file(layer, tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layer()(keras.layers.Dense(3)(inputs)))
    model.save(tmp_path / "model.keras")
    wanted = model.get_weights()
    model_file.load_weights(model, tmp_path / "model.keras")
    for found, each in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_array_equal(found, each)


def test_keras_file_saves_as_model_directory(trained, tokenizer, tmp_path):
    config = ModelConfig(
        *(tokenizer.vocabulary_size,) * 2, embedding_units=6, encoder_units=5, decoder_units=7
    )
    build_model(config).save(tmp_path / "built.keras")
    model = keras.saving.load_model(tmp_path / "built.keras")
    translator = Translator(model, tokenizer, tokenizer)
    translator.save(tmp_path / "model")
    assert Translator.load(tmp_path / "model").config == config


def test_implicit_keras_mask_is_used(tokenizer):
    keras.utils.set_random_seed(2)
    translator = Translator(hand_built(tokenizer, mask_zero=True), tokenizer, tokenizer)
    single, *_ = translator([TEXTS[0]])
    first, *_ = translator(TEXTS)
    np.testing.assert_allclose(single.attention, first.attention, atol=1e-5)


def small(
    tokenizer, *, target_side=None, logits=None, masked=True, mask_input=None, mask_name="mask"
):
    """A model of few units, with layers of the caller's on the target side and for the logits."""
    size = tokenizer.vocabulary_size
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32")
    mask = {"mask": source != 0 if mask_input is None else mask_input} if masked else {}
    annotations, vector = BidirectionalEncoder(5)(keras.layers.Embedding(size, 8)(source), **mask)
    embedded = keras.layers.Embedding(size, 6)(target)
    embedded = embedded if target_side is None else target_side(embedded)
    mask = {mask_name: mask["mask"]} if mask else {}
    decoded = AttentionDecoder(9, attention_units=4)(embedded, annotations, vector, **mask)
    inputs = [source, target] if mask_input is None else [source, target, mask_input]
    if logits is None:
        return keras.Model(inputs, keras.layers.Dense(size)(decoded[0]))
    return keras.Model(inputs, logits(vector, *decoded))


def test_layer_may_occur_before_and_after_the_decoder(tokenizer):
    dropout, output = keras.layers.Dropout(0.1), keras.layers.Dense(tokenizer.vocabulary_size)
    model = small(
        tokenizer,
        target_side=dropout,
        logits=lambda vector, states, *_: output(dropout(states)) * 0.5,
    )
    assert len(Translator(model, tokenizer, tokenizer)(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize("other", ["again", "second"])  # Before and after `logits`.
def test_decoder_may_have_another_call_for_another_output(other):
    ids = [keras.Input((None,), dtype="int32") for _ in range(2)]
    mask = ids[0] != 0
    annotations, vector = BidirectionalEncoder(3)(keras.layers.Embedding(9, 4)(ids[0]), mask=mask)
    embedded = keras.layers.Embedding(9, 4)(ids[1])
    decoder, output = AttentionDecoder(5, attention_units=4), keras.layers.Dense(9)
    states, *_, attention = decoder(embedded, annotations, vector, mask=mask)
    states_again, *_ = decoder(embedded * 2, annotations, vector, mask=mask)
    outputs = {"logits": output(states), "attention": attention, other: output(states_again)}
    model = keras.Model(ids, outputs)
    source, target = np.array([[5, 6, 2]], "int32"), np.array([[1, 7]], "int32")
    wanted = model([source, target])
    found = ModelParts.of(model).model({"source": source, "target": target})
    for name in ("logits", "attention"):
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (found[name], wanted[name])))


@pytest.mark.slow
def test_mask_may_be_that_of_the_annotations(tokenizer):
    keras.utils.set_random_seed(3)
    mask = small(tokenizer)
    annotations_mask = small(tokenizer, mask_name="annotations_mask")
    annotations_mask.set_weights(mask.get_weights())
    first, second = (Translator(each, *[tokenizer] * 2)(TEXTS) for each in (mask, annotations_mask))
    assert [each.score for each in first] == [each.score for each in second]


def test_a_model_with_other_weights_needs_another_translator(tokenizer):
    model = small(tokenizer)
    translator = Translator(model, tokenizer, tokenizer)
    translator(TEXTS)
    model.layers[-1].enable_lora(2)
    for use in (translator, translator.embed, lambda texts: translator.score(texts, texts)):
        with pytest.raises(RuntimeError, match=r"other weights than .* make a new Translator"):
            use(TEXTS)
    assert len(Translator(model, tokenizer, tokenizer)(TEXTS)) == len(TEXTS)


def test_models_without_incremental_decoding_are_rejected(tokenizer):
    size = tokenizer.vocabulary_size
    output = keras.layers.Dense(size)
    refused = {
        "not a functional model": keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]),
        "cannot be decoded incrementally": small(
            tokenizer, target_side=keras.layers.Conv1D(6, 2, padding="causal")
        ),
        "depend on padding: pass mask": small(tokenizer, masked=False),
        "probabilities, expected logits: remove the softmax": small(
            tokenizer,
            logits=lambda vector, states, *_: keras.layers.Dense(size, "softmax")(states),
        ),
        r"\(real, source\), expected one": small(
            tokenizer, mask_input=keras.Input((None,), dtype="bool", name="real")
        ),
        "here they depend on something else": small(
            tokenizer,
            logits=lambda vector, states, *_: output(
                keras.layers.Concatenate()(
                    [states, keras.layers.Dense(9)(vector)[:, None] + 0 * states]
                )
            ),
        ),
    }
    for message, model in refused.items():
        with pytest.raises(ValueError, match=message):
            Translator(model, tokenizer, tokenizer)
    with pytest.raises(ValueError, match=f"{size} source"):
        Translator(hand_built(tokenizer), Tokenizer.learn(["ein Haus"] * 3, 290), tokenizer)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports need TensorFlow")
@pytest.mark.usefixtures("checked_here")
def test_custom_model_exports_to_saved_model(trained, tmp_path):
    from keras_attn_nmt.export import export_saved_model
    from keras_attn_nmt.export.saved_model_check import SessionModel

    trained.save(tmp_path / "model")
    served = SessionModel(export_saved_model(tmp_path / "model", tmp_path / "served"))
    answer = served.run("serving_default", {"text": TEXTS})
    served.close()
    expected = trained(TEXTS)
    assert [each.decode() for each in answer["translation"]] == [each.text for each in expected]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="exports need TensorFlow")
@pytest.mark.parametrize(
    ("signatures", "beam_sizes"),
    [(["translate"], [1]), pytest.param(None, [1, 2], marks=pytest.mark.slow)],
)
def test_custom_model_exports_to_tflite(trained, tmp_path, signatures, beam_sizes):
    from keras_attn_nmt.export import TFLiteTranslator, export_tflite

    trained.save(tmp_path / "model")
    path = tmp_path / "device.tflite"
    lengths = {"max_source_length": 16, "max_target_length": 16}
    export_tflite(tmp_path / "model", path, signatures=signatures, **lengths)
    for size in beam_sizes:
        on_device = TFLiteTranslator(path)(TEXTS, beam_size=size)
        for found, wanted in zip(on_device, trained(TEXTS, beam_size=size), strict=True):
            assert found.text == wanted.text
            np.testing.assert_allclose(found.attention, wanted.attention, atol=1e-4)
