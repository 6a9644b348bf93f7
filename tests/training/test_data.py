"""The batches: every pair once, padded right, as planned, and in an order that can be repeated."""

import collections
import contextlib
import gc
import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from batch_checks import Texts, batches_of, dataset, texts_of

from keras_attn_nmt.text.alignment import parse_pharaoh, word_of_tokens
from keras_attn_nmt.text.tokenizer import BOS, EOS, PAD, Tokenizer
from keras_attn_nmt.training import token_chunks
from keras_attn_nmt.training.data import BatchedPairs

MULTI30K = Path(__file__).parents[3] / "shared" / "data" / "multi30k"


@pytest.fixture(scope="module")
def batched(texts: Texts, tokenizer: Tokenizer) -> BatchedPairs:
    return BatchedPairs(dataset(texts), tokenizer, tokenizer, tokens_per_batch=512)


@pytest.mark.parametrize("rows", [[[5, 6], [], [7]], [[]], []])
def test_every_row_ends(rows: list[list[int]]) -> None:
    ids = tf.RaggedTensor.from_row_lengths(
        tf.constant([id_ for row in rows for id_ in row], tf.int32),
        tf.constant([len(row) for row in rows], tf.int64),
    )
    assert token_chunks.with_eos(ids).to_list() == [[*row, EOS] for row in rows]


def test_batch_contract(tokenizer: Tokenizer) -> None:
    texts = [("ein Haus", "zwei"), ("im Park", "zwei Männer im Park")]
    batched = BatchedPairs(dataset(texts), tokenizer, tokenizer, sentences_per_batch=2)
    [(inputs, outputs)] = batched.in_order()
    assert sorted(inputs) == ["source", "target"] and list(outputs) == ["logits"]
    sources = tokenizer.encode(source for source, _ in texts)
    targets = tokenizer.encode(target for _, target in texts)
    widths = [max(map(len, side)) + 1 for side in (sources, targets)]
    expected = {
        "source": [[*ids, EOS] + [PAD] * (widths[0] - len(ids) - 1) for ids in sources],
        "target": [[BOS, *ids] + [PAD] * (widths[1] - len(ids) - 1) for ids in targets],
        "logits": [[*ids, EOS] + [PAD] * (widths[1] - len(ids) - 1) for ids in targets],
    }
    for name, ids in {**inputs, **outputs}.items():
        assert ids.dtype == tf.int32
        assert ids.numpy().tolist() == expected[name], name
    assert batched.in_order().element_spec == (
        {name: tf.TensorSpec([None, None], tf.int32) for name in ("source", "target")},
        {"logits": tf.TensorSpec([None, None], tf.int32)},
    )


@pytest.mark.parametrize("order", ["shuffled", "epochs", "in_order"])
def test_each_pair_occurs_once_per_epoch(
    order: str, batched: BatchedPairs, texts: Texts, tokenizer: Tokenizer
) -> None:
    epoch = {
        "shuffled": lambda: batched.shuffled(seed=3),
        "epochs": lambda: batched.epochs(1, seed=3),
        "in_order": batched.in_order,
    }[order]()
    batches = batches_of(epoch)
    assert texts_of(batches, tokenizer) == collections.Counter(texts)
    assert len(batches) == len(epoch) == batched.plan.steps_per_epoch


def test_plan_matches_batches(batched: BatchedPairs) -> None:
    plan = batched.plan
    source, labels, shapes = 0, 0, collections.Counter[tuple[int, int]]()
    positions = 0
    for inputs, outputs in batched.shuffled():
        source += int(tf.math.count_nonzero(inputs["source"]))
        labels += int(tf.math.count_nonzero(outputs["logits"]))
        shapes[inputs["source"].shape[1], inputs["target"].shape[1]] += inputs["source"].shape[0]
        width = inputs["source"].shape[1] + inputs["target"].shape[1]
        positions += inputs["source"].shape[0] * width
        assert inputs["source"].shape[0] * width <= 512
    assert (plan.source_tokens, plan.target_tokens) == (source, labels)
    assert plan.padding == pytest.approx(1 - (source + labels) / positions)
    assert {bucket.shape: bucket.pairs for bucket in plan.buckets} == shapes
    assert len(plan.buckets) > 3


def test_sentences_per_batch(texts: Texts, tokenizer: Tokenizer) -> None:
    batched = BatchedPairs(dataset(texts), tokenizer, tokenizer, sentences_per_batch=16)
    sizes = [len(batch[0]) for batch in batches_of(batched.shuffled())]
    assert max(sizes) == 16
    assert sum(sizes) == len(texts)
    assert sizes.count(16) >= len(sizes) - len(batched.plan.buckets)


def test_dropout_passes_repeat_the_batch(
    batched: BatchedPairs, texts: Texts, tokenizer: Tokenizer
) -> None:
    twice = BatchedPairs(
        dataset(texts), tokenizer, tokenizer, tokens_per_batch=512, dropout_passes=2
    )
    assert twice.plan == batched.plan
    doubled = [tuple(2 * ids for ids in batch) for batch in batches_of(batched.epochs(1))]
    assert batches_of(twice.epochs(1)) == doubled


def test_dropped_pairs_are_counted(
    texts: Texts,
    tokenizer: Tokenizer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Chunks so small that nothing is left of some.
    monkeypatch.setattr(token_chunks, "_CHUNK_PAIRS", 4)
    caplog.set_level(logging.INFO)
    kept = [pair for pair in texts if max(map(len, tokenizer.encode(pair))) < 10]
    long = "Haus " * 30
    empty = [("", "zwei"), ("zwei", ""), (" \t", "zwei"), ("zwei", "\u3000\u00a0"), ("", long)]
    mixed = [*empty, *kept[:30], *[(long, long)] * 9, *kept[30:], ("zwei", long)]
    batched = BatchedPairs(
        dataset(mixed), tokenizer, tokenizer, tokens_per_batch=512, max_length=10
    )
    assert batched.plan.pairs_read == len(mixed)
    assert batched.plan.dropped == {"empty": 5, "source_too_long": 9, "target_too_long": 1}
    assert batched.plan.pairs == len(kept)
    assert texts_of(batches_of(batched.in_order()), tokenizer) == collections.Counter(kept)
    [warning] = [record for record in caplog.records if record.levelname == "WARNING"]
    assert warning.getMessage() == (
        f"dropped 15 of {len(mixed)} pairs ({15 / len(mixed):.2%}): 5 with an empty side, "
        "9 with a source longer than 10 tokens, 1 with a target longer than 10 tokens"
    )
    assert batched.plan.report() in caplog.messages


def test_longest_pair_is_kept(tokenizer: Tokenizer) -> None:
    [ids] = tokenizer.encode(["zwei Männer im Park"])
    texts = [("zwei Männer im Park", "zwei")]
    limit = len(ids) + 1
    made = BatchedPairs(
        dataset(texts), tokenizer, tokenizer, sentences_per_batch=1, max_length=limit
    )
    assert made.plan.pairs == 1
    with pytest.raises(ValueError, match=f"empty or longer than max_length={limit - 1}"):
        BatchedPairs(
            dataset(texts), tokenizer, tokenizer, sentences_per_batch=1, max_length=limit - 1
        )


def test_order_is_a_function_of_seed_and_epoch(batched: BatchedPairs) -> None:
    steps = batched.plan.steps_per_epoch
    three = batches_of(batched.epochs(3, seed=5))
    assert len(three) == len(batched.epochs(3, seed=5)) == 3 * steps
    first, second, third = three[:steps], three[steps : 2 * steps], three[2 * steps :]
    assert first != second != third
    # Goes on after any epoch, whatever else the program did with random numbers.
    tf.random.set_seed(99)
    resumed = batched.epochs(3, initial_epoch=1, seed=5)
    assert len(resumed) == 2 * steps
    assert batches_of(resumed) == second + third
    assert batches_of(batched.epochs(1, seed=6)) != first
    assert batches_of(batched.epochs(1, seed=0)) == batches_of(batched.epochs(1, seed=0))


@pytest.mark.slow
def test_order_is_reproducible_across_processes(texts: Texts, tokenizer: Tokenizer) -> None:
    """A second object from the same corpus stands for the process that resumes."""
    first, second = (
        BatchedPairs(dataset(texts), tokenizer, tokenizer, tokens_per_batch=512, cache=cache)
        for cache in (True, False)
    )
    assert batches_of(first.epochs(2, seed=5)) == batches_of(second.epochs(2, seed=5))
    assert first.plan == second.plan


def test_each_iteration_is_reshuffled(batched: BatchedPairs) -> None:
    shuffled, again = batched.shuffled(seed=1), batched.shuffled(seed=1)
    iterations = [batches_of(shuffled) for _ in range(3)]
    assert iterations[0] != iterations[1] != iterations[2] != iterations[0]
    tf.random.set_seed(5)  # Only the given seed matters.
    assert [batches_of(again) for _ in range(3)] == iterations
    assert [each for epoch in iterations for each in epoch] == batches_of(batched.epochs(3, seed=1))
    # Pairs meet other pairs, it is not just the batches that change places.
    assert not set(iterations[0]) & set(iterations[1])


def test_in_order_is_deterministic(batched: BatchedPairs) -> None:
    assert batches_of(batched.in_order()) == batches_of(batched.in_order())


def test_incomplete_batches_are_not_all_last(batched: BatchedPairs) -> None:
    full = {bucket.shape: bucket.batch_size for bucket in batched.plan.buckets}
    incomplete = [
        len(source) < full[len(source[0]), len(labels[0])]
        for source, _, labels in batches_of(batched.epochs(20, seed=1))
    ]
    steps = batched.plan.steps_per_epoch
    share = np.array(incomplete).reshape(20, steps).mean(axis=0)
    assert share[: steps // 2].mean() > 0
    assert share[-len(full) :].mean() < 2 * share.mean()


def test_corpus_is_read_once_with_a_cache(
    texts: Texts, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    reads = 0

    def read() -> Iterator[tuple[str, str]]:
        nonlocal reads
        reads += 1
        yield from texts[:100]

    text = tf.TensorSpec([], tf.string)
    pairs = tf.data.Dataset.from_generator(read, output_signature=(text, text))
    for cache, expected in ((True, 1), (tmp_path / "cache", 1), (False, 5)):
        reads = 0
        batched = BatchedPairs(pairs, tokenizer, tokenizer, tokens_per_batch=512, cache=cache)
        batches = batches_of(batched.epochs(2))
        batches += batches_of(batched.shuffled()) + batches_of(batched.in_order())
        assert len(batches) == 4 * batched.plan.steps_per_epoch
        assert reads == expected, cache
    with pytest.raises(FileExistsError, match="may belong to another corpus"):
        BatchedPairs(
            pairs, tokenizer, tokenizer, tokens_per_batch=512, cache=str(tmp_path / "cache")
        )


def test_changed_corpus_is_detected(texts: Texts, tokenizer: Tokenizer) -> None:
    current = texts[:100]
    text = tf.TensorSpec([], tf.string)
    pairs = tf.data.Dataset.from_generator(lambda: iter(current), output_signature=(text, text))
    batched = BatchedPairs(pairs, tokenizer, tokenizer, tokens_per_batch=512, cache=False)
    current = [(texts[0][0] + " Haus" * 40, target) for _, target in texts[:100]]
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches_of(batched.in_order())
    current = texts[:10]
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain"):
        batches_of(batched.in_order())


def test_datasets_outlive_their_tokenizer(texts: Texts, tokenizer: Tokenizer) -> None:
    own = Tokenizer(tokenizer.model_proto)
    some = dataset(texts[:100])
    made = BatchedPairs(some, own, own, tokens_per_batch=512, cache=False).shuffled()
    del own
    gc.collect()
    assert len(batches_of(made)) == len(made)


@pytest.mark.filterwarnings("ignore:.*shuffle=True.*")
def test_fit_visits_each_pair_once_per_epoch(
    batched: BatchedPairs, texts: Texts, tokenizer: Tokenizer
) -> None:
    class Recorder(keras.layers.Layer):
        def call(self, ids: tf.Tensor) -> tf.Tensor:
            tf.numpy_function(lambda rows: seen.extend(rows.tolist()), [ids], [])
            return ids

    seen: list[list[int]] = []
    source = keras.Input([None], dtype="int32", name="source")
    target = keras.Input([None], dtype="int32", name="target")
    logits = keras.layers.Embedding(tokenizer.vocabulary_size, 300)(Recorder()(target))
    model = keras.Model({"source": source, "target": target}, {"logits": logits})
    model.compile(
        optimizer="sgd",
        loss={"logits": keras.losses.SparseCategoricalCrossentropy(from_logits=True)},
    )
    expected = collections.Counter(target for _, target in texts)
    steps = batched.plan.steps_per_epoch
    model.fit(batched.shuffled(), epochs=2, verbose=0)
    assert collections.Counter(tokenizer.decode(seen)) == expected + expected
    seen.clear()
    resumed = batched.epochs(4, initial_epoch=2)
    model.fit(resumed, epochs=4, initial_epoch=2, steps_per_epoch=steps, verbose=0)
    assert collections.Counter(tokenizer.decode(seen)) == expected + expected


ALIGNED = [
    ("ein Haus im Park", "Haus  im", "0-0 1p0 3-1"),
    ("und", "ein zwei  ", ""),
    ("  zwei 日本 Männer", "grün und im", "1-1 2-1 0-2"),
]


@pytest.mark.parametrize(("segmentation_samples", "dropout_passes"), [(1, 1), (2, 1), (1, 2)])
def test_token_alignment_follows_word_alignment(
    tokenizer: Tokenizer, segmentation_samples: int, dropout_passes: int
) -> None:
    rows = tf.data.Dataset.from_tensor_slices(tuple(map(list, zip(*ALIGNED, strict=True))))
    batched = BatchedPairs(
        rows,
        tokenizer,
        tokenizer,
        sentences_per_batch=2,
        max_buckets=1,
        segmentation_samples=segmentation_samples,
        dropout_passes=dropout_passes,
    )
    seen = 0
    for inputs, labels in batched.in_order().as_numpy_iterator():
        assert labels["attention"].dtype == np.float32
        for source, target, gold in zip(
            inputs["source"], labels["logits"], labels["attention"], strict=True
        ):
            text = tuple(each.strip() for each in tokenizer.decode([source, target]))
            (links,) = [a for s, t, a in ALIGNED if (s.strip(), t.strip()) == text]
            links = parse_pharaoh(links).sure
            words = [word_of_tokens(tokenizer.pieces(ids[ids != PAD])) for ids in (source, target)]
            expected = np.zeros_like(gold)
            for t, target_word in enumerate(words[1]):
                looked = [s for s, word in enumerate(words[0]) if (word, target_word) in links]
                expected[t, looked] = 1
            np.testing.assert_array_equal(gold, expected)
            seen += 1
    assert seen == segmentation_samples * dropout_passes * len(ALIGNED)


def test_links_to_missing_words_are_rejected(tokenizer: Tokenizer) -> None:
    message = "1 sentence pairs have alignment links to words that do not"
    for links in ("0-0 1-1", "2-0"):
        rows = tf.data.Dataset.from_tensors(("ein Haus", "Park", links))
        with pytest.raises(ValueError, match=message):
            BatchedPairs(rows, tokenizer, tokenizer, sentences_per_batch=2)
    # Words that the vocabulary divides at no-break spaces.
    vocabulary = Tokenizer.learn(["ein Haus im Park"] * 3, 290, normalization="nmt_nfkc")
    for source, links, refused in (
        ("ein\u00a0Haus im", "0-0", True),
        ("ein\u00a0Haus im", "", False),
        ("ein Haus  im ", "0-0", False),
    ):
        rows = tf.data.Dataset.from_tensors((source, "Park", links))
        with pytest.raises(ValueError, match=message) if refused else contextlib.nullcontext():
            BatchedPairs(rows, vocabulary, vocabulary, sentences_per_batch=2)


def test_errors(texts: Texts, tokenizer: Tokenizer) -> None:
    def make(pairs: object = None, **settings: object) -> None:
        arguments = {"sentences_per_batch": 8, **settings}
        BatchedPairs(pairs or dataset(texts), tokenizer, tokenizer, **arguments)

    for pairs in (
        texts,
        dataset(texts).batch(2),
        tf.data.Dataset.range(3),
        dataset(texts).map(lambda source, target: {"source": source, "target": target}),
    ):
        with pytest.raises(ValueError, match=r"Dataset of \(source, target\) or"):
            make(pairs)
    with pytest.raises(ValueError, match="the data set is empty"):
        make(dataset(texts).take(0))
    for given in ({"tokens_per_batch": 512}, {"sentences_per_batch": None}):
        with pytest.raises(ValueError, match="exactly one of tokens_per_batch and sentences_per"):
            make(**given)
    with pytest.raises(ValueError, match=r"at least 2 \* max_length = 200"):
        make(sentences_per_batch=None, tokens_per_batch=100)
    for name, value in (
        *(("sentences_per_batch", each) for each in (0, 2.5)),
        *(("max_length", each) for each in (1, 10.5)),
        ("max_buckets", 0),
        ("shuffle_buffer", 0),
        ("segmentation_samples", 0),
        ("max_padding", 8),
    ):
        with pytest.raises(ValueError, match=f"{name}.* got {value}"):
            make(**{name: value})
    with pytest.raises(ValueError, match=r"alpha must be in .*got 1\.5"):
        make(segmentation_samples=2, sampling_alpha=1.5)
    batched = BatchedPairs(dataset(texts[:9]), tokenizer, tokenizer, sentences_per_batch=8)
    with pytest.raises(ValueError, match="initial_epoch must be from 0 to epochs - 1 = 2, got 3"):
        batched.epochs(3, initial_epoch=3)


@pytest.mark.skipif(not MULTI30K.is_dir(), reason=f"no Multi30k at {MULTI30K}")
def test_multi30k_padding_and_shapes() -> None:
    sides = [
        gzip.decompress((MULTI30K / f"train.{language}.gz").read_bytes()).decode().splitlines()
        for language in ("de", "en")
    ]
    tokenizer = Tokenizer.learn([*sides[0], *sides[1]], 8000, maximum_texts=20_000)
    batched = BatchedPairs(
        tf.data.Dataset.from_tensor_slices(tuple(sides)),
        tokenizer,
        tokenizer,
        tokens_per_batch=4096,
    )
    assert batched.plan.pairs == 29_000
    assert batched.plan.padding <= 0.08
    padding = positions = 0
    shapes = set()
    for inputs, outputs in batched.shuffled():
        shapes.add((*inputs["source"].shape, *inputs["target"].shape))
        for ids in (inputs["source"], outputs["logits"]):
            positions += ids.shape[0] * ids.shape[1]
            padding += ids.shape[0] * ids.shape[1] - int(tf.math.count_nonzero(ids))
    assert padding / positions == pytest.approx(batched.plan.padding)
    assert len(shapes) <= 2 * len(batched.plan.buckets) <= 96
