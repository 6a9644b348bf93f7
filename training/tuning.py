"""Chooses the search options of a model on validation data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from keras_attn_nmt.checks import check_known
from keras_attn_nmt.decoding.search_options import SearchOptions
from keras_attn_nmt.training.evaluation import check_references, corpus_scores, metrics
from keras_attn_nmt.training.phone_errors import error_rates
from keras_attn_nmt.translator import Translator

METRICS = ("bleu", "bleu_lowercase", "chrf")
BEAM_SIZES = (3, 5, 8, 12)
LENGTH_PENALTIES = (0.0, 0.5, 1.0, 1.5, 2.0)
COVERAGE_PENALTIES = (0.0, 0.1, 0.2, 0.4)


@dataclasses.dataclass(frozen=True)
class Trial:
    """Search options and the score that they reach.

    Attributes:
        options: The options.
        score: Of the validation data; more is better.
    """

    options: SearchOptions
    score: float


def tune_search(
    measure: Callable[[SearchOptions], float],
    current: SearchOptions,
    *,
    beam_sizes: Sequence[int] = BEAM_SIZES,
    length_penalties: Sequence[float] = LENGTH_PENALTIES,
    coverage_penalties: Sequence[float] = COVERAGE_PENALTIES,
) -> Iterator[Trial]:
    """Tries search options: first the current ones, then all pairs of beam size and length penalty
    without coverage penalty, then all coverage penalties with the best pair. A beam of 1 is tried
    with the current length penalty alone: no penalty could rank a single hypothesis.

    Args:
        measure: The score of options; more is better, see `measure_translations` and
            `measure_phones`.
        current: Search options of the model. Their maximum length is kept, and their diversity
            penalty, but for a beam of 1.
        beam_sizes: Beam sizes to try.
        length_penalties: Length penalties to try.
        coverage_penalties: Coverage penalties to try.

    Yields:
        The trials, as they are made. `best_trial` chooses.

    Raises:
        ValueError: A value is out of range.
    """
    pairs = [
        current.replaced(beam_size=beam, length_penalty=alpha, coverage_penalty=0.0)
        for beam in beam_sizes
        for alpha in (length_penalties if beam > 1 else [current.length_penalty])
    ]
    # Refuses values out of range before the first trial.
    for name, values in (
        ("length_penalty", length_penalties),
        ("coverage_penalty", coverage_penalties),
    ):
        for value in values:
            current.replaced(**{name: value})
    trials: list[Trial] = []

    def tried(options: Sequence[SearchOptions]) -> Iterator[Trial]:
        for each in dict.fromkeys(options):
            if all(each != trial.options for trial in trials):
                trials.append(Trial(each, measure(each)))
                yield trials[-1]

    yield from tried([current, *pairs])
    best = best_trial([trial for trial in trials if trial.options in pairs] or trials).options
    if best.beam_size > 1:
        yield from tried([best.replaced(coverage_penalty=weight) for weight in coverage_penalties])


def best_trial(trials: Sequence[Trial]) -> Trial:
    """The trial with the best score, the first of equal ones."""
    return max(trials, key=lambda trial: trial.score)


def measure_translations(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    metric: str = "bleu",
    tokenize: str = "13a",
    batch_size: int = 64,
) -> Callable[[SearchOptions], float]:
    """BLEU or chrF of a validation set, for `tune_search`.

    Args:
        translator: The model.
        sources: Source sentences.
        references: See `corpus_scores`.
        metric: `"bleu"`, `"bleu_lowercase"` or `"chrf"`.
        tokenize: See `corpus_scores`.
        batch_size: Sentences per batch.

    Raises:
        ValueError: The metric or the tokeniser is unknown, or no reference has four tokens,
            see `check_references`.
    """
    check_known("metric", [metric], METRICS)
    metrics(tokenize)
    if metric != "chrf":
        check_references(references, tokenize)

    def measure(options: SearchOptions) -> float:
        found = translator(sources, batch_size=batch_size, **dataclasses.asdict(options))
        texts = [each.text for each in found]
        return float(corpus_scores(texts, references, tokenize)[metric]["score"])

    return measure


def measure_phones(
    translator: Translator, dictionary: dict[str, list[str]], *, batch_size: int = 64
) -> Callable[[SearchOptions], float]:
    """Word accuracy in percent of a model that predicts phones, for `tune_search`.

    Args:
        translator: The model.
        dictionary: All pronunciations of each word.
        batch_size: Words per batch.
    """
    words, known = list(dictionary), list(dictionary.values())

    def measure(options: SearchOptions) -> float:
        found = translator(words, batch_size=batch_size, **dataclasses.asdict(options))
        return 100 * (1 - error_rates([each.text for each in found], known)["word_error_rate"])

    return measure
