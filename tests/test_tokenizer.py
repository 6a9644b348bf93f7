"""The tokenizer: lossless, with equal ids in every runtime; damaged files are detected."""

import errno
import hashlib
import io
import logging
import os
import random
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import sentencepiece
from full_disk import full_disk
from texts import ODD_TEXTS, SENTENCES

from keras_attn_nmt.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.learn(SENTENCES, 340, model_type=request.param, normalization="identity")


@pytest.fixture(scope="module")
def random_texts() -> list[str]:
    generator = random.Random(0)
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x370, 0x700), (0x3040, 0x30FF), (0x1F300, 0x1F700)]
    characters = [chr(c) for low, high in ranges for c in range(low, high)] + [" "] * 400
    return ["".join(generator.choices(characters, k=generator.randrange(60))) for _ in range(300)]


def test_tokenization_is_lossless(tokenizer: Tokenizer, random_texts: list[str]) -> None:
    texts = ODD_TEXTS + random_texts + SENTENCES
    assert tokenizer.decode(tokenizer.encode(texts)) == texts


def test_documented_limits(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode(["a▁b"])) == ["a b"]
    with pytest.raises(ValueError, match=r"texts\[1\] contains a lone surrogate \(character 2"):
        tokenizer.encode(["fine", "no\ud800"])


def test_tf_text_ids_are_equal(tokenizer: Tokenizer, random_texts: list[str]) -> None:
    texts = [*ODD_TEXTS, "a▁b", *random_texts, *SENTENCES]
    tf_tokenizer = tokenizer.tf_tokenizer()
    ids = tf_tokenizer.tokenize(texts)
    assert ids.dtype == "int32"
    assert ids.to_list() == tokenizer.encode(texts)
    # As documented, TF Text differs in the leading spaces of what it puts together again.
    texts = [text.lstrip(" ") for text in random_texts + SENTENCES]
    together = tf_tokenizer.detokenize(tf_tokenizer.tokenize(texts)).numpy()
    assert [text.decode() for text in together] == texts


def test_special_ids(tokenizer: Tokenizer) -> None:
    assert (PAD, BOS, EOS, UNK) == (0, 1, 2, 3)
    assert tokenizer.pieces([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    ids = [i for text in tokenizer.encode(ODD_TEXTS + SENTENCES) for i in text]
    # A text that spells "</s>" does not end the sentence, and nothing is unknown.
    assert not {PAD, BOS, EOS, UNK} & set(ids)


def test_decode_skips_special_ids(tokenizer: Tokenizer) -> None:
    [ids] = tokenizer.encode([SENTENCES[0]])
    padded = np.array([[BOS, *ids, EOS, PAD, PAD]], np.int32)
    assert tokenizer.decode(padded) == [SENTENCES[0]]
    assert tokenizer.decode([[PAD, EOS]]) == [""]
    assert tokenizer.decode([]) == [] == tokenizer.encode([])


def test_leading_unknown_piece_has_no_leading_space(
    tokenizer: Tokenizer,
) -> None:
    haus = tokenizer.encode([SENTENCES[0]])[0]
    assert tokenizer.decode([[UNK, *haus]]) == [f"⁇  {SENTENCES[0]}"]


def test_pieces_concatenate_to_the_text(tokenizer: Tokenizer) -> None:
    [ids] = tokenizer.encode(["im Haus"])
    assert "".join(tokenizer.pieces(ids)) == "▁im▁Haus"


def test_digits_are_split(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.pieces(range(260, tokenizer.vocabulary_size))
    assert not [piece for piece in pieces if any(c.isdigit() for c in piece) and len(piece) > 1]


def test_ids_out_of_vocabulary_range(tokenizer: Tokenizer) -> None:
    for wrong in (-1, tokenizer.vocabulary_size):
        with pytest.raises(ValueError, match=f"id {wrong} is out of range.*0 to"):
            tokenizer.decode([[5], [5, wrong]])
        with pytest.raises(ValueError, match=f"id {wrong} is out of range"):
            tokenizer.pieces([wrong])


def test_characters_are_pieces(random_texts: list[str]) -> None:
    texts = [*SENTENCES, *ODD_TEXTS, *random_texts]
    tokenizer = Tokenizer.learn(SENTENCES, 340, model_type="char", normalization="identity")
    ids = tokenizer.encode(texts)
    assert tokenizer.decode(ids) == [text.replace("▁", " ") for text in texts]
    assert tokenizer.tf_tokenizer().tokenize(texts).to_list() == ids
    # Digits of other scripts, which other types learn with boundaries around them.
    tokenizer = Tokenizer.learn(["am ٣ Haus"], 300, model_type="char", byte_fallback=False)
    assert tokenizer.pieces(tokenizer.encode(["a٣ H"])[0]) == ["a", "٣", "▁", "H"]


def test_words_are_pieces() -> None:
    texts = ["R IY1 D", "K AE1 T S", "AH0"]
    tokenizer = Tokenizer.learn(texts, 100, model_type="word", byte_fallback=False)
    assert tokenizer.vocabulary_size == 4 + 7 + 1
    ids = tokenizer.encode([*texts, "K ZH"])
    assert [tokenizer.pieces(each) for each in ids] == [
        ["▁R", "▁IY1", "▁D"],
        ["▁K", "▁AE1", "▁T", "▁S"],
        ["▁AH0"],
        ["▁K", "<unk>"],
    ]
    assert tokenizer.decode(ids[:3]) == texts
    assert tokenizer.tf_tokenizer().tokenize([*texts, "K ZH"]).to_list() == ids


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_learning_is_reproducible_across_processes(model_type: str) -> None:
    """And needs no TensorFlow."""
    program = (
        "import hashlib, sys\n"
        "from keras_attn_nmt.text.tokenizer import Tokenizer\n"
        f"texts = (str(n) + ' Häuser und Gärten'[: n % 19] for n in range(3000))\n"
        "made = Tokenizer.learn(texts, 300, maximum_texts=500, seed=7, "
        f"model_type={model_type!r})\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(hashlib.sha256(made.model_proto).hexdigest())\n"
    )

    def learn(seed: int) -> str:
        texts = (str(n) + " Häuser und Gärten"[: n % 19] for n in range(3000))
        made = Tokenizer.learn(texts, 300, model_type=model_type, maximum_texts=500, seed=seed)
        return hashlib.sha256(made.model_proto).hexdigest()

    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert learn(7) == other.stdout.strip()
    assert learn(7) != learn(8)


def test_sample_is_reported_and_covers_the_corpus(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    texts = ["a"] * 5000 + ["b"] * 5000
    tokenizer = Tokenizer.learn(texts, 300, maximum_texts=100)
    assert "sample of 100 of 10,000 texts" in caplog.text
    assert {"a", "b"} <= set(tokenizer.pieces(range(260, tokenizer.vocabulary_size)))


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_vocabulary_size(model_type: str, caplog: pytest.LogCaptureFixture) -> None:
    assert Tokenizer.learn(SENTENCES, 320, model_type=model_type).vocabulary_size == 320
    assert not caplog.records
    tokenizer = Tokenizer.learn(SENTENCES, 8000, model_type=model_type)
    assert 300 < tokenizer.vocabulary_size < 8000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"only {tokenizer.vocabulary_size} of 8,000 requested pieces" in caplog.text


def test_long_texts_contribute_to_learning() -> None:
    tokenizer = Tokenizer.learn([" ".join(["Donau", "Dampf", "Schiff"] * 1000)], 300)
    assert "▁Schiff" in tokenizer.pieces(range(260, tokenizer.vocabulary_size))


def test_learning_errors() -> None:
    for texts in ([], [""], iter(["", ""])):
        with pytest.raises(ValueError, match="no text to learn a vocabulary from"):
            Tokenizer.learn(texts, 300)
    with pytest.raises(ValueError, match="got one string"):
        Tokenizer.learn("one text", 300)
    with pytest.raises(ValueError, match=r"texts\[1\] must be a str, got bytes"):
        Tokenizer.learn(["a", b"b"], 300)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="lone surrogate"):
        Tokenizer.learn(["a\udfff"], 300)
    with pytest.raises(ValueError, match=r"at least 30\d; raise vocabulary_size"):
        Tokenizer.learn(SENTENCES, 270)
    with pytest.raises(ValueError, match=r"characters and 4 special ids need at least 4\d; raise"):
        Tokenizer.learn(SENTENCES, 5, byte_fallback=False)
    with pytest.raises(ValueError, match="above 260"):
        Tokenizer.learn(SENTENCES, 100)
    with pytest.raises(ValueError, match=r"model_type must be one of .* got 'words'"):
        Tokenizer.learn(SENTENCES, 300, model_type="words")
    with pytest.raises(ValueError, match=r"model_type='word' requires byte_fallback=false"):
        Tokenizer.learn(SENTENCES, 300, model_type="word")
    with pytest.raises(ValueError, match=r"normalization must be one of .* got 'nfkc'"):
        Tokenizer.learn(SENTENCES, 300, normalization="nfkc")
    with pytest.raises(ValueError, match="consist of line breaks"):
        Tokenizer.learn(["\n"], 300)


def test_save_and_load(tokenizer: Tokenizer, tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "source.spm")
    tokenizer.save(path)
    assert Tokenizer.load(path).encode(SENTENCES) == tokenizer.encode(SENTENCES)
    # The file is an ordinary SentencePiece model, for other programs as well.
    other = sentencepiece.SentencePieceProcessor(model_file=path)
    assert other.encode(SENTENCES) == tokenizer.encode(SENTENCES)


def test_full_disk_leaves_the_old_file(
    tokenizer: Tokenizer, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = os.path.join(tmp_path, "source.spm")
    tokenizer.save(path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Tokenizer.learn(["other"], 266).save(path)
    assert Tokenizer.load(path).model_proto == tokenizer.model_proto
    assert os.listdir(tmp_path) == ["source.spm"]


def test_damaged_files(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "source.spm")
    with pytest.raises(FileNotFoundError):
        Tokenizer.load(path)
    whole = Tokenizer.learn(SENTENCES, 320).model_proto
    for content in [b"", b"not a model", b"\0" * 100, *(whole[:n] for n in range(5, 4500, 97))]:
        with open(path, "wb") as file:
            file.write(content)
        with pytest.raises(ValueError, match=r"source\.spm: .*SentencePiece model"):
            Tokenizer.load(path)


def test_pieces_that_are_not_utf8_are_refused() -> None:
    whole = Tokenizer.learn(SENTENCES, 320).model_proto
    damaged = Tokenizer(whole.replace("▁".encode(), b"\xff\xff\xff"))
    with pytest.raises(ValueError, match=r"damaged: piece \d+ is not UTF-8"):
        damaged.pieces([UNK])


def test_models_with_other_special_ids() -> None:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_writer=model, vocab_size=60, minloglevel=2
    )
    with pytest.raises(ValueError, match=r"= \(-1, 1, 2, 0\), expected \(0, 1, 2, 3\)"):
        Tokenizer(model.getvalue())


def test_path_instead_of_bytes() -> None:
    with pytest.raises(ValueError, match=r"Tokenizer\.load"):
        Tokenizer("source.spm")  # type: ignore[arg-type]


def test_a_single_sequence_of_ids_is_not_a_list_of_sequences() -> None:
    tokenizer = Tokenizer.learn(["ein Haus", "zwei Seen"], 290)
    (ids,) = tokenizer.encode(["ein Haus"])
    for wrong in (ids, np.array(ids)):
        with pytest.raises(ValueError, match="decode takes a list of sequences"):
            tokenizer.decode(wrong)
    with pytest.raises(ValueError, match="pieces takes one sequence"):
        tokenizer.pieces([ids])
    assert tokenizer.decode(np.array([ids])) == ["ein Haus"]


def test_a_full_temporary_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with full_disk(), pytest.raises(OSError, match=f"File too large: '{tmp_path}"):
        Tokenizer.learn(SENTENCES, 340)
    assert os.listdir(tmp_path) == []
