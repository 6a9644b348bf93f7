"""Constraints of texts as strings of a graph, and the search with them.

    "Hund\\thound\\tmutt\\n\\tCity"  ->  ids of phrases and terms -> `constrained_search`

One line a constraint: the source term, and the target phrases of which any one will do, separated
by tabs. A line without a tab is one phrase, whose source term is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from keras_attn_nmt.decoding.constrained_search import constrained_search
from keras_attn_nmt.decoding.constraints import Constraints, PieceTables
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.hypotheses import Hypotheses
from keras_attn_nmt.decoding.search import Operations
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.export.client import MOST_PHRASES
from keras_attn_nmt.text.blank import BLANK_PATTERN
from keras_attn_nmt.text.special_ids import BOS, PAD, UNK

if TYPE_CHECKING:
    import tensorflow_text

# The cost of a step grows with all of them, and they are those of the whole batch: limits keep the
# constraints of one text from delaying the others, as does `MOST_PHRASES`.
MOST_CONSTRAINTS = 16
MOST_TOKENS = 16

# From ids to a number of hypotheses.
Find = Callable[[tf.Tensor, int], Hypotheses]


def search_with_constraints(
    decoder: Decoder,
    source: tf.Tensor,
    constraints: Constraints,
    tables: PieceTables,
    options: SearchOptions,
    operations: Operations,
    find: Find,
) -> tuple[Hypotheses, tf.Tensor]:
    """Searches texts with constraints by `constrained_search`, and all others as without.

    Args:
        decoder: The model.
        source: Padded ids, int32, `(batch, source_length)`.
        constraints: Of the texts, see `read_constraints`.
        tables: Of the target vocabulary.
        options: The search options.
        operations: Those of the search.
        find: The search without constraints.

    Returns:
        The best hypothesis of each text, and how many constraints it meets, int32, `(batch,)`.
    """
    given = tf.reduce_any(constraints.phrases != PAD, axis=(2, 3))
    constrained = tf.reduce_any(given, axis=1)
    with_them = tf.where(constrained)[:, 0]
    without = tf.where(~constrained)[:, 0]
    plain = find(tf.gather(source, without), 1)
    # The rows of both.
    own = Constraints(*(tf.gather(each, with_them) for each in constraints))
    found, met = constrained_search(
        decoder, tf.gather(source, with_them), own, tables, options, operations
    )
    place = tf.argsort(tf.concat([without, with_them], axis=0))
    hypotheses = _merged(plain, Hypotheses(*(_best(each) for each in found)), place)
    met = tf.cast(met[:, 0] & tf.gather(given, with_them), tf.int32)
    counts = tf.concat([tf.zeros_like(without, tf.int32), tf.reduce_sum(met, axis=1)], axis=0)
    return hypotheses, tf.gather(counts, place)


def _best(tensor: tf.Tensor | None) -> tf.Tensor | None:
    return None if tensor is None else tensor[:, :1]


def _merged(first: Hypotheses, second: Hypotheses, place: tf.Tensor) -> Hypotheses:
    """The hypotheses of two batches, of different target lengths, in the given order."""
    width = tf.maximum(tf.shape(first.tokens)[2], tf.shape(second.tokens)[2])

    def padded(tensor: tf.Tensor) -> tf.Tensor:
        rank = len(tensor.shape)
        if rank < 3:
            return tensor
        after = [[0, width - tf.shape(tensor)[2]], *[[0, 0]] * (rank - 3)]
        return tf.pad(tensor, [[0, 0], [0, 0], *after])

    def merge(tensors: tuple[tf.Tensor | None, ...]) -> tf.Tensor | None:
        if any(each is None for each in tensors):
            return None
        return tf.gather(tf.concat([padded(each) for each in tensors], axis=0), place)

    return Hypotheses(*(merge(both) for both in zip(first, second, strict=True)))


def read_constraints(
    text: tf.Tensor,
    source: tensorflow_text.SentencepieceTokenizer,
    target: tensorflow_text.SentencepieceTokenizer,
    max_length: int,
) -> tuple[Constraints, tf.Tensor]:
    """Encodes the constraints of texts.

    A phrase that the target vocabulary cannot write or that has more than `MOST_TOKENS` is all
    padding, and so is a longer term. Constraints beyond `MOST_CONSTRAINTS` of a text and phrases
    beyond `MOST_PHRASES` of a constraint are left out. No text can fail its batch.

    Args:
        text: One line a constraint (see above), string, `(batch,)`.
        source: Tokenizer of the terms.
        target: Tokenizer of the phrases.
        max_length: Maximum target length; longer phrases are all padding, too.

    Returns:
        The constraints, and their number, int32, `(batch,)`.
    """
    text = tf.strings.unicode_transcode(text, "UTF-8", "UTF-8", replacement_char=0xFFFD)
    lines = tf.strings.split(tf.strings.regex_replace(text, "\r", "\n"), "\n")
    written = ~tf.strings.regex_full_match(lines.flat_values, BLANK_PATTERN)
    lines = tf.ragged.boolean_mask(lines, lines.with_flat_values(written))
    count = tf.cast(lines.row_lengths(), tf.int32)
    lines = lines[:, :MOST_CONSTRAINTS]
    rows = lines.flat_values
    tabbed = tf.strings.regex_full_match(rows, "[^\t]*\t.*")
    terms = tf.where(tabbed, tf.strings.regex_replace(rows, "\t.*", ""), "")
    terms = _short(source.tokenize(_normalized(terms)), MOST_TOKENS)
    phrases = tf.strings.split(tf.strings.regex_replace(rows, "^[^\t]*\t", ""), "\t")
    phrases = phrases[:, :MOST_PHRASES]
    phrases = phrases.with_flat_values(_normalized(phrases.flat_values))
    ids = phrases.with_flat_values(
        _encoded(phrases.flat_values, target, min(MOST_TOKENS, max_length - 1))
    ).to_tensor(PAD)
    shape = tf.shape(ids)
    ids = tf.reshape(ids, [shape[0], shape[1] * 2, shape[3]])
    constraints = Constraints(
        _padded(lines.with_flat_values(ids)), _padded(lines.with_flat_values(terms))
    )
    return constraints, count


def _normalized(text: tf.Tensor) -> tf.Tensor:
    """Texts with single spaces, as in a `Constraint`."""
    return tf.strings.strip(tf.strings.regex_replace(text, " +", " "))


def _encoded(
    phrases: tf.Tensor, target: tensorflow_text.SentencepieceTokenizer, longest: int
) -> tf.Tensor:
    """Ids of phrases as they are, and with a capital at the beginning of a translation.

    Args:
        phrases: Strings, `(phrases,)`.
        target: The tokenizer.
        longest: Most tokens of a phrase.

    Returns:
        int32, `(phrases, 2, length)`.
    """
    first = tf.strings.substr(phrases, 0, 1, unit="UTF8_CHAR")
    rest = tf.strings.substr(phrases, tf.strings.length(first), tf.strings.length(phrases))
    upper = tf.strings.upper(first, encoding="utf-8")
    blank = tf.strings.regex_full_match(phrases, BLANK_PATTERN)[:, tf.newaxis]
    small = tf.where(blank, PAD, _writable(target.tokenize(phrases), longest))
    capital = _writable(target.tokenize(upper + rest), longest)
    begins = tf.where(capital[:, :1] == PAD, PAD, BOS)
    capital = tf.concat([begins, capital], axis=1)
    capital = tf.where((upper != first)[:, tf.newaxis], capital, PAD)
    width = tf.maximum(tf.shape(small)[1], tf.shape(capital)[1])
    both = (tf.pad(ids, [[0, 0], [0, width - tf.shape(ids)[1]]]) for ids in (small, capital))
    return tf.stack(list(both), axis=1)


def _writable(ids: tf.RaggedTensor, longest: int) -> tf.Tensor:
    """Padded ids, all padding where one is unknown; at least one column."""
    dense = _short(ids, longest)
    dense = tf.where(tf.reduce_any(dense == UNK, axis=1, keepdims=True), PAD, dense)
    return tf.pad(dense, [[0, 0], [0, tf.maximum(0, 1 - tf.shape(dense)[1])]])


def _short(ids: tf.RaggedTensor, longest: int) -> tf.Tensor:
    """Padded ids, all padding where there are more than `longest`."""
    fits = ids.row_lengths() <= longest
    return tf.where(fits[:, tf.newaxis], ids[:, :longest].to_tensor(PAD), PAD)


def _padded(ids: tf.RaggedTensor) -> tf.Tensor:
    """Ids with padding, at least 1 in each axis but the first."""
    dense = ids.to_tensor(PAD)
    missing = tf.maximum(0, 1 - tf.shape(dense)[1:])
    after = tf.concat([[0], missing], axis=0)
    return tf.pad(dense, tf.stack([tf.zeros_like(after), after], axis=1))
