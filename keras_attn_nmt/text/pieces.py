"""The text of SentencePiece pieces. Requires no SentencePiece."""

from __future__ import annotations

import re
from collections.abc import Sequence

from keras_attn_nmt.text.alignment import END, SPACE, word_of_tokens

# A byte piece; the same characters inside of other pieces are text.
BYTE_PIECE = re.compile("<0x([0-9A-F]{2})>")


def pieces_of_words(tokens: Sequence[str]) -> list[list[str]]:
    """The pieces of each word, `</s>` excluded; see `word_of_tokens`.

    Example:
        >>> pieces_of_words(["▁ein", "und", "vierzig", "▁Jahre", "</s>"])
        [['▁ein', 'und', 'vierzig'], ['▁Jahre']]
    """
    words = word_of_tokens(tokens)
    pieces: list[list[str]] = [[] for _ in range(max(words, default=-1) + 1)]
    for word, token in zip(words, tokens, strict=True):
        if word >= 0:
            pieces[word].append(token)
    return pieces


def spelled(pieces: Sequence[str]) -> str:
    """Detokenizes a sequence of pieces; `</s>` is left out.

    Example:
        >>> spelled(["▁ein", "und", "vierzig", "▁<0xC3>", "<0xC3>", "<0xA9>", "</s>"])
        'einundvierzig <0xC3>é'
    """
    content = b""
    for piece in pieces:
        byte = BYTE_PIECE.fullmatch(piece)
        if piece != END:
            content += bytes.fromhex(byte[1]) if byte else piece.encode()
    return content.decode(errors="replace").replace(SPACE, " ").removeprefix(" ")
