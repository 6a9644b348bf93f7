"""Handling of input lines that exceed the maximum source or target length."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from keras_attn_nmt.text.blank import is_blank
from keras_attn_nmt.text.fitting import cropped

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
    excess: Callable[[str], str] | None = None,
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
        excess: Why the translation of a line would be too long, or `""`. Such a line is skipped
            where too long ones are cropped.

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
        number = names[len(texts)] if names else f"Line {before + len(texts) + 1}"
        length = len(ids) + 1  # With the end of the sentence.
        text = line
        if length > limit and not is_blank(line):
            reason = f"{number} of the {name} has {length} tokens, the limit is {limit}"
            if too_long == "stop":
                return texts, ValueError(
                    f"{reason}: split it into sentences, or use --too-long skip or --too-long crop."
                )
            logger.warning("%s: %s", reason, "skipped" if too_long == "skip" else "cropped")
            text = "" if too_long == "skip" else cropped(tokenizer, ids[: limit - 1])
        if excess and (reason := excess(text)):
            reason = f"{number} of the {name} {reason}"
            if too_long == "stop":
                return texts, ValueError(f"{reason}: raise --max-length, or use --too-long skip.")
            logger.warning("%s: skipped", reason)
            text = ""
        texts.append(text)
    return texts, None
