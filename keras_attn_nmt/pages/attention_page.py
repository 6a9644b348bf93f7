"""A page of translations with their attention: of one sentence, as n-best list, or of several."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.pages.document import ATTENTION_SCRIPTS, ATTENTION_STYLES, html_document
from keras_attn_nmt.text.alignment import format_pharaoh

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation

# Decimal places of attention and scores: a page is read, not computed with.
_PLACES = 4
# Height of a notebook's frame in pixels: lines and controls, and each row of the map.
_FRAME, _ROW, _TALLEST = 420, 34, 1000


def attention_page(
    translations: Sequence[Translation],
    sources: Sequence[str],
    *,
    title: str = "Attention",
    source_language: str = "",
    target_language: str = "",
) -> str:
    """An HTML page that shows translations; one of several is chosen in a list.

    Args:
        translations: The translations, such as an n-best list.
        sources: The source text of each.
        title: Title of the page.
        source_language: Language code of the sources, such as `"de"`.
        target_language: Language code of the translations.

    Raises:
        ValueError: There is no translation, or not one source for each.
    """
    if not translations or len(translations) != len(sources):
        raise ValueError(
            "A page needs at least one translation and one source for each: got "
            f"{len(translations)} translations and {len(sources)} sources."
        )
    data = {
        "title": title,
        "source_language": source_language,
        "target_language": target_language,
        "translations": [
            translation_json(source, translation)
            for source, translation in zip(sources, translations, strict=True)
        ],
    }
    return html_document(
        title,
        data,
        (*ATTENTION_SCRIPTS, "attention_page.js"),
        (*ATTENTION_STYLES, "page.css"),
    )


def translation_json(source: str, found: Translation, places: int = _PLACES) -> dict[str, Any]:
    """A translation as `keras-attn-nmt translate --json` prints it, with fewer decimal places."""
    return {
        "source": source,
        "translation": found.text,
        "score": round(float(found.score), places),
        "complete": found.complete,
        "source_tokens": list(found.source_tokens),
        "target_tokens": list(found.target_tokens),
        "token_scores": [_short(score, places) for score in found.token_scores],
        "alignment": format_pharaoh(found.alignment()),
        "attention": [[_short(weight, places) for weight in row] for row in found.attention],
    }


def notebook_frame(page: str, rows: int) -> str:
    """A page as an `<iframe>`, which runs its scripts in a notebook.

    Args:
        page: The page.
        rows: Number of target tokens, for the height.
    """
    height = min(_TALLEST, _FRAME + _ROW * rows)
    return (
        f'<iframe srcdoc="{html.escape(page)}" width="100%" height="{height}" '
        'sandbox="allow-scripts allow-downloads" title="Attention of a translation" '
        'frameborder="0"></iframe>'
    )


def _short(value: float, places: int) -> float:
    """A rounded number; whole ones as integers, as most weights are 0."""
    rounded = round(float(value), places)
    return int(rounded) if rounded.is_integer() else rounded
