"""Handling of input lines that exceed the maximum source length."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.text.blank import is_blank

if TYPE_CHECKING:
    from keras_attn_nmt.text.tokenizer import Tokenizer

# The policies of --too-long.
TOO_LONG = ("stop", "skip", "crop")

logger = logging.getLogger(__name__)


def fit_lines(
    lines: Sequence[str],
    translator: Any,
    too_long: str,
    before: int,
    side: str = "source",
    names: Sequence[str] | None = None,
) -> tuple[list[str], ValueError | None]:
    """Applies a `--too-long` policy to input lines.

    Args:
        lines: Lines of the input.
        translator: A `Translator` or `TFLiteTranslator`.
        too_long: One of `TOO_LONG`: stop at a too long line, replace it by an empty one, or crop
            it to the maximum length. The last two are logged.
        before: Number of input lines before these.
        side: The language of the lines, `"source"` or `"target"` (only of a `Translator`).
        names: Names of the lines for messages, by default their numbers.

    Returns:
        `(texts, error)`: a text per line, up to the first too long one if the policy is `stop`,
        and the error for that line or `None`.
    """
    tokenizer, limit = translator.source_tokenizer, translator.max_source_length
    name = "input"
    if side == "target":
        tokenizer, name = translator.target_tokenizer, "target"
    texts: list[str] = []
    for line, ids in zip(lines, tokenizer.encode(lines), strict=True):
        length = len(ids) + 1  # With the end of the sentence.
        if length <= limit or is_blank(line):
            texts.append(line)
            continue
        number = names[len(texts)] if names else f"Line {before + len(texts) + 1}"
        reason = f"{number} of the {name} has {length} tokens, the limit is {limit}"
        if too_long == "stop":
            return texts, ValueError(
                f"{reason}: split it into sentences, or use --too-long skip or --too-long crop."
            )
        if too_long == "skip":
            logger.warning("%s: skipped", reason)
            texts.append("")
        else:
            logger.warning("%s: cropped", reason)
            texts.append(_cropped(tokenizer, ids[: limit - 1]))
    return texts, None


def _cropped(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of a token prefix, without an incomplete character at its end."""
    text = tokenizer.decode([ids])[0].rstrip("\ufffd")
    # The prefix alone may be segmented into more pieces than in its context.
    while len(tokenizer.encode([text])[0]) > len(ids):
        text = text[:-1]
    return text
