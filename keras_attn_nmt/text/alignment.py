"""Attention as word alignment: from pieces to words, from weights to links, and how wrong they are.

    attention of pieces -> fold_attention -> weights of words -> hard_alignment -> links (i, j)

A link is a source word and a target word, counted from 0, as in the Pharaoh format (`0-0 2-1`).
Words are what stands between spaces. Needs nothing but NumPy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Link = tuple[int, int]

# SentencePiece's sign for a space.
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
END = "</s>"
_LINK = re.compile(r"(\d+)([-p?])(\d+)")


class GoldAlignment(NamedTuple):
    """What people say of a sentence pair.

    Attributes:
        sure: Links that have to be there.
        possible: Links that may be there, the sure ones included.
    """

    sure: set[Link]
    possible: set[Link]


def split_words(text: str) -> list[str]:
    """What stands between the spaces of a text; SentencePiece takes its own sign for one, too."""
    return [word for word in text.replace(SPACE, " ").split(" ") if word]


def word_of_tokens(tokens: Sequence[str]) -> list[int]:
    """Which word each SentencePiece token is of, from 0; -1 for the end of the sentence.

    A token of nothing but spaces is of the word after it, or of none.

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
    """Attention between tokens as attention between words.

    The weights on the tokens of a source word are summed, and those from the tokens of a target
    word averaged, so that what a word looks at still sums to 1 (Clark et al. 2019, section 4.1);
    but for the share of the end of the source, which is no word and is left out.

    Args:
        attention: `(len(target_tokens), len(source_tokens))`.
        source_tokens: As in `Translation`.
        target_tokens: As in `Translation`.

    Returns:
        float32, `(target words, source words)`.

    Raises:
        ValueError: The attention has another shape.

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
    """1 where a token is of a word, float32, `(words, tokens)`."""
    words = np.array(word_of_tokens(tokens), "int64").reshape(-1)
    return (words == np.arange(words.max(initial=-1) + 1)[:, np.newaxis]).astype("float32")


def hard_alignment(weights: npt.ArrayLike) -> set[Link]:
    """The source word with the most weight for each target word (Luong et al. 2015, section 5.4).

    Args:
        weights: What `fold_attention` gave, `(target words, source words)`. A target word without
            any weight, as where there is no attention, has no link.

    References:
        [Luong, Pham & Manning 2015](https://arxiv.org/abs/1508.04025)
    """
    weights = np.asarray(weights)
    return {(int(row.argmax()), j) for j, row in enumerate(weights) if row.size and row.max() > 0}


def format_pharaoh(links: Iterable[Link]) -> str:
    """Links in the Pharaoh format, in order of the target: `"0-0 2-1"`."""
    links = set(links)
    return format_gold(GoldAlignment(links, links))


def format_gold(gold: GoldAlignment) -> str:
    """What `parse_pharaoh` reads: `"0-0 1p0"`."""
    links = sorted(gold.possible | gold.sure, key=lambda link: link[::-1])
    return " ".join(f"{i}{'-' if (i, j) in gold.sure else 'p'}{j}" for i, j in links)


def parse_pharaoh(line: str, where: str = "alignment") -> GoldAlignment:
    """Reads a line of links: `0-1` is sure, `0p1` or `0?1` is possible, both counted from 0.

    Args:
        line: The line.
        where: What an error calls it.

    Raises:
        ValueError: Something is no link.
    """
    sure, possible = set(), set()
    for text in line.split():
        match = _LINK.fullmatch(text)
        if match is None:
            raise ValueError(f"{where}: {text!r} is no link such as 0-1 (sure) or 0p1 (possible).")
        link = int(match[1]), int(match[3])
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldAlignment(sure, possible)


def check_links(gold: GoldAlignment, source: str, target: str, where: str = "alignment") -> None:
    """Raises a `ValueError` if a link is of a word that a sentence pair does not have."""
    words = len(split_words(source)), len(split_words(target))
    for i, j in sorted(gold.possible):
        if i >= words[0] or j >= words[1]:
            raise ValueError(
                f"{where}: {i}-{j} links a word that is not there, of {words[0]} source and "
                f"{words[1]} target words. They are counted from 0."
            )


def alignment_error_rate(found: Iterable[set[Link]], gold: Iterable[GoldAlignment]) -> float:
    """How far alignments are from those of people, from 0 to 1, over all sentences together.

        AER = 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|)

    Args:
        found: A, the links of each sentence pair.
        gold: S and P of each.

    Raises:
        ValueError: There are not as many of one as of the other, or no gold link at all.

    References:
        [Och & Ney 2003](https://aclanthology.org/J03-1002), section 5
    """
    right = total = known = 0
    for links, (sure, possible) in zip(found, gold, strict=True):
        right += len(links & sure) + len(links & possible)
        total += len(links) + len(sure)
        known += len(possible | sure)
    if not known:
        raise ValueError("There is no link in the gold alignment: nothing to compare with.")
    if not total:
        raise ValueError("There is no link at all: nothing was found, and nothing is sure.")
    return 1 - right / total
