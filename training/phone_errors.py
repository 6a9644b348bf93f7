"""Evaluation of letter-to-phone conversion: word and phone error rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_attn_nmt.training.evaluation import comparable, timed
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator


def phone_errors(found: Sequence[str], reference: Sequence[str]) -> int:
    """Edit distance: the least number of substituted, inserted and deleted phones."""
    row = list(range(len(reference) + 1))
    for i, phone in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, wanted in enumerate(reference, 1):
            diagonal, row[j] = (
                row[j],
                min(diagonal + (phone != wanted), row[j] + 1, row[j - 1] + 1),
            )
    return row[-1]


def error_rates(found: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Word and phone error rates of words that may have several pronunciations; any is right.

    Args:
        found: The predicted phones of each word, separated by spaces.
        references: All pronunciations of each word, in the same form.

    Returns:
        `word_error_rate`, the share of words without an exact match; and `phone_error_rate`, the
        sum of phone errors divided by the number of phones, both in the pronunciation with the
        fewest errors per word. Both are fractions; the latter can be above 1.

    Raises:
        ValueError: There are no words, or a word has no pronunciation.

    Example:
        >>> error_rates(["R EH D", "K AE T S"], [["R IY D", "R EH D"], ["K AE T"]])
        {'word_error_rate': 0.5, 'phone_error_rate': 0.16666666666666666}
    """
    if not found or len(found) != len(references) or not all(references):
        raise ValueError(
            "error rates need at least one word, and at least one pronunciation of each: got "
            f"{len(found)} predictions and {sum(map(bool, references))} words with pronunciations."
        )
    wrong = errors = phones = 0
    for text, known in zip(found, references, strict=True):
        predicted = comparable(text).split()
        closest = min(
            (phone_errors(predicted, wanted), len(wanted))
            for wanted in (comparable(reference).split() for reference in known)
        )
        wrong += closest[0] > 0
        errors += closest[0]
        phones += closest[1]
    return {"word_error_rate": wrong / len(found), "phone_error_rate": errors / max(phones, 1)}


def pronounce_and_score(
    translator: Translator, dictionary: Mapping[str, Sequence[str]], **options: Any
) -> tuple[dict[str, Any], list[Translation]]:
    """Predicts the phones of the words of a test set and scores them.

    Args:
        translator: The model.
        dictionary: All pronunciations of each word, see `dictionaries.pronunciations`.
        **options: Options of `Translator.nbest`: `beam_size`, `length_penalty`, ...

    Returns:
        `(scores, found)`: the rates of `error_rates`, and `words`, `pronunciations`, `seconds` and
        `words_per_second`; the predictions in the order of the words.
    """
    words = list(dictionary)
    found, seconds = timed(translator, words, **options)
    scores = {
        **error_rates([each.text for each in found], list(dictionary.values())),
        "words": len(words),
        "pronunciations": sum(map(len, dictionary.values())),
        "seconds": seconds,
        "words_per_second": len(words) / seconds,
    }
    return scores, found
