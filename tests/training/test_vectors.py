"""Pretrained vectors: which pieces get which vector, and files that are refused."""

import gzip
import logging

import numpy as np
import pytest

from keras_attn_nmt import ModelConfig, Tokenizer, build_model
from keras_attn_nmt.training import load_recipe, train
from keras_attn_nmt.training.vectors import (
    check_vectors,
    initialize_embeddings,
    read_vectors,
    vector_size,
)

SENTENCES = ["Haus See , der Garten", "Haus See , 東京 der Garten"] * 4
LINES = ["der 1 2 3", "haus 4 5 6", "Haus 7 8 9", ", 1 0 0", "aus 9 9 9", "</s> 5 5 5", "x 0 1 0"]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.learn(SENTENCES, 320, model_type="bpe", character_coverage=1.0)


def write(tmp_path, lines, name="vectors.vec"):
    (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return tmp_path / name


def by_piece(found, tokenizer):
    pairs = zip(tokenizer.pieces(found.ids), found.vectors.tolist(), strict=True)
    return {piece: vector for piece, vector in pairs}


def pieces(tokenizer):
    return set(tokenizer.pieces(range(260, tokenizer.vocabulary_size)))


@pytest.mark.parametrize("header", [[], ["7 3"], ["7 3 "]], ids=["GloVe", "word2vec", "fastText"])
def test_forms_of_files(tmp_path, tokenizer, header):
    spaced = [f"{line} " for line in LINES] if header == ["7 3 "] else LINES
    path = write(tmp_path, [*header, *spaced, "New York 1 1 1"])
    assert vector_size(path) == 3
    vectors = by_piece(read_vectors(path, tokenizer), tokenizer)
    assert vectors["▁der"] == [1, 2, 3]
    packed = tmp_path / "vectors.vec.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert by_piece(read_vectors(packed, tokenizer), tokenizer) == vectors


def test_matching_rule(tmp_path, tokenizer):
    assert {"▁Haus", "▁der", "▁See", "▁,"} <= pieces(tokenizer)
    vectors = by_piece(read_vectors(write(tmp_path, LINES), tokenizer), tokenizer)
    assert vectors["▁Haus"] == [7, 8, 9]  # Not that of the word in lower case.
    assert vectors["▁,"] == [1, 0, 0]
    assert "▁See" not in vectors
    # Pieces inside of words, and special ids.
    assert not {"aus", "</s>", "us", "s"} & set(vectors)

    found = read_vectors(write(tmp_path, [*LINES, "see 2 2 2", "▁Haus 3 3 3"]), tokenizer)
    vectors = by_piece(found, tokenizer)
    assert vectors["▁Haus"] == [3, 3, 3]
    assert vectors["▁See"] == [2, 2, 2]
    assert found.lower == 1
    # A word of the letters of a piece inside of words is another, unless the file has pieces.
    inner = sorted(each for each in pieces(tokenizer) if each.isalpha())[0]
    words = write(tmp_path, [*LINES, f"{inner} 4 4 4"])
    assert inner not in by_piece(read_vectors(words, tokenizer), tokenizer)
    like_bpemb = [f"▁{line}" for line in LINES]
    like_bpemb = write(tmp_path, [*like_bpemb, f"{inner} 4 4 4"])
    assert by_piece(read_vectors(like_bpemb, tokenizer), tokenizer)[inner] == [4, 4, 4]
    # The first vector of a word counts.
    repeated = write(tmp_path, [*LINES, "der 9 9 9"])
    assert by_piece(read_vectors(repeated, tokenizer), tokenizer)["▁der"] == [1, 2, 3]


def test_letters_of_a_vocabulary_of_characters(tmp_path):
    tokenizer = Tokenizer.learn(["Haus, See!"] * 5, 300, model_type="char")
    lines = [f"{piece} 1 2" for piece in pieces(tokenizer) if piece != "▁"]
    assert len(read_vectors(write(tmp_path, lines), tokenizer).ids) == len(lines)


def test_words_without_spaces(tmp_path):
    tokenizer = Tokenizer.learn(["東京へ行く", "東京は大きい"] * 5, 299, character_coverage=1.0)
    lines = [f"{piece} 1 2" for piece in pieces(tokenizer) if not piece.startswith("▁")]
    assert set(by_piece(read_vectors(write(tmp_path, lines), tokenizer), tokenizer)) == {
        line.split(" ")[0] for line in lines
    }


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*LINES, "der 1 2"], r"vectors\.vec, line 8: found 2 numbers, expected 3"),
        (["der 1 2 x"], "line 1: could not convert"),
        (["der 1 2 nan"], "line 1: the vector has numbers that are not finite"),
        (["foo 1 2 3"], r"a vector for none of the 3\d\d pieces"),
        ([""], "line 1: '' is neither a header"),
        ([], "neither a header"),
    ],
)
def test_damaged_files(tmp_path, tokenizer, lines, message):
    with pytest.raises(ValueError, match=message):
        read_vectors(write(tmp_path, lines), tokenizer)


def test_binary_files_are_explained(tmp_path, tokenizer):
    path = tmp_path / "vectors.bin"
    path.write_bytes(b"7 3\nder \xff\xfe\x00\x80\n")
    with pytest.raises(ValueError, match=r"binary files \(\.bin\) must be converted"):
        read_vectors(path, tokenizer)


def test_embeddings_of_found_pieces_are_scaled_and_others_kept(tmp_path, tokenizer, caplog):
    caplog.set_level(logging.INFO)
    size = tokenizer.vocabulary_size
    units = {"encoder_units": 3, "decoder_units": 3, "attention_units": 3, "embedding_units": 3}
    model = build_model(ModelConfig(size, size, **units))
    before = {side: model.get_layer(f"{side}_embedding").embeddings.numpy() for side in SIDES}
    path = write(tmp_path, LINES)
    recipe = load_recipe(
        "phrases", ["model.embedding_units=3", f"vocabulary.target_vectors={path}"]
    )
    check_vectors(recipe)
    record = initialize_embeddings(model, recipe, (tokenizer, tokenizer))["target_vectors"]
    after = {side: model.get_layer(f"{side}_embedding").embeddings.numpy() for side in SIDES}
    np.testing.assert_array_equal(after["source"], before["source"])
    found = read_vectors(path, tokenizer)
    factors = after["target"][found.ids] / np.where(found.vectors == 0, np.nan, found.vectors)
    np.testing.assert_allclose(factors[~np.isnan(factors)], np.nanmean(factors), rtol=1e-5)
    scale = np.sqrt(np.mean(np.square(after["target"][found.ids])))
    np.testing.assert_allclose(scale, np.sqrt(np.mean(np.square(before["target"]))), rtol=1e-5)
    others = np.setdiff1d(np.arange(size), found.ids)
    np.testing.assert_array_equal(after["target"][others], before["target"][others])
    assert record["pieces"] == len(found.ids)
    assert f"target vectors: {len(found.ids)} of {size} pieces have one" in caplog.text


SIDES = ("source", "target")


def test_mistakes_cost_no_time(tmp_path):
    path = write(tmp_path, LINES)
    for settings, error, message in (
        ([f"vocabulary.source_vectors={path}"], ValueError, r"set model\.embedding_units=3, or"),
        (
            [f"vocabulary.target_vectors={path}.none"],
            FileNotFoundError,
            r"\(vocabulary\.target_vectors\) does not exist",
        ),
    ):
        with pytest.raises(error, match=message):
            train(load_recipe("multi30k", settings), tmp_path / "model")
    assert not (tmp_path / "model").exists()
