"""Word alignment from attention, the Pharaoh format and the alignment error rate.

    subword attention -> fold_attention -> word attention -> hard_alignment -> links (i, j)

A link is a pair of 0-based source and target word indices, as in the Pharaoh format (`0-0 2-1`).
Words are separated by spaces. Requires only NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Link = tuple[int, int]

# SentencePiece's symbol for a space.
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
END = "</s>"
_LINK = re.compile(r"([0-9]+)([-p?])([0-9]+)")


class GoldAlignment(NamedTuple):
    """The gold alignment of a sentence pair.

    Attributes:
        sure: Sure links.
        possible: Possible links, including the sure ones.
    """

    sure: set[Link]
    possible: set[Link]


def split_words(text: str) -> list[str]:
    """Splits at spaces and at SentencePiece's symbol for a space."""
    return [word for word in text.replace(SPACE, " ").split(" ") if word]


def word_of_tokens(tokens: Sequence[str]) -> list[int]:
    """The 0-based word index of each SentencePiece token; -1 for `</s>`.

    A token that consists of spaces belongs to the following word, if any.

    Example:
        >>> word_of_tokens(["▁ein", "und", "vierzig", "▁Jahre", "</s>"])
        [0, 0, 0, 1, -1]
    """
    words: list[int] = []
    word, starts = -1, True
    for token in tokens:
        starts = starts or token.startswith(SPACE)
        if token != END and token.strip(SPACE):
            word += starts
            # A space at the end of a token ends its word.
            starts = token.endswith(SPACE)
            words.append(word)
        else:
            words.append(-1 if token == END else word + 1)
    return [each if each <= word else -1 for each in words]


def fold_attention(
    attention: npt.ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str]
) -> np.ndarray:
    """Converts subword attention to word attention (Clark et al. 2019, section 4.1).

    Weights are summed over the tokens of a source word and averaged over the tokens of a target
    word, so that rows still sum to 1, except for the weight on the source's `</s>`, which is
    dropped.

    Args:
        attention: `(len(target_tokens), len(source_tokens))`.
        source_tokens: See `Translation`.
        target_tokens: See `Translation`.

    Returns:
        float32, `(target words, source words)`.

    Raises:
        ValueError: The attention has the wrong shape.

    References:
        [Clark et al. 2019](https://arxiv.org/abs/1906.04341)
    """
    weights = np.asarray(attention, "float32")
    if weights.shape != (len(target_tokens), len(source_tokens)):
        raise ValueError(
            f"attention of shape {weights.shape} does not fit {len(target_tokens)} target and "
            f"{len(source_tokens)} source tokens: expected (target tokens, source tokens)."
        )
    from_words, to_words = _membership(target_tokens), _membership(source_tokens)
    means = from_words / np.maximum(from_words.sum(axis=1, keepdims=True), 1)
    return means @ weights @ to_words.T


def _membership(tokens: Sequence[str]) -> np.ndarray:
    """1 where a token belongs to a word, float32, `(words, tokens)`."""
    words = np.array(word_of_tokens(tokens), "int64").reshape(-1)
    return (words == np.arange(words.max(initial=-1) + 1)[:, np.newaxis]).astype("float32")


def hard_alignment(weights: npt.ArrayLike) -> set[Link]:
    """Links each target word to the source word with the highest weight (Luong et al. 2015, 5.4).

    Args:
        weights: Output of `fold_attention`, `(target words, source words)`. A target word whose
            weights are all zero, as without attention, has no link.

    References:
        [Luong, Pham & Manning 2015](https://arxiv.org/abs/1508.04025)
    """
    weights = np.asarray(weights)
    return {(int(row.argmax()), j) for j, row in enumerate(weights) if row.size and row.max() > 0}


def format_pharaoh(links: Iterable[Link]) -> str:
    """Formats links in Pharaoh format, sorted by target word: `"0-0 2-1"`."""
    links = set(links)
    return format_gold(GoldAlignment(links, links))


def format_gold(gold: GoldAlignment) -> str:
    """Formats a gold alignment for `parse_pharaoh`: `"0-0 1p0"`."""
    links = sorted(gold.possible | gold.sure, key=lambda link: link[::-1])
    return " ".join(f"{i}{'-' if (i, j) in gold.sure else 'p'}{j}" for i, j in links)


def parse_pharaoh(line: str, where: str = "alignment") -> GoldAlignment:
    """Parses a line of links: `0-1` is sure, `0p1` or `0?1` possible; indices are 0-based.

    Args:
        line: The line.
        where: Location of the line, for error messages.

    Raises:
        ValueError: A link is malformed.
    """
    sure, possible = set(), set()
    for text in line.split():
        match = _LINK.fullmatch(text)
        if match is None:
            raise ValueError(
                f"{where}: {text!r} is not a link; expected 0-1 (sure) or 0p1 (possible)."
            )
        link = int(match[1]), int(match[3])
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldAlignment(sure, possible)


def check_links(gold: GoldAlignment, source: str, target: str, where: str = "alignment") -> None:
    """Raises `ValueError` if a link is out of range for a sentence pair."""
    words = len(split_words(source)), len(split_words(target))
    for i, j in sorted(gold.possible):
        if i >= words[0] or j >= words[1]:
            raise ValueError(
                f"{where}: link {i}-{j} is out of range for {words[0]} source and {words[1]} "
                "target words (counted from 0)."
            )


def alignment_error_rate(found: Iterable[set[Link]], gold: Iterable[GoldAlignment]) -> float:
    """Corpus-level alignment error rate (AER), in [0, 1].

        AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    Args:
        found: A, the predicted links of each sentence pair.
        gold: S and P, the gold alignment of each sentence pair.

    Raises:
        ValueError: The lengths differ, or there is no gold link.

    References:
        [Och & Ney 2003](https://aclanthology.org/J03-1002), section 5
    """
    right = total = known = 0
    for links, (sure, possible) in zip(found, gold, strict=True):
        right += len(links & sure) + len(links & possible)
        total += len(links) + len(sure)
        known += len(possible | sure)
    if not known:
        raise ValueError("The gold alignment has no links: AER is undefined.")
    if not total:
        raise ValueError("There are neither predicted nor sure links: AER is undefined.")
    return 1 - right / total
