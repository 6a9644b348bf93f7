"""The hypotheses of a search, and how they are read from its records."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_attn_nmt.decoding.coverage import coverage_scores
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.text.special_ids import PAD
from keras_attn_nmt.translation import IMPOSSIBLE


class Hypotheses(NamedTuple):
    """The hypotheses of a search, best first.

    Attributes:
        tokens: Ids, int32, `(batch, hypotheses, target_length)`, padded with `PAD`; `EOS` is
            last unless the hypothesis reached its maximum length.
        lengths: Number of tokens, `EOS` included, int32, `(batch, hypotheses)`.
        scores: Log-probability divided by the length penalty, plus the coverage penalty, float32,
            `(batch, hypotheses)`.
        token_scores: Log-probability of each token, float32, `(batch, hypotheses,
            target_length)`; 0 at padding.
        attention: float32, `(batch, hypotheses, target_length, source_length)`; 0 at padding;
            `None` if it was not kept.
    """

    tokens: Any
    lengths: Any
    scores: Any
    token_scores: Any
    attention: Any


class Found(NamedTuple):
    """The records of a search.

    Attributes:
        history: By name, `"tokens"` and `"token_scores"`, each `(steps or more, batch, beam)`;
            `"parents"` likewise, unless each hypothesis is its own parent; `"attention"` of the
            parents, `(steps or more, batch, beam, source_length)`, if it is kept.
        steps: Number of steps taken, int32 scalar.
        lengths: int32, `(batch, beam)`.
        scores: `(batch, beam)`, best first unless there is a diversity penalty.
    """

    history: dict[str, Any]
    steps: Any
    lengths: Any
    scores: Any


def best_hypotheses(
    found: Found, source: Any, options: SearchOptions, keep: int | None = None
) -> Hypotheses:
    """The hypotheses of a search, ranked by their scores with the coverage penalty.

    Diverse hypotheses may be equal: only one of them is kept, and the positions of the others are
    empty, with a score of `IMPOSSIBLE`.

    Args:
        found: The records of the search; with a coverage penalty, those of the attention, too.
        source: Ids, int32, `(batch, source_length)`.
        options: Those of the search.
        keep: Number of hypotheses, the best ones; defaults to all.
    """
    if not options.coverage_penalty and not options.diversity_penalty:
        return backtrace(found, keep)
    hypotheses = backtrace(_without_duplicates(found) if options.diversity_penalty else found)
    scores = hypotheses.scores
    if options.coverage_penalty:
        scores += coverage_scores(hypotheses.attention, source != PAD, options.coverage_penalty)
    _, order = ops.top_k(scores, keep or scores.shape[1])
    order = ops.cast(order, "int32")
    ranked = hypotheses._replace(scores=scores)
    return Hypotheses(*(each if each is None else gather_rows(each, order) for each in ranked))


def _without_duplicates(found: Found) -> Found:
    """Empties hypotheses that equal one before them; each is its own parent."""
    tokens = found.history["tokens"]
    same = ops.all(ops.equal(ops.expand_dims(tokens, 3), ops.expand_dims(tokens, 2)), axis=0)
    place = ops.arange(tokens.shape[2], dtype="int32")
    before = ops.expand_dims(place, 0) < ops.expand_dims(place, 1)
    duplicate = ops.any(ops.logical_and(same, before), axis=2)
    return found._replace(
        lengths=ops.where(duplicate, 0, found.lengths),
        scores=ops.where(duplicate, IMPOSSIBLE, found.scores),
    )


def backtrace(found: Found, keep: int | None = None) -> Hypotheses:
    """Backtraces hypotheses along their parents and gathers tokens, scores and attention.

    Args:
        found: The records of the search.
        keep: Number of hypotheses, the best ones; defaults to all.
    """
    history, steps, lengths, scores = found
    lengths, scores = lengths[:, :keep], scores[:, :keep]
    tokens, token_scores = history["tokens"], history["token_scores"]
    size, batch, beam = ops.shape(tokens)
    attention = history.get("attention")
    if (parents := history.get("parents")) is not None:
        own = ops.expand_dims(ops.arange(keep or beam, dtype="int32"), 0)
        own = ops.broadcast_to(own, ops.shape(lengths))
        # `path[t]` is the beam index of the hypothesis after step t; the attention of step t is
        # that of its parent.
        path = ops.zeros((size, *ops.shape(lengths)), dtype="int32")

        def back(step: Any, place: Any, path: Any) -> tuple[Any, Any, Any]:
            path = ops.scatter_update(path, ops.reshape(step, (1, 1)), ops.expand_dims(place, 0))
            return step - 1, ops.take_along_axis(parents[step], place, axis=1), path

        _, _, path = ops.while_loop(
            lambda step, place, path: step >= 0, back, (steps - 1, own, path)
        )
        tokens = ops.take_along_axis(tokens, path, axis=2)
        token_scores = ops.take_along_axis(token_scores, path, axis=2)
        if attention is not None:
            seen_by = ops.take_along_axis(parents, path, axis=2)
            first = ops.reshape(ops.arange(size * batch, dtype="int32") * beam, (size, batch, 1))
            rows = ops.reshape(attention, (-1, ops.shape(attention)[-1]))
            # The largest result: gathered in its final order, with one index per row.
            attention = ops.take(rows, ops.transpose(first + seen_by, (1, 2, 0)), axis=0)
    else:
        tokens, token_scores = tokens[:, :, :keep], token_scores[:, :, :keep]
        if attention is not None:
            attention = ops.transpose(attention[:, :, :keep], (1, 2, 0, 3))

    mask = ops.arange(size, dtype="int32") < ops.expand_dims(lengths, 2)
    tokens, token_scores = (ops.transpose(each, (1, 2, 0)) for each in (tokens, token_scores))
    if attention is not None:
        attention = ops.where(ops.expand_dims(mask, 3), attention, 0.0)
    return Hypotheses(
        ops.where(mask, tokens, PAD),
        lengths,
        scores,
        ops.where(mask, token_scores, 0.0),
        attention,
    )


def only_first(count: int) -> Any:
    """Log-probabilities of which only the first is possible, float32, `(count,)`."""
    return ops.convert_to_tensor([0.0] + [IMPOSSIBLE] * (count - 1), "float32")


def gather_rows(tensor: Any, index: Any) -> Any:
    """Gathers rows per sentence: `tensor[b, index[b, i]]` at `[b, i]`.

    Args:
        tensor: `(batch, rows, ...)`.
        index: int32, `(batch, chosen)`.
    """
    batch, rows = ops.shape(tensor)[:2]
    first = ops.expand_dims(ops.arange(batch, dtype="int32") * rows, 1)
    flat = ops.reshape(tensor, (-1, *ops.shape(tensor)[2:]))
    return ops.take(flat, first + index, axis=0)
