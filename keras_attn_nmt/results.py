"""Lines of text, JSON and Moses' format for translations."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_attn_nmt.text.paragraphs import Paragraph
    from keras_attn_nmt.translation import Translation


# Forms of a list of translations.
FORMS = ("text", "moses", "json")


def translation_rows(
    form: str, line: int, source: str, best: Sequence[Any], n_best: int
) -> list[str]:
    """The rows for an input line.

    Args:
        form: One of `FORMS`.
        line: 1-based number of the line.
        source: The line.
        best: Its translations, best first: each a `Translation` or a `Paragraph`.
        n_best: Number of rows as text, of which the last are empty if the search found fewer.
    """
    if form == "json":
        rows = [
            {"line": line, "rank": rank, **as_json(source, translation)}
            for rank, translation in enumerate(best, 1)
        ]
        return [json.dumps(row, ensure_ascii=False) for row in rows]
    if form == "moses":
        return [moses_line(line - 1, translation) for translation in best]
    texts = [one_line(translation.text) for translation in best]
    return texts + [""] * (n_best - len(texts))


def one_line(text: str) -> str:
    """Replaces by spaces what ends a line of a file."""
    return " ".join(re.split("\r\n|[\r\n]", text))


def alignment_row(source: str, found: Translation | Paragraph) -> str:
    """The word alignment of a line and its translation in Pharaoh format.

    Args:
        source: The line.
        found: Its translation; a paragraph without protected text.
    """
    from keras_attn_nmt.text.alignment import format_pharaoh
    from keras_attn_nmt.text.paragraphs import Paragraph
    from keras_attn_nmt.text.words import links_of_texts

    if not isinstance(found, Paragraph):
        return format_pharaoh(links_of_texts(found, source, found.text))
    links: set[tuple[int, int]] = set()
    texts = [each.text for each in found.sentences]
    sources, targets = _words_before(source, found.sources), _words_before(found.text, texts)
    for number, sentence in enumerate(found.sentences):
        own = links_of_texts(sentence, found.sources[number], texts[number])
        links |= {(i + sources[number], j + targets[number]) for i, j in own}
    return format_pharaoh(links)


def _words_before(text: str, parts: Sequence[str]) -> list[int]:
    """The number of words before each part of a text, without one that goes on in the part."""
    from keras_attn_nmt.text.alignment import split_words

    counts: list[int] = []
    place = words = 0
    for part in parts:
        start = text.index(part, place)
        goes_on = words > 0 and bool(split_words(text[start - 1]))
        counts.append(words - goes_on)
        words = max(words, counts[-1] + len(split_words(part)))
        place = start + len(part)
    return counts


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
