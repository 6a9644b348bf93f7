"""Output formats of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.translation import Translation


def one_line(text: str) -> str:
    """Replaces line breaks by spaces."""
    return " ".join(text.splitlines())


def as_json(source: str, found: Translation) -> dict[str, Any]:
    """A translation with scores, alignment and attention as a JSON object."""
    from keras_attn_nmt.pages.attention_page import translation_json

    return translation_json(source, found, places=6)
