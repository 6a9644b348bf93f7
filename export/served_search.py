"""Operations of a search that are fast in a SavedModel on a CPU, for batches of any size.

    loop over segments: gather the sentences that are not finished
        loop over steps, until a fifth of the segment has finished

A batch takes as many steps as its longest translation: finished sentences are removed from the
batch, for which a third of the work would be done otherwise.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from keras_attn_nmt.decoding import search as searching
from keras_attn_nmt.text.special_ids import EOS

# A segment ends when fewer of its sentences are unfinished.
UNFINISHED = 0.8


class ServedOperations(searching.Operations):
    """See `Operations`. Sizes are those of the longest translation, not the maximum.

    Args:
        attention: See `Operations`.
    """

    def __init__(self, attention: str | None = "float32"):
        self.attention = attention

    def zeros(self, shape: tuple, dtype: str, source: tf.Tensor) -> tf.TensorArray:
        """An array whose tensors are written without copying the others."""
        steps, *rest = shape
        known = [size if isinstance(size, int) else None for size in rest]
        past = tf.TensorArray(dtype, steps, element_shape=known, clear_after_read=False)
        # Never empty, so that its shape is known.
        return past.write(0, tf.zeros(rest, dtype))

    def append(self, past: tf.TensorArray, step: tf.Tensor, record: tf.Tensor) -> tf.TensorArray:
        """Writes a record."""
        return past.write(step, tf.cast(record, past.dtype))

    def written(self, history: dict[str, Any], steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """The records of all steps, at least of one."""
        places = tf.range(tf.maximum(1, steps))
        return {name: past.gather(places) for name, past in history.items()}

    def loop(
        self,
        advance: searching.Advance,
        sentences: tuple[Any, Any, Any],
        beams: searching.Beams,
        history: dict[str, Any],
        max_length: int,
    ) -> tuple[Any, searching.Beams, dict[str, Any]]:
        """Advances the sentences that are not finished."""
        batch, beam = tf.shape(beams.tokens)[0], beams.tokens.shape[1]
        own = tf.repeat(tf.range(beam)[tf.newaxis], batch, axis=0)

        def unfinished(beams: searching.Beams) -> tf.Tensor:
            return tf.logical_not(tf.reduce_all(beams.ended, axis=1))

        def more(step: tf.Tensor, rows: Any, sentences: Any, beams: Any, *_: Any) -> tf.Tensor:
            return (step < max_length) & tf.reduce_any(unfinished(beams))

        def segment(
            step: tf.Tensor, rows: tf.Tensor, sentences: Any, beams: Any, sums: Any, history: Any
        ) -> tuple[Any, ...]:
            kept = tf.where(unfinished(beams))[:, 0]
            rows, sentences, beams = tf.nest.map_structure(
                lambda each: tf.gather(each, kept), (rows, sentences, beams)
            )
            places = rows[:, tf.newaxis]
            fewest = tf.cast(tf.cast(tf.size(rows), tf.float32) * UNFINISHED, tf.int32)

            def of_batch(name: str, record: tf.Tensor) -> tf.Tensor:
                if name == "parents":
                    # Those of finished sentences stay in their places.
                    return tf.tensor_scatter_nd_update(own, places, record)
                shape = tf.concat([[batch], tf.shape(record)[1:]], axis=0)
                return tf.scatter_nd(places, record, shape)

            def enough(step: tf.Tensor, beams: searching.Beams, *_: Any) -> tf.Tensor:
                count = tf.reduce_sum(tf.cast(unfinished(beams), tf.int32))
                return (step < max_length) & (count > fewest)

            def body(step: tf.Tensor, beams: searching.Beams, history: Any) -> tuple[Any, ...]:
                beams, records = advance(sentences, step, beams)
                records = {name: of_batch(name, records[name]) for name in history}
                return step + 1, beams, self.append_all(history, step, records)

            step, beams, history = tf.while_loop(enough, body, (step, beams, history))
            sums = tuple(
                tf.tensor_scatter_nd_update(every, places, each)
                for every, each in zip(sums, (beams.log_probabilities, beams.lengths), strict=True)
            )
            return step, rows, sentences, beams, sums, history

        sums = beams.log_probabilities, beams.lengths
        start = (tf.constant(0), tf.range(batch), sentences, beams, sums, history)
        step, _, _, beams, sums, history = tf.while_loop(more, segment, start)
        return step, beams._replace(log_probabilities=sums[0], lengths=sums[1]), history

    def top_tokens(
        self, logits: tf.Tensor, k: int, group: int | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalised by the softmax, which takes half as long as `logsumexp`."""
        top, ids = _top_tokens(logits, k, group)
        first = tf.gather(tf.nn.softmax(logits), ids[..., :1], batch_dims=2)
        # The best token has a probability of 0 only if that of PAD or BOS is 1.
        return top - top[..., :1] + tf.math.log(tf.maximum(first, 1e-38)), ids


def _top_tokens(logits: tf.Tensor, k: int, group: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """The largest logit without a copy of the others."""
    if k > 1:
        return searching.top_tokens(logits, k, group)
    top, ids = tf.math.top_k(logits, 1)
    # PAD and BOS are excluded, and are hardly ever the most likely tokens.
    return tf.cond(
        tf.reduce_any(ids < EOS),
        lambda: searching.top_tokens(logits, 1, group),
        lambda: (top, ids),
    )
