"""Beam search under lexical constraints, placed by the attention, in `keras.ops`.

The search of `decoding.search`, with these differences:

- A hypothesis continues with its most likely tokens, or with a phrase that it must still contain.
  `</s>` is excluded until all constraints are met.
- The attention places the phrases, as in a pointer-generator (See et al. 2017). The weight w of the
  attention on a source term is the probability that its phrase begins here, and 1 - w that the
  model's next token follows. So a translation neither has the term at another place nor translates
  it twice. The tokens of a phrase are given, and cost nothing more.
- While a phrase is written, the decoder reads its own word for the term instead, which it knows
  how to continue. Afterwards it no longer attends to the term.
- Half of the beam is divided among banks, the candidates with equally many constraint tokens: first
  the best of each bank, then the second of each, and so on, the banks with the most tokens first
  (dynamic beam allocation, Post & Vilar 2018, in the vectorised form of Hu et al. 2019). Without
  it, hypotheses with an unlikely phrase would be lost to those that avoid it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_attn_nmt.decoding.beam_allocation import allocate
from keras_attn_nmt.decoding.constraints import (
    Constraints,
    Matcher,
    PieceTables,
    Progress,
    source_positions,
)
from keras_attn_nmt.decoding.coverage import coverage_scores
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.hypotheses import (
    Found,
    Hypotheses,
    backtrace,
    gather_rows,
    only_first,
)
from keras_attn_nmt.decoding.search import Operations, top_tokens
from keras_attn_nmt.decoding.search_options import (
    SearchOptions,
    check_constrained,
    length_penalty,
    longest_translation,
)
from keras_attn_nmt.decoding.shortlist import GROUP
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD
from keras_attn_nmt.translation import IMPOSSIBLE

# A smaller beam has too few places for the banks.
SMALLEST_BEAM = 5
# Of the probability that a phrase begins, or does not.
LEAST = 0.02
# Below this weight of the attention, a phrase is only text that the model writes itself.
PLACED = 0.2


class ConstrainedHypotheses(NamedTuple):
    """The hypotheses of a constrained search, best first.

    Attributes:
        hypotheses: As of `search`. The token scores of placed phrases are those of their places.
        met: Whether they meet each constraint, bool, `(batch, hypotheses, constraints)`.
    """

    hypotheses: Hypotheses
    met: Any


class _Candidates(NamedTuple):
    """Continuations of hypotheses, `(batch, beam, candidates)`.

    Attributes:
        tokens: Ids, int32.
        scores: Log-probabilities.
        valid: Whether it exists, bool.
        placed: Whether it is part of a placed phrase, bool.
    """

    tokens: Any
    scores: Any
    valid: Any
    placed: Any


class _Beam(NamedTuple):
    """The hypotheses of a search, `(batch, beam, ...)`.

    Attributes:
        tokens: Last tokens, int32.
        read: What the decoder reads instead, int32.
        state: Of the decoder, a tuple of `(batch, beam, units)`.
        scores: Sum of the token scores.
        lengths: int32.
        ended: bool.
        inside: Whether a placed phrase is in progress, bool.
        attention: Of the last tokens, `(batch, beam, source_length)`.
        progress: A `Progress`.
    """

    tokens: Any
    read: Any
    state: Any
    scores: Any
    lengths: Any
    ended: Any
    inside: Any
    attention: Any
    progress: Any


def constrained_search(
    decoder: Decoder,
    source: Any,
    constraints: Constraints,
    tables: PieceTables,
    options: SearchOptions,
    operations: Operations | None = None,
) -> ConstrainedHypotheses:
    """Beam search for translations that contain given phrases.

    Args:
        decoder: The model.
        source: See `search`.
        constraints: The phrases. Those that do not fit into the maximum length are dropped, the
            last ones first.
        tables: Of the target vocabulary.
        options: The search options. The beam is at least `SMALLEST_BEAM`; `beam_size` hypotheses
            are returned.
        operations: Those of the runtime for the history; defaults to `Operations`.

    Returns:
        Hypotheses that meet all constraints, or the best other ones if there is none. Positions
        that are not filled have a score of `IMPOSSIBLE`.

    References:
        [Post & Vilar 2018](https://arxiv.org/abs/1804.06609);
        [Hu et al. 2019](https://aclanthology.org/N19-1090)
    """
    operations = operations or Operations()
    decoder.check_options(options)
    check_constrained(options)
    source = ops.convert_to_tensor(source)
    batch, source_length = ops.shape(source)[0], ops.shape(source)[1]
    beam, alpha = max(options.beam_size, SMALLEST_BEAM), options.length_penalty
    max_length = options.max_length
    memory, state = decoder.encode(source)
    state = tuple(ops.repeat(each, beam, axis=1) for each in state)
    length = ops.sum(ops.cast(source != PAD, "int32"), axis=1, keepdims=True)
    matcher = Matcher(constraints, tables, longest_translation(length), max_length)
    limits = matcher.limits
    terms = source_positions(source, ops.convert_to_tensor(constraints.terms))
    if not decoder.has_attention:
        terms = ops.zeros_like(terms)
    columns = _Columns(decoder, source, matcher, beam)

    start = _Beam(
        tokens=ops.full((batch, beam), BOS, dtype="int32"),
        read=ops.full((batch, beam), BOS, dtype="int32"),
        state=state,
        scores=ops.expand_dims(only_first(beam), 0) + ops.zeros((batch, beam), "float32"),
        lengths=ops.zeros((batch, beam), dtype="int32"),
        ended=ops.broadcast_to(ops.equal(length, 0), (batch, beam)),
        inside=ops.zeros((batch, beam), dtype="bool"),
        attention=ops.zeros((batch, beam, source_length), "float32"),
        progress=matcher.start(beam),
    )
    history = operations.history((max_length, batch, beam), source_length, source)

    def unfinished(step: Any, now: _Beam, history: Any) -> Any:
        return ops.logical_and(step < max_length, ops.logical_not(ops.all(now.ended)))

    def body(step: Any, now: _Beam, history: Any) -> tuple[Any, _Beam, Any]:
        visible = memory
        if decoder.has_attention:
            mask = _untranslated(decoder.source_mask(memory), terms, now.progress.met)
            visible = decoder.with_mask(memory, mask)
        logits, advanced, attention = decoder.step(now.read, now.state, visible, columns.weights)
        begins = _attended(terms, attention, now.progress.met)
        candidates, own = columns.candidates(logits, begins, now, matcher)
        after = matcher.advance(now.progress, now.tokens, candidates.tokens)
        needed = matcher.remaining(after)
        complete = ops.all(after.met, axis=3)
        lengths = ops.expand_dims(now.lengths + ops.cast(ops.logical_not(now.ended), "int32"), 2)
        totals = ops.expand_dims(now.scores, 2) + candidates.scores
        scores = totals / length_penalty(ops.cast(lengths, "float32"), alpha)

        valid = ops.logical_and(candidates.valid, ops.expand_dims(now.scores > IMPOSSIBLE / 2, 2))
        # No room for the phrases that are missing, and the end of the sentence.
        room = ops.expand_dims(limits, 2) - lengths
        valid = ops.logical_and(valid, ops.logical_or(complete, needed < room))
        # Incomplete hypotheses only get worse: they leave when a finished one is better.
        finished = ops.logical_and(ops.expand_dims(now.ended, 2), valid)
        best = ops.max(ops.where(finished, scores, IMPOSSIBLE), axis=(1, 2), keepdims=True)
        valid = ops.logical_and(valid, ops.logical_or(complete, scores >= best))
        chosen, exists = allocate(scores, valid, needed, matcher.total, beam)
        parents = chosen // ops.shape(scores)[2]

        def of_parent(tensor: Any) -> Any:
            return gather_rows(tensor, parents)

        def of_candidate(tensor: Any) -> Any:
            shape = ops.shape(tensor)
            return gather_rows(ops.reshape(tensor, (shape[0], -1, *shape[3:])), chosen)

        # The decoder reads its own word while a phrase is written, up to the end of that word.
        placed, inside = of_candidate(candidates.placed), of_parent(now.inside)
        goes_on = tables.joined(now.read, own)
        waits = ops.logical_and(inside, ops.logical_not(of_parent(goes_on)))

        def wait(old: Any, new: Any) -> Any:
            return ops.where(ops.expand_dims(waits, 2), of_parent(old), of_parent(new))

        tokens = ops.where(exists, of_candidate(candidates.tokens), PAD)
        token_scores = ops.where(exists, of_candidate(candidates.scores), 0.0)
        read = ops.where(placed, of_parent(own), tokens)
        lengths = of_candidate(ops.broadcast_to(lengths, ops.shape(scores)))
        after = Progress(*(of_candidate(each) for each in after))
        attention = ops.where(
            ops.expand_dims(ops.logical_and(now.inside, ops.logical_not(goes_on)), 2),
            now.attention,
            attention,
        )
        ended = ops.logical_or(ops.equal(tokens, EOS), lengths >= limits)
        ended = ops.logical_or(ended, ops.logical_not(exists))
        records = {
            "tokens": tokens,
            "parents": parents,
            "token_scores": token_scores,
            "attention": attention,
        }
        history = operations.append_all(history, step, records)
        now = _Beam(
            tokens=tokens,
            read=ops.where(waits, of_parent(now.read), read),
            state=tuple(wait(*each) for each in zip(now.state, advanced, strict=True)),
            scores=ops.where(exists, of_candidate(totals), IMPOSSIBLE),
            lengths=lengths,
            ended=ops.logical_or(of_parent(now.ended), ended),
            inside=ops.logical_and(placed, matcher.within(after)),
            attention=of_parent(attention),
            progress=after,
        )
        return step + 1, now, history

    steps, found, history = ops.while_loop(
        unfinished, body, (ops.zeros((), "int32"), start, history)
    )
    scores = found.scores / length_penalty(ops.cast(found.lengths, "float32"), alpha)
    history = operations.written(history, steps)
    hypotheses = backtrace(Found(history, steps, found.lengths, scores))
    if options.coverage_penalty:
        scores += coverage_scores(hypotheses.attention, source != PAD, options.coverage_penalty)
        hypotheses = hypotheses._replace(scores=scores)
    return _sorted(hypotheses, found.progress.met, matcher, options.beam_size)


def _attended(terms: Any, attention: Any, met: Any) -> Any:
    """The weight of the attention on the terms of unmet constraints, `(batch, beam, constraints)`.

    Args:
        terms: Positions of the source terms, `(batch, constraints, source_length)`.
        attention: `(batch, beam, source_length)`.
        met: bool, `(batch, beam, constraints)`.
    """
    weights = ops.clip(ops.einsum("bks,bcs->bkc", attention, terms), 0.0, 1.0)
    return ops.where(met, 0.0, weights)


class _Columns:
    """Candidate tokens among the columns of the softmax: the vocabulary, or a shortlist of it."""

    def __init__(self, decoder: Decoder, source: Any, matcher: Matcher, beam: int):
        size = decoder.vocabulary_size
        self.weights = self._vocabulary = group = None
        if decoder.shortlist is not None:
            # The phrases of a sentence are allowed in it.
            phrases = ops.reshape(matcher.phrases, (ops.shape(source)[0], -1))
            self._vocabulary = decoder.shortlist.choose(source, size, beam + 1, phrases)
            self.weights, group = decoder.output_weights(self._vocabulary.ids), GROUP
            places = ops.expand_dims(self._vocabulary.ids, 1)
            numbers = ops.arange(ops.shape(places)[0], dtype="int32")
            self._column_of = ops.scatter_update(ops.zeros((size,), "int32"), places, numbers)
        self._group = group
        # One more, as `</s>` may not be allowed.
        self._width = beam + 1 if group else min(beam + 1, size - EOS)

    def candidates(
        self, logits: Any, begins: Any, now: _Beam, matcher: Matcher
    ) -> tuple[_Candidates, Any]:
        """The most likely tokens, and the next tokens of the phrases.

        Args:
            logits: `(batch, beam, columns)`.
            begins: Probability that a phrase begins, `(batch, beam, constraints)`.
            now: The hypotheses.
            matcher: Of the constraints.

        Returns:
            The candidates, with `</s>`, and the most likely token but it, `(batch, beam)`.
        """
        forced = matcher.next_tokens(now.progress)
        shape = ops.shape(forced)
        forced = ops.reshape(forced, (*shape[:2], -1))
        columns = forced
        if self._vocabulary is not None:
            logits = self._vocabulary.mask(logits)
            columns = ops.take(self._column_of, forced)
        top, ids = top_tokens(logits, self._width, self._group)
        if self._vocabulary is not None:
            ids = ops.take(self._vocabulary.ids, ids)
        whole = ops.logsumexp(logits, axis=-1, keepdims=True)
        top, others = top - whole, ops.take_along_axis(logits, columns, axis=2) - whole
        own = ops.where(ops.equal(ids[..., 0], EOS), ids[..., 1], ids[..., 0])
        # All of these may continue the word of a phrase that has no room to be written again.
        end = ops.full_like(ids[..., :1], EOS)
        column = end if self._vocabulary is None else ops.take(self._column_of, end)
        top = ops.concatenate([top, ops.take_along_axis(logits, column, axis=2) - whole], axis=2)
        ids = ops.concatenate([ids, end], axis=2)

        # A phrase is placed where the attention is on its term. Of its variants, the model chooses.
        missing = ops.equal(forced, PAD)
        variants = ops.reshape(ops.where(missing, IMPOSSIBLE, others), shape)
        variants = ops.log_softmax(variants, axis=-1)
        start = ops.expand_dims(ops.where(begins < PLACED, IMPOSSIBLE, _log(begins)), 3)
        inside = ops.expand_dims(now.inside, 2)
        going = ops.reshape(matcher.longest(now.progress), ops.shape(forced)) > 0
        start = ops.reshape(start + variants, ops.shape(forced))
        given = ops.where(inside, ops.reshape(variants, ops.shape(forced)), start)
        usable = ops.logical_and(given > IMPOSSIBLE / 2, ops.logical_not(missing))
        placed = ops.logical_and(usable, ops.logical_or(ops.logical_not(inside), going))

        free = _log(1.0 - ops.max(begins, axis=2, keepdims=True))
        scores = ops.concatenate([top + free, ops.where(placed, given, others + free)], axis=2)
        tokens = ops.concatenate([ids, forced], axis=2)
        complete = ops.expand_dims(ops.all(now.progress.met, axis=2), 2)
        likely = ops.logical_and(ops.logical_or(complete, ids != EOS), top > IMPOSSIBLE / 2)
        placed = ops.concatenate([ops.zeros_like(likely), placed], axis=2)
        valid = ops.concatenate([likely, ops.logical_not(missing)], axis=2)
        # A placed phrase is written to its end.
        valid = ops.logical_and(valid, ops.logical_or(placed, ops.logical_not(inside)))
        # Each token once: the most likely candidate with it.
        order = ops.arange(ops.shape(tokens)[2], dtype="int32")
        order = ops.expand_dims(order, 0) < ops.expand_dims(order, 1)
        ranked = ops.where(valid, scores, 2 * IMPOSSIBLE)
        other, this = ops.expand_dims(ranked, 2), ops.expand_dims(ranked, 3)
        better = ops.logical_or(other > this, ops.logical_and(ops.equal(other, this), order))
        same = ops.equal(ops.expand_dims(tokens, 2), ops.expand_dims(tokens, 3))
        valid = ops.logical_and(
            valid, ops.logical_not(ops.any(ops.logical_and(better, same), axis=3))
        )
        ended = ops.expand_dims(now.ended, 2)
        nothing = ops.equal(ops.arange(ops.shape(tokens)[2]), 0)
        candidates = _Candidates(
            tokens=ops.where(ended, PAD, tokens),
            scores=ops.where(ended, 0.0, scores),
            valid=ops.where(ended, nothing, valid),
            placed=ops.logical_and(placed, ops.logical_not(ended)),
        )
        return candidates, own


def _log(probability: Any) -> Any:
    return ops.log(LEAST + (1.0 - LEAST) * probability)


def _untranslated(mask: Any, terms: Any, met: Any) -> Any:
    """The mask of the source without the terms whose phrases are in a hypothesis.

    Args:
        mask: `False` at padding, bool, `(batch, source_length)`.
        terms: Positions of the source terms, `(batch, constraints, source_length)`.
        met: bool, `(batch, beam, constraints)`.

    Returns:
        bool, `(batch, beam, source_length)`.
    """
    met = ops.cast(met, "float32")
    counts = ops.expand_dims(ops.sum(terms, axis=1), 1)
    translated = ops.logical_and(counts > 0, ops.einsum("bkc,bcs->bks", met, terms) >= counts)
    return ops.logical_and(ops.expand_dims(mask, 1), ops.logical_not(translated))


def _sorted(found: Hypotheses, met: Any, matcher: Matcher, keep: int) -> ConstrainedHypotheses:
    """The `keep` best hypotheses; incomplete ones only if there are no others."""
    complete = ops.all(met, axis=2)
    none = ops.logical_not(ops.any(complete, axis=1, keepdims=True))
    scores = ops.where(ops.logical_or(complete, none), found.scores, IMPOSSIBLE)
    _, order = ops.top_k(scores, keep)
    order = ops.cast(order, "int32")
    present = ops.logical_not(ops.expand_dims(matcher.dropped, 1))
    met = ops.logical_and(gather_rows(met, order), present)
    found = found._replace(scores=scores)
    kept = (each if each is None else gather_rows(each, order) for each in found)
    return ConstrainedHypotheses(Hypotheses(*kept), met)
