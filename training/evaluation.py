"""BLEU and chrF of translations, with sacreBLEU's signatures."""

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
    """Corpus scores against one or several references each (Post 2018).

    Args:
        translations: Detokenised translations.
        references: As many references; or several such lists, as sacreBLEU takes them: the first
            references of all translations, their second ones, and so on.
        tokenize: sacreBLEU's tokeniser, such as `"13a"`, `"ja-mecab"`, `"char"` or `"none"`.

    Returns:
        `bleu`, `bleu_lowercase` and `chrf`, each `{"score": 0 to 100, "signature": ...}`.

    Raises:
        ValueError: There is nothing to score, a list has not one reference for each translation,
            or there is no such tokeniser.
    """
    lists = _reference_lists(references)
    for each in lists:
        if not translations or len(translations) != len(each):
            raise ValueError(
                "Scoring needs as many references as translations, and at least one: got "
                f"{len(translations)} translations and {len(each)} references."
            )
    scores = {}
    for name, metric in _metrics(tokenize).items():
        score = metric.corpus_score(list(translations), lists).score
        scores[name] = {"score": score, "signature": str(metric.get_signature())}
    return scores


def _reference_lists(references: Sequence[str] | Sequence[Sequence[str]]) -> list[list[str]]:
    """A list for the first references, one for the second, and so on."""
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
        raise ValueError(f"There is no tokeniser {tokenize!r}. sacreBLEU has: {known}.") from error
    except (ImportError, RuntimeError) as error:
        raise ValueError(f"The tokeniser {tokenize!r} cannot be used: {error}") from error


def bleu_signature() -> str:
    """sacreBLEU's signature of the `val_bleu` that training logs: mixed case, 13a."""
    return str(corpus_scores(["-"], ["-"])["bleu"]["signature"])


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    **options: Any,
) -> dict[str, Any]:
    """Translates a test set and scores it.

    Args:
        translator: The model.
        sources: Sentences.
        references: A translation of each, or several lists of them, as in `corpus_scores`.
        tokenize: As in `corpus_scores`.
        **options: As in `Translator.nbest`: `beam_size`, `length_penalty`, ...

    Returns:
        The scores of `corpus_scores`, and `references` (of each sentence), `exact_match` (share of
        translations equal to one of their references, 0 to 1), `sentences`, `seconds`,
        `sentences_per_second`, `target_tokens_per_second` and `translations`.
    """
    # An unknown tokeniser is said before the work, not after it.
    _metrics(tokenize)
    # The first sentences pay for tracing; they are translated again with all others.
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
