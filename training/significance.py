"""Paired bootstrap resampling of two systems with sacreBLEU (Koehn 2004)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from keras_attn_nmt.checks import check_whole
from keras_attn_nmt.training.evaluation import comparable, metrics, reference_lists

# sacreBLEU's.
SEED, SAMPLES = 12345, 1000
_SEED_VARIABLE = "SACREBLEU_SEED"


def paired_bootstrap(
    translations: Sequence[str],
    against: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    seed: int = SEED,
    samples: int = SAMPLES,
) -> dict[str, dict[str, Any]]:
    """Tests whether a system differs from a second one, by BLEU and chrF of the same sentences.

    The test is `PairedTest` of sacreBLEU: `samples` test sets are drawn from this one with
    replacement. Equal scores are no difference, with a p-value of 1; sacreBLEU 2.6.0 gives them
    the smallest one there is.

    Args:
        translations: Detokenised translations.
        against: Those of the second system, as many.
        references: See `corpus_scores`.
        tokenize: See `corpus_scores`.
        seed: Seed of the samples. At least 1: sacreBLEU 2.6.0 takes 0 as no seed.
        samples: Number of samples. At least 1.

    Returns:
        `bleu`, `bleu_lowercase` and `chrf`, each with `score` and `against` (0 to 100), the
        half-widths of their 95 % confidence intervals `interval` and `against_interval`,
        `difference`, `p_value` and the `signature` of sacreBLEU.

    Raises:
        ValueError: The numbers of translations differ, there are none, an argument is out of
            range, or the tokeniser is unknown.

    References:
        [Koehn 2004](https://aclanthology.org/W04-3250)
    """
    check_whole("seed", seed)
    check_whole("samples", samples)
    translations, against, *lists = (
        [each and comparable(each) for each in lines]
        for lines in (translations, against, *reference_lists(references))
    )
    for name, lines in [("translations of the second system", against)] + [
        ("references", each) for each in lists
    ]:
        if not translations or len(lines) != len(translations):
            raise ValueError(
                "A comparison needs the same sentences of both systems, and at least one: got "
                f"{len(translations)} translations and {len(lines)} {name}."
            )
    return {
        name: _compared(metric, translations, against, lists, seed, samples)
        for name, metric in metrics(tokenize).items()
    }


def _compared(
    metric: Any,
    translations: Sequence[str],
    against: Sequence[str],
    references: list[list[str]],
    seed: int,
    samples: int,
) -> dict[str, Any]:
    from sacrebleu.significance import PairedTest

    # One metric a test, as it would take BLEU of both cases for the same.
    systems = [("against", against), ("system", translations)]
    with _seed(seed):
        test = PairedTest(systems, {"metric": metric}, references, "bs", samples)
    signatures, scores = test()
    ((name, signature),) = signatures.items()
    results: list[Any] = scores[name]
    other, own = results
    difference = float(own.score) - float(other.score)
    # NumPy's floats are no JSON.
    return {
        "score": float(own.score),
        "interval": float(own.ci),
        "against": float(other.score),
        "against_interval": float(other.ci),
        "difference": difference,
        "p_value": float(own.p_value) if difference else 1.0,
        "signature": str(signature),
    }


@contextmanager
def _seed(seed: int) -> Iterator[None]:
    """The only way to give sacreBLEU a seed."""
    before = os.environ.get(_SEED_VARIABLE)
    os.environ[_SEED_VARIABLE] = str(seed)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_SEED_VARIABLE]
        else:
            os.environ[_SEED_VARIABLE] = before
