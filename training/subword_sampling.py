"""Sampled segmentations: subword regularization and BPE-dropout."""

from __future__ import annotations

import functools
import itertools
import math
import random
import re
from bisect import bisect
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from keras_attn_nmt.text.alignment import SPACE
from keras_attn_nmt.text.special_ids import UNK
from keras_attn_nmt.text.tokenizer import Tokenizer

# Generated at import, so unknown to mypy.
_ModelProto: Any = sentencepiece_model_pb2.ModelProto  # type: ignore[attr-defined]
# Types of models and of pieces (sentencepiece_model.proto).
_UNIGRAM, _BPE = 1, 2
_NORMAL, _USER_DEFINED, _BYTE = 1, 4, 6

# SentencePiece scores an unknown character this far below the lowest score.
_UNKNOWN_PENALTY = 10.0

_KEPT_WORDS, _LONGEST_KEPT_WORD = 8192, 32


def _longest_first(symbols: Iterable[str]) -> re.Pattern[str] | None:
    """Matches one of the symbols, the longest one at each position; `None` without symbols."""
    sorted_symbols = sorted(filter(None, symbols), key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, sorted_symbols))})") if sorted_symbols else None


def _word_pattern(pieces: Collection[str]) -> re.Pattern[str]:
    """Matches a stretch of text whose segmentation is independent of the rest."""
    letters = [piece.lstrip(SPACE) for piece in pieces]
    if any(SPACE in each for each in letters):
        return re.compile(".+", re.DOTALL)
    if any(len(piece) - len(rest) > 1 for piece, rest in zip(pieces, letters, strict=True)):
        return re.compile(f"{SPACE}*[^{SPACE}]+|{SPACE}+")
    return re.compile(f"{SPACE}?[^{SPACE}]*")


# At [end]: the cumulative weights of the pieces that end there, and their starts.
_Lattice = list[tuple[list[float], list[int]]]


class SubwordSampler:
    """Samples segmentations from a vocabulary.

    SentencePiece's own sampling is not reproducible across processes since 0.2.2, whatever the
    seed. Here the result depends only on the text and the generator.

    Args:
        tokenizer: A unigram or a BPE model.
        alpha: In (0, 1]. A unigram model samples from all segmentations in proportion to their
            probability to the power of `alpha` (smaller is closer to uniform). A BPE model drops
            each merge with probability `alpha` at every step.

    Raises:
        ValueError: `alpha` is out of range, or the vocabulary is neither unigram nor BPE.

    References:
        Kudo, "Subword Regularization: Improving Neural Network Translation Models with Multiple
        Subword Candidates", ACL 2018, with l = infinity.
        Provilkov, Emelianenko & Voita, "BPE-Dropout: Simple and Effective Subword
        Regularization", ACL 2020, algorithm 1.
    """

    def __init__(self, tokenizer: Tokenizer, alpha: float) -> None:
        if not 0 < alpha <= 1:
            raise ValueError(f"alpha must be in (0, 1], got {alpha}")
        model = _ModelProto.FromString(tokenizer.model_proto)
        kind = model.trainer_spec.model_type
        if kind not in (_UNIGRAM, _BPE):
            raise ValueError(
                "only unigram and BPE models support sampled segmentations, but this vocabulary "
                f"has model_type {kind} (sentencepiece_model.proto)"
            )
        processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_proto)
        self._normalize = processor.normalize
        self._alpha = alpha
        self._draw = self._by_probability if kind == _UNIGRAM else self._by_merges
        pieces = list(enumerate(model.pieces))
        user_defined = [piece.piece for _, piece in pieces if piece.type == _USER_DEFINED]
        self._user_defined = _longest_first(user_defined)
        self._bytes = [i for i, piece in pieces if piece.type == _BYTE]
        pieces = [(i, piece) for i, piece in pieces if piece.type in (_NORMAL, _USER_DEFINED)]
        self._ids: dict[str, int] = {piece.piece: i for i, piece in pieces}
        self._scores: dict[str, float] = {piece.piece: piece.score for _, piece in pieces}
        self._unknown_score = min(self._scores.values(), default=0.0) - _UNKNOWN_PENALTY
        self._longest = max(map(len, self._ids), default=1)
        self._word = _word_pattern(self._ids.keys() - set(user_defined))
        self._kept_lattice = functools.lru_cache(_KEPT_WORDS)(self._lattice)

    def __call__(self, text: str, generator: random.Random) -> list[int]:
        """Samples the ids of a text, without BOS and EOS."""
        ids: list[int] = []
        for piece in self._pieces(self._normalize(text), generator):
            known = self._ids.get(piece)
            if known is not None:
                ids.append(known)
            elif self._bytes:
                ids.extend(self._bytes[byte] for byte in piece.encode())
            elif ids[-1:] != [UNK]:
                ids.append(UNK)
        return ids

    def _pieces(self, normalized: str, generator: random.Random) -> Iterator[str]:
        # Every other part is a user-defined symbol, which is never split or merged.
        parts = self._user_defined.split(normalized) if self._user_defined else [normalized]
        for number, part in enumerate(parts):
            if number % 2:
                yield part
                continue
            for word in self._word.findall(part):
                yield from self._draw(word, generator.random)

    def _by_probability(self, word: str, uniform: Callable[[], float]) -> list[str]:
        """Backward sampling (Scott 2002) from the lattice of all segmentations."""
        kept = len(word) <= _LONGEST_KEPT_WORD
        lattice = self._kept_lattice(word) if kept else self._lattice(word)
        pieces = []
        end = len(word)
        while end:
            sums, starts = lattice[end]
            start = starts[bisect(sums, uniform() * sums[-1], hi=len(sums) - 1)]
            pieces.append(word[start:end])
            end = start
        return pieces[::-1]

    def _lattice(self, word: str) -> _Lattice:
        """Forward filtering in log space."""
        lattice: _Lattice = [([], [])]
        log_sums = [0.0]
        for end in range(1, len(word) + 1):
            starts, logs = [], []
            for start in range(max(0, end - self._longest), end):
                score = self._scores.get(word[start:end])
                if score is None and start == end - 1:
                    score = self._unknown_score
                if score is not None:
                    starts.append(start)
                    logs.append(log_sums[start] + self._alpha * score)
            largest = max(logs)
            sums = list(itertools.accumulate(math.exp(log - largest) for log in logs))
            lattice.append((sums, starts))
            log_sums.append(largest + math.log(sums[-1]))
        return lattice

    def _by_merges(self, word: str, uniform: Callable[[], float]) -> list[str]:
        pieces = list(word)
        while True:
            best, best_score = -1, -math.inf
            for place in range(len(pieces) - 1):
                score = self._scores.get(pieces[place] + pieces[place + 1], -math.inf)
                # Dropout only matters for a merge that would be the best.
                if score > best_score and uniform() >= self._alpha:
                    best, best_score = place, score
            if best < 0:
                return pieces
            pieces[best : best + 2] = [pieces[best] + pieces[best + 1]]
