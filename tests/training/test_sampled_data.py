"""Batches of segmentations that are drawn: the same texts, and a function of the seed."""

import collections
import gc
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from batch_checks import Texts, batches_of, dataset, texts_of

from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training import token_chunks
from keras_attn_nmt.training.data import BatchedPairs


@pytest.fixture(scope="module", params=["unigram", pytest.param("bpe", marks=pytest.mark.slow)])
def model_type(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sampled_tokenizer(model_type: str, texts: Texts) -> Tokenizer:
    return Tokenizer.learn([text for pair in texts for text in pair], 300, model_type=model_type)


def sampled(texts: Texts, tokenizer: Tokenizer, **settings: object) -> BatchedPairs:
    arguments = {
        "segmentation_samples": 3,
        "sampling_alpha": 0.3,
        "tokens_per_batch": 512,
        **settings,
    }
    return BatchedPairs(dataset(texts), tokenizer, tokenizer, **arguments)


def test_samples_resegment_the_same_texts(
    texts: Texts, sampled_tokenizer: Tokenizer, model_type: str
) -> None:
    # How probable single letters are in a unigram model depends on SentencePiece's version.
    alpha = {"unigram": 0.02, "bpe": 0.3}[model_type]
    batched = sampled(texts, sampled_tokenizer, sampling_alpha=alpha)
    assert batched.plan.pairs == batched.plan.pairs_read == 3 * len(texts)
    batches = batches_of(batched.epochs(1))
    assert len(batches) == batched.plan.steps_per_epoch
    times = {pair: 3 * count for pair, count in collections.Counter(texts).items()}
    assert texts_of(batches, sampled_tokenizer) == times
    # A sentence of a word or two has few segmentations, and may be drawn as it always was.
    rows = collections.Counter(row for batch in batches for row in batch[0] if len(row) > 20)
    assert len(rows) > 0.95 * sum(rows.values())
    usual = BatchedPairs(dataset(texts), sampled_tokenizer, sampled_tokenizer, tokens_per_batch=512)
    assert batched.plan.source_tokens > 3.3 * usual.plan.source_tokens


def test_samples_are_equal_in_every_epoch(texts: Texts, tokenizer: Tokenizer) -> None:
    def rows(batches: tf.data.Dataset) -> collections.Counter:
        pairs = (zip(batch[0], batch[2], strict=True) for batch in batches_of(batches))
        unpadded = (
            tuple(tuple(filter(None, side)) for side in pair) for each in pairs for pair in each
        )
        return collections.Counter(unpadded)

    batched = sampled(texts[:200], tokenizer, cache=False)
    first, second = (
        rows(batched.epochs(epoch + 1, initial_epoch=epoch, seed=5)) for epoch in (0, 1)
    )
    assert first == second == rows(batched.in_order())


_OTHER_PROCESS = """
import sys
from pathlib import Path
import tensorflow as tf
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.training.data import BatchedPairs

tokenizer = Tokenizer.load(sys.argv[1])
lines = Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()
pairs = tf.data.Dataset.from_tensor_slices((lines[::2], lines[1::2]))
batched = BatchedPairs(
    pairs,
    tokenizer,
    tokenizer,
    tokens_per_batch=512,
    segmentation_samples=2,
    sampling_alpha=0.3,
    sampling_seed=4,
)
for inputs, labels in batched.epochs(1, seed=5).as_numpy_iterator():
    print(inputs["source"].tolist(), labels["logits"].tolist())
"""


@pytest.mark.slow
def test_samples_are_reproducible_across_processes(
    texts: Texts, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    texts = texts[:100]
    tokenizer.save(tmp_path / "model.spm")
    (tmp_path / "texts").write_text("\n".join(map("\n".join, texts)), encoding="utf-8")
    other = subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS, tmp_path / "model.spm", tmp_path / "texts"],
        capture_output=True,
        text=True,
        check=True,
    )

    def printed(seed: int) -> list[str]:
        batches = sampled(texts, tokenizer, segmentation_samples=2, sampling_seed=seed).epochs(
            1, seed=5
        )
        return [
            f"{inputs['source'].tolist()} {labels['logits'].tolist()}"
            for inputs, labels in batches.as_numpy_iterator()
        ]

    assert printed(4) == other.stdout.splitlines() != printed(3)


def test_samples_chunks_and_sides_are_drawn_independently(
    sampled_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_chunks, "_CHUNK_PAIRS", 32)
    pairs = dataset([("zwei Männer im Park", "zwei Männer im Park")] * 64)
    chunks = token_chunks.tokenize_pairs(
        pairs, sampled_tokenizer, sampled_tokenizer, max_length=50, segmentation_samples=3
    )
    drawn = [
        tuple(ids)
        for chunk in list(chunks.as_numpy_iterator())[2:]
        for ids in (chunk.source_ids, chunk.target_ids)
    ]
    assert len(set(drawn)) == len(drawn) == 8


def test_too_long_samples_fall_back_to_the_best_segmentation(tokenizer: Tokenizer) -> None:
    text = "zwei Männer im Park"
    [ids] = tokenizer.encode([text])
    texts = [(text, "zwei"), ("zwei", text + " und Garten")] * 50
    batched = sampled(texts, tokenizer, max_length=len(ids) + 1)
    assert batched.plan.dropped == {"empty": 0, "source_too_long": 0, "target_too_long": 150}
    assert batched.plan.pairs == 150
    kept = {(text, "zwei"): 150}
    assert texts_of(batches_of(batched.in_order()), tokenizer) == kept


def test_sampled_datasets_outlive_their_tokenizer(texts: Texts, tokenizer: Tokenizer) -> None:
    own = Tokenizer(tokenizer.model_proto)
    made = sampled(texts[:100], own, cache=False).shuffled()
    del own
    gc.collect()
    assert len(batches_of(made)) == len(made)
