"""Corpus evaluation: BLEU and chrF with sacreBLEU signatures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from keras_attn_nmt.extras import extra
from keras_attn_nmt.translator import Translator


def corpus_scores(
    translations: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    tokenize: str = "13a",
) -> dict[str, dict[str, Any]]:
    """Corpus BLEU and chrF against one or more references (Post 2018).

    Args:
        translations: Detokenised translations.
        references: One reference per translation; or several such lists, as in sacreBLEU: the
            first references of all translations, then the second references, and so on.
        tokenize: sacreBLEU tokeniser, such as `"13a"`, `"ja-mecab"`, `"char"` or `"none"`.

    Returns:
        `bleu`, `bleu_lowercase` and `chrf`, each `{"score": 0 to 100, "signature": ...}`.

    Raises:
        ValueError: There are no translations, a list does not have one reference per translation,
            or the tokeniser is unknown.
    """
    lists = _reference_lists(references)
    for each in lists:
        if not translations or len(translations) != len(each):
            raise ValueError(
                "Scoring needs one reference per translation and at least one translation: got "
                f"{len(translations)} translations and {len(each)} references."
            )
    scores = {}
    for name, metric in _metrics(tokenize).items():
        score = metric.corpus_score(list(translations), lists).score
        scores[name] = {"score": score, "signature": str(metric.get_signature())}
    return scores


def _reference_lists(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """Normalises to lists of first references, second references, and so on."""
    if all(isinstance(each, str) for each in references):
        return [[str(each) for each in references]]
    return [list(each) for each in references]


def _metrics(tokenize: str) -> dict[str, Any]:
    with extra("train"):
        import sacrebleu
    try:
        return {
            "bleu": sacrebleu.BLEU(tokenize=tokenize),
            "bleu_lowercase": sacrebleu.BLEU(tokenize=tokenize, lowercase=True),
            "chrf": sacrebleu.CHRF(),
        }
    except KeyError as error:
        known = ", ".join(sorted(sacrebleu.BLEU.TOKENIZERS))
        raise ValueError(f"Unknown tokeniser {tokenize!r}. Known to sacreBLEU: {known}.") from error
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"The tokeniser {tokenize!r} cannot be used: {error}") from error


def bleu_signature() -> str:
    """sacreBLEU signature of the logged `val_bleu`: mixed case, 13a."""
    return str(corpus_scores(["-"], ["-"])["bleu"]["signature"])


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    **options: Any,
) -> dict[str, Any]:
    """Translates and scores a test set.

    Args:
        translator: The model.
        sources: Source sentences.
        references: See `corpus_scores`.
        tokenize: See `corpus_scores`.
        **options: Options of `Translator.nbest`: `beam_size`, `length_penalty`, ...

    Returns:
        The scores of `corpus_scores`, and `references` (per sentence), `exact_match` (share of
        translations equal to a reference, in [0, 1]), `sentences`, `seconds`,
        `sentences_per_second`, `target_tokens_per_second` and `translations`.
    """
    # Reject an unknown tokeniser before translating.
    _metrics(tokenize)
    # Warm-up: trace the graph outside of the timed run.
    translator(list(sources[:1]), **options)
    start = time.perf_counter()
    found = translator(list(sources), **options)
    seconds = time.perf_counter() - start
    texts = [each.text for each in found]
    lists = _reference_lists(references)
    hits = sum(text in given for text, *given in zip(texts, *lists, strict=True))
    return {
        **corpus_scores(texts, references, tokenize),
        "references": len(lists),
        "exact_match": hits / len(texts),
        "sentences": len(texts),
        "seconds": seconds,
        "sentences_per_second": len(texts) / seconds,
        "target_tokens_per_second": sum(len(each.target_tokens) for each in found) / seconds,
        "translations": texts,
    }
