"""The search of a SavedModel in a graph, without an export."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from tiny_translator import TEXTS, tiny_files

from keras_attn_nmt import Translator
from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.decoding.hypotheses import backtrace
from keras_attn_nmt.decoding.incremental_decoder import IncrementalDecoder
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.decoding.shortlist import Shortlist
from keras_attn_nmt.export.served_search import ServedOperations
from keras_attn_nmt.export.signatures import ServedTranslator
from keras_attn_nmt.export.stepwise_decoder import StepwiseDecoder
from keras_attn_nmt.text.special_ids import EOS, PAD
from keras_attn_nmt.translation import IMPOSSIBLE


def test_greedy_search_with_a_shortlist():
    files = tiny_files()
    size = files.target_tokenizer.vocabulary_size
    candidates = np.random.default_rng(1).integers(4, size, (size, 3)).astype("int32")
    shortlist = Shortlist(candidates, np.array([5, 9], "int32"))
    rows = [[*ids, EOS] if ids else [] for ids in files.source_tokenizer.encode(TEXTS)]
    longest = max(map(len, rows))
    source = np.array([row + [PAD] * (longest - len(row)) for row in rows], "int32")
    options = SearchOptions(1, 0.6, 12)
    decoder = StepwiseDecoder(files.model, shortlist=shortlist)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False)
    def served(ids):
        return backtrace(searching.find(decoder, ids, options, ServedOperations()))

    wanted = searching.search(IncrementalDecoder(files.model, None, shortlist), source, options)
    found = served(source)
    steps = found.tokens.shape[2]
    assert steps == wanted.lengths.numpy().max() > 1
    np.testing.assert_array_equal(found.tokens, wanted.tokens[:, :, :steps])
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-5)
    np.testing.assert_allclose(found.attention, wanted.attention[:, :, :steps], atol=1e-5)


@pytest.mark.parametrize("attention", ["float32", pytest.param("none", marks=pytest.mark.slow)])
def test_diversity_penalty(attention):
    files = tiny_files()
    options = SearchOptions(3, 0.6, 9, diversity_penalty=0.5)
    served = ServedTranslator([files], options, attention=attention).signatures()["nbest"]
    answers = served(text=tf.constant(TEXTS))
    translator = Translator(files.model, files.source_tokenizer, files.target_tokenizer)
    wanted = translator.nbest(TEXTS, **dataclasses.asdict(options))
    plain = translator.nbest(TEXTS, **dataclasses.asdict(options) | {"diversity_penalty": 0.0})
    assert [each.text for each in wanted[2]] != [each.text for each in plain[2]]
    for row, hypotheses in enumerate(wanted):
        for place, each in enumerate(hypotheses):
            assert answers["translation"][row, place].numpy().decode() == each.text
            assert float(answers["score"][row, place]) == pytest.approx(each.score, abs=1e-4)
        # Equal hypotheses are empty.
        assert (answers["score"][row, len(hypotheses) :].numpy() == IMPOSSIBLE).all()
