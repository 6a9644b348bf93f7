"""Dynamic beam allocation (Post & Vilar 2018), in the vectorised form of Hu et al. 2019."""

from __future__ import annotations

from typing import Any

from keras import ops

from keras_attn_nmt.translation import IMPOSSIBLE

# Share of the beam for the best candidates, whatever their banks.
SHARE = 0.5


def allocate(scores: Any, valid: Any, needed: Any, total: Any, beam: int) -> tuple[Any, Any]:
    """Divides the beam among the banks.

    Args:
        scores: `(batch, beam, candidates)`.
        valid: bool, `(batch, beam, candidates)`.
        needed: Missing constraint tokens, int32, `(batch, beam, candidates)`: the bank.
        total: Of the sentences, int32, `(batch,)`.
        beam: Beam size.

    Returns:
        Places among the `beam * candidates` of a sentence, int32, and whether there are so many,
        bool, each `(batch, beam)`.
    """
    batch = ops.shape(scores)[0]
    scores = ops.where(valid, scores, IMPOSSIBLE)
    scores, valid, needed = (ops.reshape(each, (batch, -1)) for each in (scores, valid, needed))
    order = ops.arange(ops.shape(scores)[1], dtype="int32")
    better = ops.expand_dims(scores, 1) > ops.expand_dims(scores, 2)
    equal = ops.equal(ops.expand_dims(scores, 1), ops.expand_dims(scores, 2))
    earlier = ops.expand_dims(order, 0) < ops.expand_dims(order, 1)
    better = ops.logical_or(better, ops.logical_and(equal, earlier))
    same_bank = ops.equal(ops.expand_dims(needed, 1), ops.expand_dims(needed, 2))
    rank = ops.sum(ops.cast(ops.logical_and(better, same_bank), "int32"), axis=2)
    turn = rank * (ops.expand_dims(total, 1) + 1) + needed
    place = ops.sum(ops.cast(better, "int32"), axis=2)
    by_score = int(beam * SHARE)
    turn = ops.where(place < by_score, place - by_score, turn)
    worst = 1 << 24
    turn = ops.cast(ops.where(valid, ops.minimum(turn, worst - 1), worst), "float32")
    turns, chosen = ops.top_k(-turn, beam)
    return ops.cast(chosen, "int32"), turns > -worst
