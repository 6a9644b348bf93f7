"""Multi30k de-en as every system of a benchmark gets it: the same pieces, the same vocabulary.

A joint SentencePiece BPE model of 8,000 pieces; text files of pieces for those that read text, ids
for those that run in Python. Sentences of more than 100 pieces are left out for all.
"""

from __future__ import annotations

import gzip
import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sentencepiece

VOCABULARY_SIZE = 8000
MAX_LENGTH = 100
PAD, BOS, EOS = 0, 1, 2
SIDES = ("de", "en")


def prepare(corpus: Path, work: Path) -> None:
    """Writes `train.de`, `val.de`, ... in pieces, `joint.model` and `joint.vocab` to `work`."""
    if (work / "ready").exists():
        return
    work.mkdir(parents=True, exist_ok=True)
    texts = {
        f"{split}.{side}": read_lines(corpus / f"{split}.{side}.gz")
        for split in ("train", "val", "test_2016_flickr")
        for side in SIDES
    }
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=itertools.chain(texts["train.de"], texts["train.en"]),
        model_writer=model,
        vocab_size=VOCABULARY_SIZE,
        model_type="bpe",
        pad_id=PAD,
        bos_id=BOS,
        eos_id=EOS,
        unk_id=3,
        num_threads=2,
        minloglevel=2,
    )
    (work / "joint.model").write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [pieces.id_to_piece(number) for number in range(4, pieces.get_piece_size())]
    (work / "joint.vocab").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for name, lines in texts.items():
        split = [" ".join(each) for each in pieces.encode(lines, out_type=str)]
        (work / name).write_text("".join(f"{line}\n" for line in split), encoding="utf-8")
        (work / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (work / "ready").touch()


def read_lines(path: Path) -> list[str]:
    """The lines of a `.gz` file in UTF-8."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


def pairs(work: Path, split: str = "train") -> list[tuple[list[int], list[int]]]:
    """Source ids closed by EOS, and target ids between BOS and EOS."""
    model = sentencepiece.SentencePieceProcessor(str(work / "joint.model"))
    source, target = (
        model.encode((work / f"{split}.{side}.txt").read_text(encoding="utf-8").splitlines())
        for side in SIDES
    )
    found = zip(source, target, strict=True)
    return [
        ([*s, EOS], [BOS, *t, EOS]) for s, t in found if max(len(s), len(t)) <= MAX_LENGTH and s
    ]


def batches(
    pairs: list[tuple[list[int], list[int]]], size: int, seed: int = 1
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]]:
    """Endless batches of sentences of like length, in random order, as `model.fit` takes them."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(pairs))
        # Sorted within pools, as the other systems do.
        pools = [order[start : start + 50 * size] for start in range(0, len(order), 50 * size)]
        chunks = [
            chunk
            for pool in pools
            for ranked in [sorted(pool, key=lambda i: (len(pairs[i][1]), len(pairs[i][0])))]
            for chunk in (ranked[start : start + size] for start in range(0, len(ranked), size))
            if len(chunk) == size
        ]
        for number in generator.permutation(len(chunks)):
            chosen = [pairs[i] for i in chunks[number]]
            source = _padded([s for s, _ in chosen])
            target = _padded([t for _, t in chosen])
            labels = target[:, 1:]
            inputs = np.where(labels == PAD, PAD, target[:, :-1])
            yield {"source": source, "target": inputs}, {"logits": labels}


def _padded(rows: list[list[int]]) -> np.ndarray:
    result = np.zeros((len(rows), max(map(len, rows))), "int32")
    for place, row in zip(result, rows, strict=True):
        place[: len(row)] = row
    return result
