"""Vocabulary shortlists: learning, storage and use in the search."""

import keras
import numpy as np
import pytest

from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.decoding.shortlist import Shortlist, learn_shortlist
from keras_attn_nmt.model import build_model
from keras_attn_nmt.text.special_ids import EOS, PAD, UNK
from keras_attn_nmt.text.tokenizer import Tokenizer
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "日本 🙂", "ein Haus"]

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a shortlist needs TensorFlow"
)

# Each with other layers that a shortlist goes through.
MODELS = {
    "tied": {},
    "untied_lstm": {"tie_target_embeddings": False, "cell": "lstm"},
}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)


@pytest.fixture(scope="module", params=MODELS)
def model(request, tokenizer) -> keras.Model:
    size = tokenizer.vocabulary_size
    sizes = {"embedding_units": 6, "encoder_units": 5, "decoder_units": 7, "attention_units": 4}
    model = build_model(ModelConfig(size, size, **sizes, **MODELS[request.param]))
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def shortlist(tokenizer) -> Shortlist:
    size = tokenizer.vocabulary_size
    candidates = np.random.default_rng(1).integers(4, size, (size, 3)).astype("int32")
    # Nothing is known of some pieces.
    candidates[::7] = PAD
    return Shortlist(candidates, np.array([5, 9], "int32"))


def scored(sides: tuple, source: list[int], target: list[int], weights: list) -> Translation:
    tokens = [side.pieces(ids) for side, ids in zip(sides, (source, target), strict=True)]
    return Translation("", 0.0, *tokens, np.zeros(len(target)), np.array(weights))


@pytest.mark.parametrize("most_waiting", [1, 1000])
def test_candidates_have_the_largest_attention(tokenizer, monkeypatch, most_waiting):
    monkeypatch.setattr("keras_attn_nmt.decoding.shortlist.MOST_WAITING", most_waiting)
    other = Tokenizer.learn(["x yz", "two yx"] * 3, 290)
    source_pieces, target_pieces = (
        each.pieces(range(each.vocabulary_size)) for each in (tokenizer, other)
    )
    a, b, *_ = (i for i, each in enumerate(source_pieces) if each not in target_pieces)
    x, y, z, *_ = (i for i, each in enumerate(target_pieces) if each not in source_pieces)
    # Bytes, which both have.
    both, unseen = source_pieces.index("<0x41>"), source_pieces.index("<0x42>")
    text = [
        ([a, b, EOS], [x, y, EOS], [[0.7, 0.25, 0.05], [0.5, 0.5, 0], [0, 0.05, 0.95]]),
        ([a, both, EOS], [x, z, EOS], [[1, 0, 0], [0.3, 0.7, 0], [0, 0, 1]]),
    ]
    found = learn_shortlist(
        [scored((tokenizer, other), *each) for each in text],
        tokenizer,
        other,
        candidates=2,
        common=2,
    )
    # Of a: x 1.7, y 0.5, z 0.3; 0.05 is below the threshold.
    np.testing.assert_array_equal(found.candidates[a], [PAD, x, y])
    np.testing.assert_array_equal(found.candidates[b], [PAD, y, x])
    # What both languages have is its own candidate, as is what was never seen.
    np.testing.assert_array_equal(found.candidates[both], [both, z, PAD])
    np.testing.assert_array_equal(found.candidates[unseen], [unseen, PAD, PAD])
    # Special ids are always allowed, and take nobody's place.
    np.testing.assert_array_equal(found.common, [x, y])


def test_learning_requires_attention(tokenizer):
    sides = tokenizer, tokenizer
    with pytest.raises(ValueError, match="no attention to learn a shortlist from"):
        learn_shortlist([scored(sides, [9, EOS], [9, EOS], [[0, 0], [0, 0]])], *sides)


@only_tensorflow
def test_sentence_uses_only_its_own_candidates():
    # The candidates of padding are never used.
    table = np.array([[8], [0], [0], [0], [6], [7]], "int32")
    known = Shortlist(table, np.array([9], "int32"))
    choice = known.choose(np.array([[4, 4, 2], [5, 2, 0]], "int32"), 40, 1)
    ids, allowed = np.array(choice.ids), np.array(choice.allowed)
    assert len(ids) % 16 == 0
    for row, own in enumerate((6, 7)):
        assert set(ids[allowed[row]]) == {*range(UNK + 1), own, 9}
        assert sorted(ids[allowed[row]]) == list(ids[allowed[row]])


@only_tensorflow
@pytest.mark.parametrize("beam_size", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_full_shortlist_equals_no_shortlist(model, tokenizer, shortlist, beam_size):
    everything = np.arange(tokenizer.vocabulary_size, dtype="int32")
    everything = Shortlist(shortlist.candidates, everything)
    translator = Translator(model, tokenizer, tokenizer, everything)
    options = {"beam_size": beam_size, "max_length": 12}
    for whole, short in zip(
        translator.nbest(TEXTS, **options),
        translator.nbest(TEXTS, **options, shortlist=True),
        strict=True,
    ):
        for one, other in zip(whole, short, strict=True):
            assert one.target_tokens == other.target_tokens
            np.testing.assert_allclose(one.token_scores, other.token_scores, atol=1e-4)
            np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)


@only_tensorflow
# With 40, there are more hypotheses than pieces to choose from.
@pytest.mark.parametrize("beam_size", [1, pytest.param(4, marks=pytest.mark.slow), 40])
def test_translations_use_the_shortlist_independently_of_the_batch(
    model, tokenizer, shortlist, beam_size
):
    translator = Translator(model, tokenizer, tokenizer, shortlist)
    options = {"beam_size": beam_size, "max_length": 12, "shortlist": True}
    pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
    for text, found in zip(TEXTS, translator.nbest(TEXTS, **options), strict=True):
        (single,) = translator.nbest([text], **options)
        assert single[0].target_tokens == found[0].target_tokens
        assert single[0].score == pytest.approx(found[0].score, abs=1e-4)
        source = [*tokenizer.encode([text])[0], EOS]
        known = {EOS, UNK, *shortlist.common, *shortlist.candidates[source].flat}
        for each in found:
            assert set(each.target_tokens) <= {pieces[number] for number in known}


@only_tensorflow
def test_batch_of_blank_texts(model, tokenizer, shortlist):
    translator = Translator(model, tokenizer, tokenizer, shortlist)
    assert [each.text for each in translator(["", " "], shortlist=True)] == ["", ""]


def test_shortlist_is_tied_to_its_vocabularies(tokenizer, shortlist, tmp_path):
    path = tmp_path / "shortlist.npz"
    shortlist.save(path, tokenizer, tokenizer)
    read = Shortlist.load(path, tokenizer, tokenizer)
    np.testing.assert_array_equal(read.candidates, shortlist.candidates)
    np.testing.assert_array_equal(read.common, shortlist.common)
    other = Tokenizer.learn(["ein Haus am Meer", "zwei kleine Häuser am Meer"] * 3, 300)
    with pytest.raises(ValueError, match="learned for vocabularies other"):
        Shortlist.load(path, tokenizer, other)


@pytest.mark.parametrize("place", [0, 300, -30])
def test_damaged_file_is_named(tokenizer, shortlist, tmp_path, place):
    path = tmp_path / "shortlist.npz"
    shortlist.save(path, tokenizer, tokenizer)
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(
        ValueError, match=r"shortlist\.npz (is damaged|was learned for vocabularies)"
    ):
        Shortlist.load(path, tokenizer, tokenizer)


@only_tensorflow
def test_a_saved_translator_keeps_its_shortlist(model, tokenizer, shortlist, tmp_path):
    translator = Translator(model, tokenizer, tokenizer, shortlist)
    options = {"max_length": 12, "shortlist": True}
    wanted = [each.text for each in translator(TEXTS, **options)]
    translator.save(tmp_path / "first")
    # Its shortlist is in a file that was not read yet.
    Translator.load(tmp_path / "first").save(tmp_path / "second")
    for name in ("first", "second"):
        found = Translator.load(tmp_path / name)(TEXTS, **options)
        assert [each.text for each in found] == wanted


def test_missing_shortlist_error_says_how_to_learn_one(model, tokenizer, tmp_path):
    for shortlist, message in (
        (None, "has no shortlist: pass one"),
        (tmp_path / "none.npz", "none.npz does not exist: learn one with keras-attn-nmt shortlist"),
    ):
        with pytest.raises(ValueError, match=message):
            Translator(model, tokenizer, tokenizer, shortlist)(["ein Haus"], shortlist=True)
    with pytest.raises(ValueError, match="true or false, got PosixPath"):
        Translator(model, tokenizer, tokenizer)(["ein Haus"], shortlist=tmp_path)


def test_shortlist_of_other_sizes_is_rejected(model, tokenizer, shortlist):
    too_few = shortlist._replace(candidates=shortlist.candidates[1:])
    too_large = shortlist._replace(common=np.array([tokenizer.vocabulary_size], "int32"))
    for wrong in (too_few, too_large):
        with pytest.raises(ValueError, match="does not match vocabularies of"):
            Translator(model, tokenizer, tokenizer, wrong)(["ein Haus"], shortlist=True)


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow can")
def test_other_backends_raise(model, tokenizer, shortlist):
    # Also before one is looked for, which would have to be learned first.
    for known in (shortlist, None):
        with pytest.raises(ValueError, match="requires Keras on TensorFlow"):
            Translator(model, tokenizer, tokenizer, known)(["ein Haus"], shortlist=True)
