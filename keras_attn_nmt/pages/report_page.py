"""A page of a whole test set: scores, BLEU by length, and each sentence with its attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.pages.attention_page import translation_json
from keras_attn_nmt.pages.document import ATTENTION_SCRIPTS, ATTENTION_STYLES, html_document

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

# Decimal places of weights and scores: with 1,000 sentences the page stays below some megabytes.
_PLACES = 3


def report_page(
    sources: Sequence[str],
    translations: Sequence[Translation],
    references: Sequence[Sequence[str]],
    sentence_scores: Sequence[Mapping[str, float]],
    *,
    scores: Mapping[str, Any],
    by_length: Sequence[Mapping[str, float]],
    settings: Mapping[str, Any],
    title: str = "Evaluation",
    source_language: str = "",
    target_language: str = "",
) -> str:
    """An HTML page for reading a model's translations of a test set, worst first.

    Args:
        sources: Source sentences.
        translations: Their translations.
        references: The reference translations of each sentence.
        sentence_scores: `bleu` and `chrf` of each sentence, from 0 to 100.
        scores: Corpus scores, as `keras_attn_nmt.training.evaluation.evaluate` returns them.
        by_length: Bins of source length: `words` (upper bound), `sentences` and `bleu`.
        settings: What was evaluated and how, by name: model, beam size, ...
        title: Title of the page.
        source_language: Language code of the sources, such as `"de"`.
        target_language: Language code of the translations.
    """
    rows = zip(sources, translations, references, sentence_scores, strict=True)
    data = {
        "title": title,
        "source_language": source_language,
        "target_language": target_language,
        "scores": scores,
        "by_length": by_length,
        "settings": settings,
        "sentences": [
            {
                **translation_json(source, translation, _PLACES),
                "reference": " / ".join(given),
                "bleu": round(each["bleu"], 1),
                "chrf": round(each["chrf"], 1),
            }
            for source, translation, given, each in rows
        ],
    }
    return html_document(
        title,
        data,
        (*ATTENTION_SCRIPTS, "report_chart.js", "report_page.js"),
        (*ATTENTION_STYLES, "page.css", "report_page.css"),
    )
