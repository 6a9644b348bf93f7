"""Vocabulary shortlists with fixed shapes for `.tflite` files.

source -> DeviceShortlist.choose -> DeviceVocabulary: columns, and penalties of padding ones
columns -> DeviceDecoder.output_weights -> ActiveWeights (once per sentence)
"""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from keras_attn_nmt.decoding.shortlist import GROUP, ActiveVocabulary, Shortlist
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.text.special_ids import PAD, UNK

# Share of the vocabulary up to which columns are faster than all logits, with int8 weights.
LARGEST_SHARE = 0.25

logger = logging.getLogger(__name__)


class ActiveWeights(NamedTuple):
    """The output layer and the embeddings of the active vocabulary of a sentence.

    Attributes:
        kernel: `(columns, features)`.
        bias: `(columns,)`.
        embedded: `(columns, embedding_units)`.
        columns: Column of each target id, or 0, int32, `(vocabulary_size,)`.
    """

    kernel: Any
    bias: Any
    embedded: Any
    columns: Any


class DeviceVocabulary(ActiveVocabulary):
    """An active vocabulary whose mask is added: XNNPACK does not select."""

    def mask(self, logits: tf.Tensor) -> tf.Tensor:
        """See `ActiveVocabulary.mask`."""
        # The converter leaves it in the loop, but computes the penalties before.
        return logits + tf.expand_dims(self.allowed, 1)


class DeviceShortlist(Shortlist):
    """A shortlist with fixed shapes.

    The columns of one sentence are as many as its pieces could have candidates. Where they are
    many, or for several sentences or hypotheses, all logits are computed and masked.
    """

    @classmethod
    def of(cls, shortlist: Shortlist) -> DeviceShortlist:
        """The same shortlist, in a smaller table if possible."""
        fits = shortlist.candidates.max() <= np.iinfo("int16").max
        return cls(shortlist.candidates.astype("int16" if fits else "int32"), shortlist.common)

    def columns(self, places: int, vocabulary_size: int) -> int | None:
        """Number of columns of one sentence; `None` where it is faster to compute all logits."""
        most = UNK + 1 + len(self.common) + places * self.candidates.shape[1]
        columns = -(-most // GROUP) * GROUP
        return columns if columns <= vocabulary_size * LARGEST_SHARE else None

    def warn_if_useless(self, places: int, vocabulary_size: int) -> None:
        """Logs a warning if no signature of a file is faster with it.

        Args:
            places: Source length of the signature for the shortest sentences.
            vocabulary_size: Size of the target vocabulary.
        """
        if self.columns(places, vocabulary_size) is None:
            most = int(vocabulary_size * LARGEST_SHARE) // GROUP * GROUP
            others = most - UNK - 1 - len(self.common)
            longest, candidates = others // self.candidates.shape[1], others // places - 1
            ways = ["export it without --shortlist"]
            if longest > 1:
                ways.append(f"with a --max-source-length of at most {longest}")
            if candidates > 0:
                ways.append(f"with a shortlist of at most {candidates} --candidates a piece")
            logger.warning(
                "the shortlist does not make this file faster: %d source pieces have candidates "
                "for more than a quarter of the %d target pieces; %s",
                *(places, vocabulary_size, ", or ".join(ways)),
            )

    def allowed(self, source: tf.Tensor, vocabulary_size: int) -> tf.Tensor:
        """1 for target ids that a sentence may use, else 0, int32, `(batch, vocabulary_size)`."""
        batch = source.shape[0]
        candidates = tf.cast(tf.gather(self.candidates, source), tf.int32)
        candidates = tf.where(tf.expand_dims(source != PAD, -1), candidates, PAD)
        always = tf.concat([tf.range(UNK + 1), self.common], axis=0)
        always = tf.broadcast_to(tf.expand_dims(always, 0), (batch, always.shape[0]))
        ids = tf.concat([always, tf.reshape(candidates, (batch, -1))], axis=1)
        ids += tf.expand_dims(tf.range(batch) * vocabulary_size, 1)
        places = tf.reshape(ids, (-1, 1))
        ones = tf.ones_like(tf.squeeze(places, 1))
        counts = tf.scatter_nd(places, ones, (batch * vocabulary_size,))
        return tf.reshape(tf.minimum(counts, 1), (batch, vocabulary_size))

    def choose(
        self, source: tf.Tensor, vocabulary_size: int, beam_size: int, more: Any = None
    ) -> ActiveVocabulary:
        """See `Shortlist.choose`."""
        allowed = self.allowed(source, vocabulary_size)
        columns = self.columns(source.shape[1], vocabulary_size)
        if source.shape[0] > 1 or beam_size > 1 or columns is None:
            penalties = tf.cast(1 - allowed, tf.float32) * MASKED
            return DeviceVocabulary(tf.range(vocabulary_size), penalties)
        allowed = tf.squeeze(allowed, 0)
        # All other ids share one more column, which is left out.
        places = tf.where(allowed > 0, tf.cumsum(allowed) - 1, columns)
        ids = tf.scatter_nd(tf.expand_dims(places, 1), tf.range(vocabulary_size), (columns + 1,))
        padding = tf.cast(tf.range(columns) >= tf.reduce_sum(allowed), tf.float32)
        penalties = tf.expand_dims(padding * MASKED, 0)
        return DeviceVocabulary(tf.slice(ids, [0], [columns]), penalties)
