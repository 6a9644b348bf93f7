"""Converts word alignments to token alignments of a batch, in a TensorFlow graph."""

from __future__ import annotations

import tensorflow as tf

from keras_attn_nmt.text.alignment import SPACE
from keras_attn_nmt.text.special_ids import EOS, PAD
from keras_attn_nmt.text.tokenizer import Tokenizer


def parse_links(alignment: tf.Tensor) -> tf.RaggedTensor:
    """Parses Pharaoh lines, (pairs,), to int32 (pairs, links, 2); possible links included."""
    links = tf.strings.split(alignment)
    numbers = tf.strings.split(tf.strings.regex_replace(links.flat_values, "[-p?]", " "))
    numbers = tf.strings.to_number(numbers.to_tensor("0", shape=(None, 2)), tf.int32)
    return links.with_flat_values(numbers)


def sure_links(alignment: tf.Tensor) -> tf.RaggedTensor:
    """`parse_links` of sure links alone, which models are trained on.

    Target words without a sure link are left free; possible links beside a sure one count as
    wrong. Models that are guided by possible links, too, make more errors.
    """
    return parse_links(tf.strings.regex_replace(alignment, r"\d+[p?]\d+", ""))


def count_words(text: tf.Tensor) -> tf.Tensor:
    """Number of space-separated words of texts, (pairs,), int32 (pairs,)."""
    words = tf.strings.split(tf.strings.regex_replace(text, SPACE, " "), " ")
    return tf.reduce_sum(tf.cast(tf.strings.length(words) > 0, tf.int32), axis=1)


class TokenWords:
    """`alignment.word_of_tokens` as TensorFlow ops for one vocabulary."""

    def __init__(self, tokenizer: Tokenizer):
        pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
        self._is_letters = tf.constant([bool(piece.strip(SPACE)) for piece in pieces])
        self._begins = tf.constant([piece.startswith(SPACE) for piece in pieces])
        self._ends = tf.constant([piece.endswith(SPACE) for piece in pieces])

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Ids, (B, L), to word indices, int32 (B, L); -1 for tokens outside of words."""
        mask = (ids != PAD) & (ids != EOS)
        letters = mask & tf.gather(self._is_letters, ids)
        after_space = tf.pad(
            tf.gather(self._ends, ids[:, :-1]), [[0, 0], [1, 0]], constant_values=True
        )
        starts = letters & (tf.gather(self._begins, ids) | after_space)
        word = tf.cumsum(tf.cast(starts, tf.int32), axis=1) - 1
        # A bare space piece belongs to the following word, if any.
        last = tf.reduce_max(word, axis=1, keepdims=True)
        word = tf.where(letters, word, word + 1)
        return tf.where(mask & (word <= last), word, -1)

    def count(self, ids: tf.RaggedTensor) -> tf.Tensor:
        """Number of words of ids without padding, (B, L), int32 (B,)."""
        return tf.maximum(tf.reduce_max(self(ids.to_tensor(PAD)), axis=1), -1) + 1


def token_alignment(
    links: tf.RaggedTensor, source_words: tf.Tensor, target_words: tf.Tensor
) -> tf.Tensor:
    """Expands word links to links between all of their tokens.

    Args:
        links: int32 (B, links, 2).
        source_words: Word index of each source token, (B, S).
        target_words: Word index of each target token, (B, T).

    Returns:
        float32 (B, T, S), 1 for linked tokens, else 0.
    """
    from_words, to_words = (
        tf.one_hot(words, tf.reduce_max(words) + 1) for words in (target_words, source_words)
    )
    pair = tf.cast(links.value_rowids(), tf.int32)
    place = tf.stack([pair, links.flat_values[:, 1], links.flat_values[:, 0]], axis=1)
    shape = [tf.shape(from_words)[0], tf.shape(from_words)[2], tf.shape(to_words)[2]]
    linked = tf.minimum(tf.scatter_nd(place, tf.ones(tf.shape(pair)), shape), 1.0)
    tokens = tf.matmul(from_words, tf.matmul(linked, to_words, transpose_b=True))
    return tf.ensure_shape(tokens, [None, None, None])
