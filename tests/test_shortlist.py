"""What a sentence may choose from, how it is learned, and that a search keeps to it."""

import keras
import numpy as np
import pytest

from keras_attn_nmt import files
from keras_attn_nmt.config import ModelConfig
from keras_attn_nmt.model import build_model
from keras_attn_nmt.shortlist import Shortlist, learn_shortlist
from keras_attn_nmt.special_ids import EOS, UNK
from keras_attn_nmt.tokenizer import Tokenizer
from keras_attn_nmt.translation import Translation
from keras_attn_nmt.translator import Translator

TEXTS = ["ein Haus", "", "zwei kleine Häuser am See", "日本 🙂", "ein Haus"]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]

only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a shortlist needs TensorFlow"
)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def loaded(request) -> files.ModelFiles:
    tokenizer = Tokenizer.learn(["ein Haus am See", "zwei kleine Häuser am See"] * 3, 300)
    size = tokenizer.vocabulary_size
    config = ModelConfig(
        size,
        size,
        embedding_units=6,
        encoder_units=5,
        decoder_units=7,
        attention_units=4,
        tie_target_embeddings=request.param,
    )
    model = build_model(config)
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    candidates = generator.integers(4, size, (size, 3)).astype("int32")
    return files.ModelFiles(
        model, config, tokenizer, tokenizer, Shortlist(candidates, np.array([5, 9], "int32"))
    )


def translator_with(loaded: files.ModelFiles, shortlist: Shortlist | None) -> Translator:
    return Translator(loaded.model, loaded.source_tokenizer, loaded.target_tokenizer, shortlist)


def scored(source: str, target: str, weights: list[list[float]]) -> Translation:
    tokens = [text.split() for text in (source, target)]
    return Translation("", 0.0, *tokens, np.zeros(len(tokens[1])), np.array(weights))


def test_candidates_are_what_the_attention_was_on():
    pieces = [*SPECIAL, "a", "b", "same"], [*SPECIAL, "x", "y", "z", "same"]
    found = learn_shortlist(
        [
            scored("a b </s>", "x y </s>", [[0.7, 0.25, 0.05], [0.5, 0.5, 0], [0, 0.05, 0.95]]),
            scored("a same </s>", "x z </s>", [[1, 0, 0], [0.3, 0.7, 0], [0, 0, 1]]),
        ],
        *pieces,
        candidates=2,
        common=2,
    )
    x, y, z, same = 4, 5, 6, 7
    # Of a: x 1.7, y 0.5, z 0.3; 0.05 is no link.
    np.testing.assert_array_equal(found.candidates[4], [x, y])
    np.testing.assert_array_equal(found.candidates[5], [y, x])
    # What both languages have is its own candidate.
    np.testing.assert_array_equal(found.candidates[6], [same, z])
    np.testing.assert_array_equal(found.common, [EOS, x])


def test_nothing_is_learned_without_attention():
    with pytest.raises(ValueError, match="no attention to learn a shortlist from"):
        learn_shortlist(
            [scored("a </s>", "x </s>", [[0, 0], [0, 0]])], [*SPECIAL, "a"], [*SPECIAL, "x"]
        )


@only_tensorflow
def test_a_sentence_chooses_from_its_own_candidates():
    known = Shortlist(np.array([[0], [0], [0], [0], [6], [7]], "int32"), np.array([9], "int32"))
    choice = known.choose(np.array([[4, 4, 2], [5, 2, 0]], "int32"), 40, 1)
    ids, allowed = np.array(choice.ids), np.array(choice.allowed)
    assert len(ids) % 16 == 0
    for row, own in enumerate((6, 7)):
        assert set(ids[allowed[row]]) == {*range(UNK + 1), own, 9}
        assert sorted(ids[allowed[row]]) == list(ids[allowed[row]])


@only_tensorflow
@pytest.mark.parametrize("beam_size", [1, 4])
def test_with_everything_on_it_nothing_changes(loaded, beam_size):
    size = loaded.config.target_vocabulary_size
    everything = Shortlist(loaded.shortlist.candidates, np.arange(size, dtype="int32"))
    translator = translator_with(loaded, everything)
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
@pytest.mark.parametrize("beam_size", [1, 4])
def test_translations_keep_to_it_and_do_not_depend_on_the_batch(loaded, beam_size):
    translator = translator_with(loaded, loaded.shortlist)
    options = {"beam_size": beam_size, "max_length": 12, "shortlist": True}
    pieces = loaded.target_tokenizer.pieces(range(loaded.target_tokenizer.vocabulary_size))
    for text, found in zip(TEXTS, translator(TEXTS, **options), strict=True):
        (alone,) = translator([text], **options)
        assert alone.target_tokens == found.target_tokens
        assert alone.score == pytest.approx(found.score, abs=1e-4)
        source = [*loaded.source_tokenizer.encode([text])[0], EOS]
        known = {EOS, UNK, *loaded.shortlist.common, *loaded.shortlist.candidates[source].flat}
        assert set(found.target_tokens) <= {pieces[number] for number in known}


@only_tensorflow
def test_it_lies_in_the_model_directory(loaded, tmp_path):
    files.save_model(tmp_path / "model", loaded)
    read = files.load_model(tmp_path / "model").shortlist
    np.testing.assert_array_equal(read.candidates, loaded.shortlist.candidates)
    np.testing.assert_array_equal(read.common, loaded.shortlist.common)
    (tmp_path / "model" / files.SHORTLIST).write_bytes(b"PK, but no more")
    with pytest.raises(ValueError, match=r"shortlist\.npz is damaged .* keras-attn-nmt shortlist"):
        files.load_model(tmp_path / "model")


def test_that_of_another_model_is_refused(loaded, tmp_path):
    path = tmp_path / "shortlist.npz"
    loaded.shortlist.save(path)
    size = loaded.config.source_vocabulary_size
    Shortlist.load(path, size, size)
    for sizes in ((size + 1, size), (size, 50)):
        with pytest.raises(ValueError, match=f"does not belong to this model of {sizes[0]} source"):
            Shortlist.load(path, *sizes)


def test_a_model_without_one_says_how_to_get_it(loaded):
    wanted = (
        "has no shortlist: let it learn one with keras-attn-nmt shortlist"
        if keras.backend.backend() == "tensorflow"
        else "A shortlist needs Keras on TensorFlow"
    )
    with pytest.raises(ValueError, match=wanted):
        translator_with(loaded, None)(["ein Haus"], shortlist=True)
