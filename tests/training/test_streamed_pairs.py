"""Streamed batches: every pair once a pass, an order by seed and epoch, room for unseen lengths."""

import collections
import gzip
import itertools
import logging
import random
from pathlib import Path

import numpy as np
import pytest
from batch_checks import Texts, batches_of, texts_of

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import large_corpora, line_blocks
from keras_attn_nmt.training.cluster import Cluster
from keras_attn_nmt.training.data import BatchedPairs
from keras_attn_nmt.training.distribution import Replicas
from keras_attn_nmt.training.large_corpora import LargeCorpus, open_line_files
from keras_attn_nmt.training.streamed_pairs import StreamedPairs

# Rows of padding.
EMPTY = collections.Counter({("", ""): 10**9})


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_blocks, "BLOCK_LINES", 16)
    monkeypatch.setattr(large_corpora, "BLOCK_LINES", 16)
    monkeypatch.setattr(line_blocks, "_PIECE", 999)


@pytest.fixture(scope="module")
def pairs(texts: Texts) -> Texts:
    """1,500 pairs that differ."""
    generator = random.Random(1)
    sides = [text for pair in texts for text in pair]
    return [(f"{generator.choice(sides)} {i}", generator.choice(sides)) for i in range(1500)]


def write(folder: Path, pairs: Texts, names: tuple[str, ...] = ("a",)) -> LargeCorpus:
    """Writes the pairs to files in parts of about the same size; `.gz` names are compressed."""
    paths: tuple[list[Path], list[Path]] = ([], [])
    for number, name in enumerate(names):
        part = pairs[number * len(pairs) // len(names) : (number + 1) * len(pairs) // len(names)]
        for side, language in enumerate(("de", "en")):
            text = "".join(f"{pair[side]}\n" for pair in part).encode()
            path = folder / f"{name.removesuffix('.gz')}.{language}{'.gz' * name.endswith('.gz')}"
            path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
            paths[side].append(path)
    return open_line_files(*paths)


def read(chunks: object) -> Texts:
    return [
        (source.decode(), target.decode())
        for texts in chunks
        for source, target in zip(*texts, strict=True)
    ]


def streamed(corpus: LargeCorpus, tokenizer: Tokenizer, **settings: object) -> StreamedPairs:
    arguments = {"sample": 300, "tokens_per_batch": 512, "shuffle_buffer": 100, **settings}
    return StreamedPairs(corpus, tokenizer, tokenizer, **arguments)


@pytest.mark.parametrize("names", [("a",), ("a", "b", "c"), ("a.gz", "b", "c.gz")])
def test_blocks_are_read_from_anywhere(tmp_path: Path, pairs: Texts, names: tuple) -> None:
    corpus = write(tmp_path, pairs, names)
    assert corpus.pairs == 1500
    assert read(corpus.stream(count=1500)) == pairs
    assert read(corpus.stream(start=1490, count=25)) == [*pairs[1490:], *pairs[:15]]
    assert read(corpus.first(777).stream(700, 100)) == [*pairs[700:777], *pairs[:23]]
    assert read(corpus.without_first(777).stream(count=40)) == pairs[777:817]
    whole = read(corpus.stream(0, 4500, seed=3))
    repetitions = [whole[start : start + 1500] for start in (0, 1500, 3000)]
    assert [sorted(each) for each in repetitions] == [sorted(pairs)] * 3
    assert repetitions[0] != pairs
    assert repetitions[0] != repetitions[1] or len(names) < 4
    for start, count in ((0, 50), (1234, 600), (3333, 1)):
        assert read(corpus.stream(start, count, seed=3)) == whole[start : start + count]
    assert read(corpus.dataset().batch(9).as_numpy_iterator()) == pairs


def test_files_end_as_they_like(tmp_path: Path) -> None:
    source = b"\xef\xbb\xbfeins\r\n\r\n" + b"x\x0cy\xe2\x80\xa8z\n" * 30 + b"ende\r"
    (tmp_path / "a.de").write_bytes(source)
    (tmp_path / "a.en").write_bytes(b"one\n" * 33)
    lines = read(open_line_files(tmp_path / "a.de", tmp_path / "a.en").stream(count=33))
    assert [text for text, _ in lines] == ["eins", "", *["x\x0cy\u2028z"] * 30, "ende\r"]
    (tmp_path / "a.en").write_bytes(b"one\n" * 32)
    (tmp_path / "a.de").write_bytes(b"eins\n" * 32)
    assert open_line_files(tmp_path / "a.de", tmp_path / "a.en").pairs == 32


def test_the_sample_is_from_all_over(tmp_path: Path, pairs: Texts) -> None:
    for names in (("a",), ("a.gz", "b.gz", "c.gz")):
        sample = write(tmp_path, pairs, names).sample(320)
        drawn = read(sample.stream(count=sample.pairs))
        assert 290 < len(drawn) <= 330
        places = [pairs.index(pair) for pair in drawn]
        assert places == sorted(set(places))
        thirds = np.histogram(places, bins=3, range=(0, 1500))[0]
        assert thirds.min() > 90


def test_an_epoch_depends_on_seed_and_number_alone(
    tmp_path: Path, pairs: Texts, tokenizer: Tokenizer
) -> None:
    data = streamed(write(tmp_path, pairs), tokenizer, steps_per_epoch=20)
    whole = batches_of(data.epochs(3, seed=2))
    epochs = [whole[start : start + 20] for start in range(0, 60, 20)]
    assert len(whole) == 60
    assert len({tuple(epoch) for epoch in epochs}) == 3
    again = streamed(write(tmp_path, pairs), tokenizer, steps_per_epoch=20)
    assert batches_of(again.epochs(3, initial_epoch=1, seed=2)) == [*epochs[1], *epochs[2]]


def test_every_pair_once_a_pass(
    tmp_path: Path, pairs: Texts, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = pairs[:700]
    corpus = write(tmp_path, pairs, ("a", "b"))
    # The whole corpus as the sample: an exact plan.
    exact = streamed(corpus, tokenizer, sample=700)
    assert exact.plan.sample == 0
    batches = batches_of(exact.epochs(1, seed=5))
    assert len(batches) == exact.plan.steps_per_epoch
    assert texts_of(batches, tokenizer) == collections.Counter(pairs)
    assert texts_of(batches_of(exact.in_order()), tokenizer) == collections.Counter(pairs)
    first, second = (batches_of(exact.shard(2, i).epochs(1, seed=5)) for i in (0, 1))
    assert texts_of(first, tokenizer) + texts_of(second, tokenizer) - EMPTY == (
        collections.Counter(pairs)
    )

    caplog.set_level(logging.INFO)
    data = streamed(corpus, tokenizer)
    assert data.plan.pairs_read == 700
    assert "estimated from a sample of 304 pairs" in caplog.text
    found = texts_of(batches_of(data.epochs(1, seed=5)), tokenizer)
    assert set(found) == set(pairs)
    # The pairs that fill the last batches.
    assert max(found.values()) <= 2
    assert abs(data.plan.target_tokens / exact.plan.target_tokens - 1) < 0.1
    assert "epoch 1: " not in caplog.text


@pytest.mark.slow
def test_parts_of_a_pass_do_not_overlap(tmp_path: Path, pairs: Texts, tokenizer: Tokenizer) -> None:
    """With as many batches as there is room for, epochs share only what fills the last batches."""
    data = streamed(
        write(tmp_path, pairs), tokenizer, sample=900, steps_per_epoch=60, max_buckets=2
    )
    size = data.plan.pairs_read
    assert 300 < size < 750
    whole = read(data._corpus.stream(0, 3 * size, seed=5))
    for epoch in range(2):
        found = texts_of(batches_of(data.epochs(epoch + 1, initial_epoch=epoch, seed=5)), tokenizer)
        assert set(whole[epoch * size : (epoch + 1) * size]) <= set(found)


def test_unseen_lengths_have_room(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [(f"ein Haus {i}", "zwei") for i in range(640)]
    # In the middle of a block that is not in the sample.
    pairs[40] = ("Haus " * 20 + "40", "zwei")
    pairs[41] = ("zwei", "Garten Garten Garten")
    pairs[42] = ("Haus " * 200, "viel")
    pairs[43] = ("", "leer")
    data = streamed(write(tmp_path, pairs), tokenizer, sample=64, max_length=80)
    assert data.plan.dropped == {"empty": 0, "source_too_long": 0, "target_too_long": 0}
    caplog.set_level(logging.INFO)
    found = texts_of(batches_of(data.epochs(1)), tokenizer)
    assert set(found) == {*pairs[:42], *pairs[44:]}
    assert "dropped 2 of them" in caplog.text


@pytest.mark.slow
def test_different_texts_are_reported(
    tmp_path: Path, tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    # The sample is at 160 and 480.
    pairs = [(f"ein Haus {i}", "zwei" if i % 320 > 100 else "") for i in range(640)]
    data = streamed(write(tmp_path, pairs), tokenizer, sample=32, steps_per_epoch=4)
    batches_of(data.epochs(1))
    levels = {record.levelname for record in caplog.records if "epoch 1: read" in record.message}
    assert levels == {"WARNING"}


def test_memory_is_bounded(
    tmp_path: Path, pairs: Texts, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is ahead of the batches by its buffers alone."""
    corpus = write(tmp_path, pairs)
    data = streamed(corpus, tokenizer, shuffle_buffer=50)
    reads = 0
    real = line_blocks.IndexedFile._block

    def counted(file: line_blocks.IndexedFile, number: int) -> list[bytes]:
        nonlocal reads
        reads += 1
        return real(file, number)

    monkeypatch.setattr(line_blocks.IndexedFile, "_block", counted)
    monkeypatch.setattr("keras_attn_nmt.training.data._MIXED_BATCHES", 2)
    monkeypatch.setattr("keras_attn_nmt.training.data._PREFETCHED_BATCHES", 1)
    emitted = sum(len(batch[0]) for batch in itertools.islice(batches_of_few(data), 3))
    # Two files in blocks of 16 lines.
    assert 16 * reads / 2 < emitted + 900


def batches_of_few(data: BatchedPairs) -> object:
    for inputs, outputs in data.epochs(1):
        yield inputs["source"].numpy(), outputs


def test_errors_name_files_and_lines(tmp_path: Path, pairs: Texts, tokenizer: Tokenizer) -> None:
    corpus = write(tmp_path, pairs)
    source, target = tmp_path / "a.de", tmp_path / "a.en"
    (tmp_path / "short.en").write_bytes(b"one\n" * 1499)
    with pytest.raises(ValueError, match=r"a\.de has 1,500 lines and .*short\.en has 1,499"):
        open_line_files(source, tmp_path / "short.en")
    with pytest.raises(ValueError, match="2 source and 1 target files"):
        open_line_files([source, source], [target])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_line_files(source, tmp_path / "nowhere")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="empty is empty"):
        open_line_files(tmp_path / "empty", target)
    bad = b"gut\n" * 1234 + b"schl\xfc\n" + b"gut\n" * 265
    for name, content in (("bad.de", bad), ("bad.de.gz", gzip.compress(bad))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"{name}, line 1235: not UTF-8 \(byte 0xfc"):
            open_line_files(tmp_path / name, target)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"gut\n" * 1500)[:-9])
    with pytest.raises(ValueError, match=r"cut\.gz is a damaged gzip file"):
        open_line_files(tmp_path / "cut.gz", target)
    (tmp_path / "half.de").write_bytes(b"gut\nschl\xc3")
    with pytest.raises(ValueError, match=r"half\.de, line 2: not UTF-8"):
        open_line_files(tmp_path / "half.de", target)
    with pytest.raises(ValueError, match=r"steps_per_epoch must be a whole number of at l.*got 0"):
        streamed(corpus, tokenizer, steps_per_epoch=0)
    with pytest.raises(ValueError, match="open_line_files or open_tfds"):
        streamed(corpus.dataset(), tokenizer)
    target.write_bytes(target.read_bytes() + b"new\n")
    with pytest.raises(ValueError, match=r"a\.en was changed while it was in use"):
        read(corpus.stream(count=10))


def test_a_stream_survives_the_building_of_a_replicated_model(
    tmp_path: Path, pairs: Texts, tokenizer: Tokenizer
) -> None:
    data = streamed(write(tmp_path, pairs[:100]), tokenizer, sample=100)
    Replicas(Cluster()).replicated(lambda: None, None)
    assert texts_of(batches_of(data.epochs(1)), tokenizer) == collections.Counter(pairs[:100])
