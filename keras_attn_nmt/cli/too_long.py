"""Lines with more tokens than a model takes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_attn_nmt.text.blank import is_blank

if TYPE_CHECKING:
    from keras_attn_nmt.text.tokenizer import Tokenizer

# What to do with one.
TOO_LONG = ("stop", "skip", "crop")

logger = logging.getLogger(__name__)


def fit_lines(
    lines: Sequence[str], translator: Any, too_long: str, before: int
) -> tuple[list[str], ValueError | None]:
    """What a model can read of some lines.

    Args:
        lines: Lines of the input.
        translator: A `Translator` or `TFLiteTranslator`.
        too_long: One of `TOO_LONG`: a line that is too long ends the lines, becomes empty, or is
            cropped to as many tokens as the model takes. The last two are logged.
        before: How many lines of the input came before.

    Returns:
        `(texts, error)`: a text for each line, and what is wrong with the line after these, if it
        was a reason to stop.
    """
    tokenizer, limit = translator.source_tokenizer, translator.max_source_length
    texts: list[str] = []
    for line, ids in zip(lines, tokenizer.encode(lines), strict=True):
        length = len(ids) + 1  # With the end of the sentence.
        if length <= limit or is_blank(line):
            texts.append(line)
            continue
        reason = (
            f"Line {before + len(texts) + 1} of the input has {length} tokens, the limit is {limit}"
        )
        if too_long == "stop":
            return texts, ValueError(
                f"{reason}: split it into sentences, or see --too-long skip and --too-long crop."
            )
        if too_long == "skip":
            logger.warning("%s: skipped", reason)
            texts.append("")
        else:
            logger.warning("%s: cropped", reason)
            texts.append(_cropped(tokenizer, ids[: limit - 1]))
    return texts, None


def _cropped(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of the first tokens of a longer one, without the half character at its end."""
    text = tokenizer.decode([ids])[0].rstrip("\ufffd")
    # Other pieces may spell the beginning when nothing follows it, and more of them.
    while len(tokenizer.encode([text])[0]) > len(ids):
        text = text[:-1]
    return text
