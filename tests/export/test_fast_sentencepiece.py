"""TF Text's tokeniser for TensorFlow Lite reads as SentencePiece does, or says that it does not."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text
from questions import TEXTS
from tensorflow.lite.python.interpreter import InterpreterWithCustomOps

from keras_attn_nmt import Tokenizer
from keras_attn_nmt.export import fast_sentencepiece
from keras_attn_nmt.text.special_ids import EOS, PAD


def test_embedded_tokenizer_equals_sentencepiece(model_directory):
    tokenizer = Tokenizer.load(model_directory / "source.spm")
    texts = [*TEXTS, "zwei\tHäuser\nam  See", "日本語 ünï", "e\u0301 "]
    for text in texts:
        found = fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
        ids = tokenizer.encode([text])[0]
        assert found.numpy().tolist() == ids
        back = fast_sentencepiece.detokenize(tokenizer, tf.constant(ids, tf.int32))
        assert [back.numpy()[0].decode()] == tokenizer.decode([ids])


@pytest.mark.filterwarnings("ignore")  # The interpreter's successor has no place for other ops.
def test_spaces_at_the_start_are_those_of_sentencepiece(foreign_vocabulary):
    tokenizer = foreign_vocabulary()
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    space, letter = names.index("▁"), names.index("n")
    word = next(number for number, name in enumerate(names) if name[0] == "▁" < name)
    function = tf.function(
        lambda ids: fast_sentencepiece.detokenize(tokenizer, ids),
        input_signature=[tf.TensorSpec([6], tf.int32, "ids")],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.allow_custom_ops = True
    interpreter = InterpreterWithCustomOps(
        model_content=converter.convert(),
        custom_op_registerers=tensorflow_text.tflite_registrar.SELECT_TFTEXT_OPS,
    )
    interpreter.allocate_tensors()
    (given,), (text,) = interpreter.get_input_details(), interpreter.get_output_details()
    for ids in (
        [word, letter],
        [space, word],
        [space, space, letter],
        [letter, space, space, word],
        [space],
    ):
        padded = [*ids, EOS, PAD, PAD, PAD, PAD, PAD][:6]
        interpreter.set_tensor(given["index"], np.array(padded, "int32"))
        interpreter.invoke()
        found = interpreter.get_tensor(text["index"])[0].decode()
        assert found == tokenizer.decode([ids])[0], ids


def test_bpe_vocabulary_is_rejected_for_text():
    tokenizer = Tokenizer.learn(["ein Haus am See"] * 3, 280, model_type="bpe")
    with pytest.raises(ValueError, match="a vocabulary that is not a unigram model"):
        fast_sentencepiece.tokenize(tokenizer, tf.constant(["ein"]))


@pytest.mark.parametrize(("symbol", "refused"), [("½", True), (">>de<<", False), ("Haus am", True)])
def test_symbols_that_normalization_changes_are_refused(foreign_vocabulary, symbol, refused):
    tokenizer = foreign_vocabulary(user_defined_symbols=[symbol])
    text = f"ein {symbol} Haus"
    if refused:
        with pytest.raises(ValueError, match=f"normalizes its user-defined symbols {symbol}"):
            fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
    else:
        found = fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
        assert found.numpy().tolist() == tokenizer.encode([text])[0]
