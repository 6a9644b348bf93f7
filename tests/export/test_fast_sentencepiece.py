"""TF Text's tokeniser for TensorFlow Lite reads as SentencePiece does, or says that it does not."""

import pytest
import sentencepiece
import tensorflow as tf
from questions import TEXTS

from keras_attn_nmt import Tokenizer
from keras_attn_nmt.export import fast_sentencepiece


def test_embedded_tokenizer_equals_sentencepiece(model_directory):
    tokenizer = Tokenizer.load(model_directory / "source.spm")
    texts = [*TEXTS, "zwei\tHäuser\nam  See", "日本語 ünï", "e\u0301 "]
    for text in texts:
        found = fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
        ids = tokenizer.encode([text])[0]
        assert found.numpy().tolist() == ids
        back = fast_sentencepiece.detokenize(tokenizer, tf.constant(ids, tf.int32))
        assert [back.numpy()[0].decode()] == tokenizer.decode([ids])


def test_bpe_vocabulary_is_rejected_for_text():
    tokenizer = Tokenizer.learn(["ein Haus am See"] * 3, 280, model_type="bpe")
    with pytest.raises(ValueError, match="a vocabulary that is not a unigram model"):
        fast_sentencepiece.tokenize(tokenizer, tf.constant(["ein"]))


@pytest.mark.parametrize(("symbol", "refused"), [("½", True), (">>de<<", False), ("Haus am", True)])
def test_symbols_that_normalization_changes_are_refused_for_text(tmp_path, symbol, refused):
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ein Haus am See"] * 3),
        model_prefix=str(tmp_path / "symbols"),
        vocab_size=40,
        hard_vocab_limit=False,
        user_defined_symbols=[symbol],
        minloglevel=2,
    )
    tokenizer = Tokenizer.from_sentencepiece(tmp_path / "symbols.model")
    text = f"ein {symbol} Haus"
    if refused:
        with pytest.raises(ValueError, match=f"normalizes its user-defined symbols {symbol}"):
            fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
    else:
        found = fast_sentencepiece.tokenize(tokenizer, tf.constant([text]))
        assert found.numpy().tolist() == tokenizer.encode([text])[0]
