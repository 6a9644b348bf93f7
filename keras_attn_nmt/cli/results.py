"""Output formats of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.text.paragraphs import Paragraph
    from keras_attn_nmt.translation import Translation


def one_line(text: str) -> str:
    """Replaces line breaks by spaces."""
    return " ".join(text.splitlines())


def moses_line(line: int, found: Translation) -> str:
    """A translation in the n-best format of Moses: `id ||| text ||| features ||| score`.

    Features are the log-probability and the number of tokens, from which a length penalty can be
    tuned. `|||` in the text is escaped as Moses' tokenizer does, so that a line always has four
    fields.

    Args:
        line: 0-based number of the input line.
        found: The translation.

    References:
        [Moses manual](https://www2.statmt.org/moses/?n=Advanced.Search)
    """
    text = one_line(found.text).replace("|||", "&#124;" * 3)
    features = f"LogProb= {found.log_probability:.6f} Tokens= {len(found.target_tokens)}"
    # Adding 0.0 removes the sign of a negative zero.
    return f"{line} ||| {text} ||| {features} ||| {found.score + 0.0:.6f}"


def as_json(source: str, found: Translation | Paragraph) -> dict[str, Any]:
    """A translation with scores, alignment and attention as a JSON object.

    A paragraph has those of each sentence.
    """
    from keras_attn_nmt.pages.attention_page import translation_json
    from keras_attn_nmt.text.paragraphs import Paragraph

    if isinstance(found, Paragraph):
        pairs = zip(found.sources, found.sentences, strict=True)
        return {
            "source": source,
            "translation": found.text,
            "score": round(found.score, 6),
            "complete": found.complete,
            "sentences": [as_json(*pair) for pair in pairs],
        }
    return translation_json(source, found, places=6)
