"""Exports with float16 attention or without it, in a Session and behind the tests' server."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from questions import TEXTS
from serving_double import ServingDouble

from keras_attn_nmt import Translator
from keras_attn_nmt.export import (
    TranslationClient,
    export_saved_model,
    saved_model_check,
    signatures,
)
from keras_attn_nmt.export.load_for_export import load_for_export
from keras_attn_nmt.export.saved_model_runner import SavedModelTranslator

CONSTRAINTS = ["Haus\tlake", "", "two", "", "", ""]
INPUTS = {
    "serving_default": {"text": TEXTS},
    "translate_constrained": {"text": TEXTS, "constraints": CONSTRAINTS},
}


def saved_with(attention, model_directory, directory, names=tuple(INPUTS)):
    """Only some signatures, as tracing takes long."""
    files = load_for_export(model_directory)
    module = signatures.ServedTranslator(
        [files], files.search, constraints=len(names) > 1, attention=attention
    )
    some = {name: each for name, each in module.signatures().items() if name in names}
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(module, str(directory), signatures=some, options=options)
    # The server replays warm-up requests.
    warmup = directory / saved_model_check.WARMUP
    warmup.parent.mkdir()
    warmup.write_bytes(b"")
    return saved_model_check.SessionModel(directory)


def same_but_attention(model, session_model):
    for name in model.signatures.keys() & INPUTS:
        inputs = INPUTS[name]
        answers, wanted = (each.run(name, inputs) for each in (model, session_model))
        yield answers.pop("attention", None), wanted.pop("attention")
        assert set(answers) == set(wanted)
        for output, value in wanted.items():
            if value.dtype == object:
                assert (answers[output] == value).all()
            else:
                np.testing.assert_allclose(answers[output], value, atol=1e-5)


@pytest.mark.slow
def test_float16_attention_is_halved(model_directory, session_model, tmp_path):
    model = saved_with("float16", model_directory, tmp_path / "1")
    for attention, wanted in same_but_attention(model, session_model):
        assert attention.dtype == np.float16
        np.testing.assert_allclose(attention, wanted, atol=1e-3)
    model.close()
    with ServingDouble(tmp_path, "small") as double:
        with TranslationClient(double.grpc_address, "small") as client:
            (found,) = client(["ein Haus"])
            np.testing.assert_allclose(found.attention.sum(axis=1), 1, atol=1e-2)
        with (
            TranslationClient(double.rest_address, "small") as client,
            pytest.raises(ValueError, match="which REST cannot return: use gRPC"),
        ):
            client(["ein Haus"])


def test_attention_is_left_out(model_directory, session_model, tmp_path):
    model = saved_with("none", model_directory, tmp_path / "1", ["serving_default"])
    ((attention, _),) = same_but_attention(model, session_model)
    assert attention is None
    model.close()
    with (
        ServingDouble(tmp_path, "small") as double,
        TranslationClient(double.rest_address, "small", batch_size=1) as client,
    ):
        (found,) = client(["ein Haus"])
        assert found.target_tokens
        assert found.attention.shape == (len(found.target_tokens), len(found.source_tokens))
        assert not found.attention.any()
        predict = mock.patch.object(client._transport, "predict", wraps=client._transport.predict)
        with predict as sent, pytest.raises(ValueError, match="export it with --attention float32"):
            client(["<b>ein</b> Haus", "zwei"], markup=True)
        sent.assert_called_once()


@pytest.mark.slow
@pytest.mark.usefixtures("checked_here")
def test_lists_of_a_diverse_search_may_be_shorter_than_the_beam(model_directory, tmp_path):
    # All hypotheses are that of greedy search, so that they are one.
    options = {"beam_size": 3, "diversity_penalty": 1e-6, "max_length": 8}
    version = export_saved_model(model_directory, tmp_path, **options)
    served = SavedModelTranslator(version).nbest(["ein Haus"])
    wanted = Translator.load(model_directory).nbest(["ein Haus"], **options)
    assert [[each.text for each in row] for row in served] == [[each.text for each in wanted[0]]]
    assert len(wanted[0]) == 1


def test_constraints_with_a_diversity_penalty_are_rejected(model_directory, tmp_path):
    with pytest.raises(ValueError, match="not available with a glossary or constraints"):
        export_saved_model(model_directory, tmp_path, constraints=True, diversity_penalty=0.5)
    assert not list(tmp_path.iterdir())


def test_unknown_attention_is_rejected(model_directory, tmp_path):
    with pytest.raises(ValueError, match="one of float32, float16, none, got 'half'"):
        export_saved_model(model_directory, tmp_path, attention="half")
