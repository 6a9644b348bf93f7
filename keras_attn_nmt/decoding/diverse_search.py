"""Diverse beam search with one hypothesis per group, in `keras.ops`.

The hypotheses of a sentence continue one after the other. Each takes its most likely token, where

    log P(y | Y_k, X) - lambda * (number of hypotheses before k that took y at this step)

(Vijayakumar et al. 2018, eq. 3, with the Hamming diversity of section 5.1 and as many groups as
hypotheses, as in their experiments). The penalty only chooses: scores are those of the model.

References:
    [Vijayakumar et al. 2018](https://arxiv.org/abs/1610.02424)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keras import ops

from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import EOS, PAD

if TYPE_CHECKING:
    from keras_attn_nmt.decoding.search import Current, Operations


def diverse_continuations(
    logits: Any,
    current: Current,
    *,
    group: int | None,
    options: SearchOptions,
    operations: Operations,
) -> tuple[Any, Any, Any]:
    """Continues each hypothesis by one token, see `decoding.search.Choose`.

    Args:
        logits: `(batch, beam, vocabulary_size)` or `(batch, beam, columns)`; ids are then columns.
        current: The hypotheses.
        group: See `top_tokens`.
        options: The search options.
        operations: Those of the runtime.
    """
    beam = options.beam_size
    # The hypotheses before the last one took at most `beam - 1` of its best `beam` tokens.
    width = beam if group else min(beam, logits.shape[-1] - EOS)
    token_scores, ids = operations.top_tokens(logits, width, group)
    tokens: list[Any] = []
    scores: list[Any] = []
    for k in range(beam):
        candidates, penalized = ids[:, k], token_scores[:, k]
        if tokens:
            taken = ops.expand_dims(ops.concatenate(tokens, axis=1), 1)
            equal = ops.equal(ops.expand_dims(candidates, 2), taken)
            counts = ops.sum(ops.cast(equal, "float32"), axis=2)
            penalized = penalized - options.diversity_penalty * counts
        _, place = ops.top_k(penalized, 1)
        place = ops.cast(place, "int32")
        # A finished hypothesis extends only with PAD, which no other one can take.
        ended = current.ended[:, k : k + 1]
        tokens.append(ops.where(ended, PAD, ops.take_along_axis(candidates, place, axis=1)))
        score = ops.take_along_axis(token_scores[:, k], place, axis=1)
        scores.append(ops.where(ended, 0.0, score))
    found = ops.concatenate(tokens, axis=1)
    return found, ops.zeros_like(found), ops.concatenate(scores, axis=1)
