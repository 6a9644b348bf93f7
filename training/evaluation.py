"""BLEU and chrF of translations, with sacreBLEU's signatures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import sacrebleu

from keras_attn_nmt.memory import keep_freed_memory
from keras_attn_nmt.translator import Translator


def corpus_scores(
    translations: Sequence[str], references: Sequence[str], tokenize: str = "13a"
) -> dict[str, dict[str, Any]]:
    """Corpus scores against one reference each (Post 2018).

    Args:
        translations: Detokenised translations.
        references: As many references.
        tokenize: sacreBLEU's tokeniser, such as `"13a"`, `"ja-mecab"`, `"char"` or `"none"`.

    Returns:
        `bleu`, `bleu_lowercase` and `chrf`, each `{"score": 0 to 100, "signature": ...}`.

    Raises:
        ValueError: There is nothing to score, not one reference for each translation, or no such
            tokeniser.
    """
    if not translations or len(translations) != len(references):
        raise ValueError(
            "Scoring needs as many references as translations, and at least one: got "
            f"{len(translations)} translations and {len(references)} references."
        )
    scores = {}
    for name, metric in _metrics(tokenize).items():
        score = metric.corpus_score(list(translations), [list(references)]).score
        scores[name] = {"score": score, "signature": str(metric.get_signature())}
    return scores


def _metrics(tokenize: str) -> dict[str, Any]:
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
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    **options: Any,
) -> dict[str, Any]:
    """Translates a test set and scores it.

    Args:
        translator: The model.
        sources: Sentences.
        references: A translation of each.
        tokenize: As in `corpus_scores`.
        **options: As in `Translator.nbest`: `beam_size`, `length_penalty`, ...

    Returns:
        The scores of `corpus_scores`, and `exact_match` (share of translations equal to their
        reference, 0 to 1), `sentences`, `seconds`, `sentences_per_second`,
        `target_tokens_per_second` and `translations`.
    """
    # An unknown tokeniser is said before the work, not after it.
    _metrics(tokenize)
    keep_freed_memory()
    # The first sentences pay for tracing; they are translated again with all others.
    translator(list(sources[:1]), **options)
    start = time.perf_counter()
    found = translator(list(sources), **options)
    seconds = time.perf_counter() - start
    texts = [each.text for each in found]
    hits = sum(text == reference for text, reference in zip(texts, references, strict=True))
    return {
        **corpus_scores(texts, references, tokenize),
        "exact_match": hits / len(texts),
        "sentences": len(texts),
        "seconds": seconds,
        "sentences_per_second": len(texts) / seconds,
        "target_tokens_per_second": sum(len(each.target_tokens) for each in found) / seconds,
        "translations": texts,
    }
