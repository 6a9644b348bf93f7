"""Greedy and beam search, and forced decoding of references, in `keras.ops`.

Data flow of a search:

    source -> encode -> EncodedSource (once per sentence, not copied for the beam)
    (with a shortlist: source -> ActiveVocabulary, the softmax columns of the batch)
    loop: tokens, state -> step -> logits -> the best `beam_size` continuations per sentence
    history: each step appends token, parent, log-probability and attention
    after the loop: backtrace along the parents, and gather tokens and attention once
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from keras import ops

from keras_attn_nmt.decoding.coverage import coverage_scores
from keras_attn_nmt.decoding.decoder import Decoder
from keras_attn_nmt.decoding.diverse_search import diverse_continuations
from keras_attn_nmt.decoding.hypotheses import (
    Found,
    Hypotheses,
    best_hypotheses,
    gather_rows,
    only_first,
)
from keras_attn_nmt.decoding.search_options import (
    SearchOptions,
    length_penalty,
    longest_translation,
)
from keras_attn_nmt.decoding.shortlist import GROUP
from keras_attn_nmt.layers.losses import token_cross_entropy
from keras_attn_nmt.recurrence.scores import MASKED
from keras_attn_nmt.text.special_ids import BOS, EOS, PAD


class Current(NamedTuple):
    """The hypotheses before a step.

    Attributes:
        step: Number of steps taken, int32 scalar.
        log_probabilities: float32, `(batch, beam)`.
        lengths: Number of tokens, int32, `(batch, beam)`.
        ended: Whether they are finished, bool, `(batch, beam)`.
    """

    step: Any
    log_probabilities: Any
    lengths: Any
    ended: Any


class Beams(NamedTuple):
    """The hypotheses between two steps.

    Attributes:
        tokens: Last tokens, int32, `(batch, beam)`.
        state: Of the decoder, `(batch, beam, units)` tensors.
        log_probabilities: See `Current`.
        lengths: See `Current`.
        ended: See `Current`.
    """

    tokens: Any
    state: Any
    log_probabilities: Any
    lengths: Any
    ended: Any


# From the encoded sentences and their limits, the number of steps taken and the hypotheses to those
# after the next step, and its records, see `Found.history`.
Advance = Callable[[tuple[Any, Any, Any], Any, Beams], tuple[Beams, dict[str, Any]]]


class Choose(Protocol):
    """Chooses the continuations of all hypotheses.

    Returns:
        Tokens, parent indices and token log-probabilities, each `(batch, beam)`.
    """

    def __call__(
        self, logits: Any, current: Current, *, group: int | None
    ) -> tuple[Any, Any, Any]: ...


class Operations:
    """Operations of a search that a runtime may compute in another way."""

    # The dtype of the attention of the results, or `None` to leave it out.
    attention: str | None = "float32"

    def history(
        self, shape: tuple, source_length: Any, source: Any, *, parents: bool = True
    ) -> dict[str, Any]:
        """Empty records, see `Found.history`; `shape` is `(steps, batch, beam)`."""
        kinds = {"tokens": "int32", "parents": "int32", "token_scores": "float32"}
        history = {
            name: self.zeros(shape, kind, source)
            for name, kind in kinds.items()
            if parents or name != "parents"
        }
        if self.attention is not None:
            history["attention"] = self.zeros((*shape, source_length), self.attention, source)
        return history

    def zeros(self, shape: tuple, dtype: str, source: Any) -> Any:
        """Zeros of a shape, given the source ids of the batch."""
        return ops.zeros(shape, dtype=dtype)

    def append(self, past: Any, step: Any, record: Any) -> Any:
        """Writes a record, `(batch, ...)`, to `past[step]`, `(steps, batch, ...)`."""
        return ops.scatter_update(past, ops.reshape(step, (1, 1)), ops.expand_dims(record, 0))

    def append_all(
        self, history: dict[str, Any], step: Any, records: dict[str, Any]
    ) -> dict[str, Any]:
        """Writes the records of a step to the history."""
        return {name: self.append(past, step, records[name]) for name, past in history.items()}

    def written(self, history: dict[str, Any], steps: Any) -> dict[str, Any]:
        """The records of all steps as tensors."""
        return history

    def loop(
        self,
        advance: Advance,
        sentences: tuple[Any, Any, Any],
        beams: Beams,
        history: dict[str, Any],
        max_length: int,
    ) -> tuple[Any, Beams, dict[str, Any]]:
        """Advances until all hypotheses are finished: number of steps, hypotheses and history."""

        def unfinished(step: Any, beams: Beams, history: Any) -> Any:
            return ops.logical_and(step < max_length, ops.logical_not(ops.all(beams.ended)))

        def body(step: Any, beams: Beams, history: Any) -> tuple[Any, ...]:
            beams, records = advance(sentences, step, beams)
            return step + 1, beams, self.append_all(history, step, records)

        return ops.while_loop(unfinished, body, (ops.zeros((), "int32"), beams, history))

    def top_tokens(self, logits: Any, k: int, group: int | None = None) -> tuple[Any, Any]:
        """Log-probabilities and ids of the best tokens, see `top_tokens`."""
        top, ids = top_tokens(logits, k, group)
        # Only the candidates are normalised.
        return top - ops.logsumexp(logits, axis=-1, keepdims=True), ids


def search(
    decoder: Decoder,
    source: Any,
    options: SearchOptions,
    operations: Operations | None = None,
) -> Hypotheses:
    """Greedy or beam search, or diverse beam search with a diversity penalty.

    A finished hypothesis stays in the beam and competes by its score, the log-probability divided
    by the length penalty: it extends only with `PAD` at log-probability 0. A sentence is finished
    when its whole beam is; the loop stops when all sentences are finished.

    Args:
        decoder: The model.
        source: Ids, int32, `(batch, source_length)`, each sentence ending in `EOS`. An all-padding
            sentence gives an empty translation.
        options: The search options. The target length is also limited by `longest_translation`.
        operations: Those of the runtime; defaults to `Operations`.

    Returns:
        `beam_size` hypotheses per sentence; `target_length` is `max_length`.
    """
    found = find(decoder, source, options, operations or Operations())
    return best_hypotheses(found, ops.convert_to_tensor(source), options)


def find(decoder: Decoder, source: Any, options: SearchOptions, operations: Operations) -> Found:
    """The records of `search`, which `best_hypotheses` ranks."""
    decoder.check_options(options)
    beam = options.beam_size
    if options.diversity_penalty:
        start = ops.zeros((beam,), "float32")
        choose = functools.partial(diverse_continuations, options=options, operations=operations)
    else:
        # All hypotheses start equal: expand only the first, so that the beam becomes diverse.
        start = only_first(beam)
        choose = functools.partial(
            _continuations, beam=beam, alpha=options.length_penalty, operations=operations
        )
    return decode(
        *(decoder, source, options, choose, start),
        width=beam,
        independent=beam == 1 or options.diversity_penalty > 0,
        operations=operations,
    )


def decode(
    decoder: Decoder,
    source: Any,
    options: SearchOptions,
    choose: Choose,
    start: Any,
    *,
    width: int,
    independent: bool,
    operations: Operations | None = None,
) -> Found:
    """The loop of all searches: decodes `beam_size` hypotheses per sentence step by step.

    Args:
        decoder: The model.
        source: See `search`.
        options: `beam_size` is the number of hypotheses.
        choose: Continues all hypotheses by one token.
        start: Initial log-probabilities of the hypotheses, float32, `(beam_size,)`.
        width: Number of candidates that `choose` takes from the logits with `top_tokens`.
        independent: Each hypothesis is its own parent: the loop ignores the parents.
        operations: See `search`.
    """
    operations = operations or Operations()
    source = ops.convert_to_tensor(source)
    batch, source_length = ops.shape(source)[0], ops.shape(source)[1]
    beam, alpha, max_length = options.beam_size, options.length_penalty, options.max_length
    memory, state = decoder.encode(source)
    state = tuple(ops.repeat(each, beam, axis=1) for each in state)
    length = ops.sum(ops.cast(source != PAD, "int32"), axis=1, keepdims=True)
    limits = ops.minimum(longest_translation(length), max_length)
    vocabulary = weights = group = None
    if decoder.shortlist is not None:
        # Once per batch: the loop only computes the active columns.
        size = decoder.vocabulary_size
        vocabulary = decoder.shortlist.choose(source, size, width)
        weights = decoder.output_weights(vocabulary.ids)
        group = None if weights is None else GROUP

    beams = Beams(
        tokens=ops.full((batch, beam), BOS, dtype="int32"),
        state=state,
        log_probabilities=ops.expand_dims(start, 0) + ops.zeros((batch, beam), "float32"),
        lengths=ops.zeros((batch, beam), dtype="int32"),
        ended=ops.broadcast_to(ops.equal(length, 0), (batch, beam)),
    )
    history = operations.history(
        (max_length, batch, beam), source_length, source, parents=not independent
    )

    def advance(
        sentences: tuple[Any, Any, Any], step: Any, beams: Beams
    ) -> tuple[Beams, dict[str, Any]]:
        memory, limits, allowed = sentences
        logits, advanced, attention = decoder.step(beams.tokens, beams.state, memory, weights)
        if vocabulary is not None:
            logits = vocabulary._replace(allowed=allowed).mask(logits)
        tokens, parents, token_scores = choose(logits, Current(step, *beams[2:]), group=group)
        if vocabulary is not None:
            tokens = ops.take(vocabulary.ids, tokens)

        def of_parent(tensor: Any) -> Any:
            return tensor if independent else gather_rows(tensor, parents)

        ended = of_parent(beams.ended)
        lengths = of_parent(beams.lengths) + ops.cast(ops.logical_not(ended), "int32")
        now = Beams(
            tokens=tokens,
            state=tuple(of_parent(each) for each in advanced),
            log_probabilities=of_parent(beams.log_probabilities) + token_scores,
            lengths=lengths,
            ended=ops.logical_or(ended, ops.logical_or(ops.equal(tokens, EOS), lengths >= limits)),
        )
        records = {
            "tokens": tokens,
            "parents": parents,
            "token_scores": token_scores,
            "attention": attention,
        }
        return now, records

    sentences = memory, limits, () if vocabulary is None else vocabulary.allowed
    steps, beams, history = operations.loop(advance, sentences, beams, history, max_length)
    scores = beams.log_probabilities / length_penalty(ops.cast(beams.lengths, "float32"), alpha)
    return Found(operations.written(history, steps), steps, beams.lengths, scores)


def _continuations(
    logits: Any,
    current: Current,
    *,
    group: int | None,
    beam: int,
    alpha: float,
    operations: Operations,
) -> tuple[Any, Any, Any]:
    """The `beam` best continuations among all hypotheses of a sentence, best first.

    Args:
        logits: `(batch, beam, vocabulary_size)`, or `(batch, beam, columns)` with `PAD`, `BOS`,
            `EOS` as first columns; ids are then column indices.
        current: The hypotheses.
        group: See `top_tokens`.
        beam: Beam size.
        alpha: Exponent of the length penalty.
        operations: Those of the runtime.

    Returns:
        Tokens, parent indices and token log-probabilities, each `(batch, beam)`.
    """
    width = beam if group else min(beam, logits.shape[-1] - EOS)
    token_scores, ids = operations.top_tokens(logits, width, group)
    # A finished hypothesis extends only with PAD at log-probability 0.
    ended = ops.expand_dims(current.ended, 2)
    token_scores = ops.where(ended, only_first(width), token_scores)
    ids = ops.where(ended, PAD, ids)
    if beam == 1:
        return ids[..., 0], ops.zeros_like(ids[..., 0]), token_scores[..., 0]

    new_lengths = ops.expand_dims(current.lengths, 2) + ops.cast(ops.logical_not(ended), "int32")
    scores = ops.expand_dims(current.log_probabilities, 2) + token_scores
    scores = scores / length_penalty(ops.cast(new_lengths, "float32"), alpha)
    flat = (-1, beam * width)
    _, chosen = ops.top_k(ops.reshape(scores, flat), beam)
    chosen = ops.cast(chosen, "int32")
    return (
        ops.take_along_axis(ops.reshape(ids, flat), chosen, axis=1),
        chosen // width,
        ops.take_along_axis(ops.reshape(token_scores, flat), chosen, axis=1),
    )


def top_tokens(logits: Any, k: int, group: int | None = None) -> tuple[Any, Any]:
    """The `k` largest logits except those of `PAD` and `BOS`, and their ids, int32, best first.

    Args:
        logits: `(batch, beam, vocabulary_size)` or `(batch, beam, columns)`.
        k: Number of candidates.
        group: Columns per group, if the number of groups is known to be at least `k + EOS`.
    """
    # PAD and BOS are excluded: ask for as many more candidates.
    wanted = k + EOS
    size = ops.shape(logits)[-1]
    if group is None:
        group = next((each for each in range(64, 15, -1) if size % each == 0), 0)
        group = group if group * wanted <= size else 0
    if k == 1 or not group:
        top, ids = ops.top_k(logits[..., EOS:], k)
        return top, ops.cast(ids, "int32") + EOS
    # The largest logits are in the groups with the largest maxima. On a CPU, this is four times as
    # fast as a top-k over the vocabulary, which took a fifth of a beam search.
    groups = ops.reshape(logits, (-1, size // group, group))
    _, chosen = ops.top_k(ops.max(groups, axis=-1), wanted)
    chosen = ops.cast(chosen, "int32")
    candidates = ops.reshape(gather_rows(groups, chosen), (-1, wanted * group))
    token = ops.expand_dims(chosen * group, -1) + ops.arange(group, dtype="int32")
    token = ops.reshape(token, (-1, wanted * group))
    top, places = ops.top_k(ops.where(token < EOS, MASKED, candidates), k)
    ids = ops.take_along_axis(token, ops.cast(places, "int32"), axis=1)
    shape = (*ops.shape(logits)[:2], k)
    return ops.reshape(top, shape), ops.reshape(ids, shape)


def score(decoder: Decoder, source: Any, reference: Any, options: SearchOptions) -> Hypotheses:
    """Scores references by forced decoding.

    Args:
        decoder: The model.
        source: Ids, int32, `(batch, source_length)`.
        reference: Ids, int32, `(batch, target_length)`, `EOS` at the end, no `BOS`.
        options: Length and coverage penalty.

    Returns:
        One hypothesis per sentence: the reference with scores and attention.
    """
    source, reference = ops.convert_to_tensor(source), ops.convert_to_tensor(reference)
    begin = ops.full_like(reference[:, :1], BOS)
    target = ops.concatenate([begin, reference[:, :-1]], axis=1)
    logits, attention = decoder.force(source, target)
    mask = reference != PAD
    token_scores = ops.where(mask, -token_cross_entropy(reference, logits), 0.0)
    lengths = ops.sum(ops.cast(mask, "int32"), axis=1)
    total = ops.sum(token_scores, axis=1) / length_penalty(
        ops.cast(lengths, "float32"), options.length_penalty
    )
    attention = ops.where(ops.expand_dims(mask, 2), attention, 0.0)
    one = [
        ops.expand_dims(each, 1) for each in (reference, lengths, total, token_scores, attention)
    ]
    found = Hypotheses(*one)
    if options.coverage_penalty:
        covered = coverage_scores(found.attention, source != PAD, options.coverage_penalty)
        found = found._replace(scores=found.scores + covered)
    return found
