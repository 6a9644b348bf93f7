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
    from keras_attn_nmt.text.alignment import format_pharaoh

    return {
        "source": source,
        "translation": found.text,
        "score": round(found.score, 6),
        "complete": found.complete,
        "source_tokens": found.source_tokens,
        "target_tokens": found.target_tokens,
        "token_scores": [round(float(score), 6) for score in found.token_scores],
        "alignment": format_pharaoh(found.alignment()),
        "attention": [[round(float(weight), 6) for weight in row] for row in found.attention],
    }
