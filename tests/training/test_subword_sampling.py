"""Segmentations at random: nothing of a text is lost, and they are drawn as the papers say."""

import collections
import io
import math
import random

import pytest
import sentencepiece
from texts import ODD_TEXTS, SENTENCES

from keras_attn_nmt.text.tokenizer import UNK, Tokenizer
from keras_attn_nmt.training.subword_sampling import SubwordSampler


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return learn(request.param, normalization="identity")


def learn(model_type: str, **settings: object) -> Tokenizer:
    return Tokenizer.learn(SENTENCES, 340, model_type=model_type, **settings)


def test_sampling_is_lossless(tokenizer: Tokenizer) -> None:
    texts = [*ODD_TEXTS, *SENTENCES]
    generator = random.Random(1)
    for alpha in (0.1, 0.5, 1.0):
        sampler = SubwordSampler(tokenizer, alpha)
        drawn = [sampler(text, generator) for text in texts]
        assert tokenizer.decode(drawn) == texts
        assert drawn != tokenizer.encode(texts)


def test_sampling_is_a_function_of_the_seed(tokenizer: Tokenizer) -> None:
    def drawn(seed: int) -> list[list[int]]:
        sampler, generator = SubwordSampler(tokenizer, 0.3), random.Random(seed)
        return [sampler(text, generator) for text in SENTENCES]

    assert drawn(1) == drawn(1) != drawn(2)
    sampler, generator = SubwordSampler(tokenizer, 0.3), random.Random(1)
    assert len({tuple(sampler(SENTENCES[0], generator)) for _ in range(50)}) > 10


def test_unigram_sampling_follows_smoothed_probabilities() -> None:
    tokenizer, text, alpha, draws = learn("unigram"), "lachen und", 0.4, 20_000
    names = tokenizer.pieces(range(tokenizer.vocabulary_size))
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.model_proto)
    scores = {name: processor.get_score(i) for i, name in enumerate(names)}

    def segmentations(rest: str) -> list[tuple[str, ...]]:
        begins = [rest[:end] for end in range(1, len(rest) + 1) if rest[:end] in scores]
        more = [(each, *other) for each in begins for other in segmentations(rest[len(each) :])]
        return more if rest else [()]

    weights = {
        each: math.exp(alpha * sum(scores[piece] for piece in each))
        for each in segmentations("▁" + text.replace(" ", "▁"))
    }
    assert len(weights) > 5
    sampler, generator = SubwordSampler(tokenizer, alpha), random.Random(0)
    counts = collections.Counter(
        tuple(tokenizer.pieces(sampler(text, generator))) for _ in range(draws)
    )
    assert counts.keys() <= weights.keys()
    for each, weight in weights.items():
        share = weight / sum(weights.values())
        deviation = math.sqrt(share * (1 - share) / draws)
        assert counts[each] / draws == pytest.approx(share, abs=5 * deviation), each


def test_bpe_sampling_drops_merges() -> None:
    tokenizer = learn("bpe")
    texts = [*ODD_TEXTS, *SENTENCES]
    generator = random.Random(0)
    # Hardly ever, and always.
    sampler = SubwordSampler(tokenizer, 1e-12)
    assert [sampler(text, generator) for text in texts] == tokenizer.encode(texts)
    sampler = SubwordSampler(tokenizer, 1.0)
    assert tokenizer.pieces(sampler("im Haus", generator)) == list("▁im▁Haus")
    # A word falls apart where all the merges that it could begin with are left out at once.
    pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
    merges = sum(pair in pieces for pair in ("▁d", "di", "ie"))
    assert merges
    sampler, draws = SubwordSampler(tokenizer, 0.3), 20_000
    split = sum(len(sampler("die", generator)) == 4 for _ in range(draws))
    share = 0.3**merges
    assert split / draws == pytest.approx(share, abs=5 * math.sqrt(share / draws))


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_unknown_characters_without_byte_fallback(model_type: str) -> None:
    tokenizer = learn(model_type, byte_fallback=False)
    sampler = SubwordSampler(tokenizer, 0.3)
    ids = sampler("Haus 日本 Haus日", random.Random(0))
    assert ids.count(UNK) == 2
    assert tokenizer.decode([ids]) == tokenizer.decode(tokenizer.encode(["Haus 日本 Haus日"]))


def test_errors(tokenizer: Tokenizer) -> None:
    for alpha in (0, -0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"alpha must be in .*got {alpha}"):
            SubwordSampler(tokenizer, alpha)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="char",
        vocab_size=40,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    with pytest.raises(ValueError, match="only unigram and BPE models"):
        SubwordSampler(Tokenizer(model.getvalue()), 0.2)
