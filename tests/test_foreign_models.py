"""SentencePiece models of other trainers: same pieces and texts, special ids moved."""

import io
import random

import pytest
import sentencepiece
from sentencepiece.sentencepiece_model_pb2 import ModelProto
from texts import ODD_TEXTS, SENTENCES

from keras_attn_nmt.text.tokenizer import BOS, EOS, PAD, UNK, Tokenizer

TAGS = ["<2de>", ">>en<<", "{name}", "<2", "am"]
MODELS = {
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1},
    "llama": {
        "model_type": "bpe",
        "byte_fallback": True,
        "vocab_size": 340,
        "normalization_rule_name": "identity",
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
    },
    "gemma": {
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
        **{"eos_piece": "<eos>", "bos_piece": "<bos>", "unk_piece": "[UNK]"},
    },
    "marian": {"eos_id": 0, "unk_id": 1, "bos_id": -1},
    "late": {"unk_id": 5, "bos_id": 6, "eos_id": 7, "pad_id": 8},
    "tags": {"user_defined_symbols": TAGS, "control_symbols": ["<cls>"]},
    "tags of bpe": {"user_defined_symbols": TAGS, "model_type": "bpe"},
    "padding as text": {"user_defined_symbols": ["<pad>", "<s>"], "bos_id": -1},
    "no prefix": {"add_dummy_prefix": False, "remove_extra_whitespaces": False},
    "folded": {"normalization_rule_name": "nmt_nfkc_cf"},
    "word": {"model_type": "word"},
    "char": {"model_type": "char"},
    "no surface": {"unk_surface": ""},
    "phrases": {"split_by_whitespace": False},
}
TEXTS = [*SENTENCES, *ODD_TEXTS, "<2de> ein >>en<<Haus {name} am <2 x <cls>", "  ein   Haus ", "⁇"]


def learned(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=model,
        **{"vocab_size": 90, "hard_vocab_limit": False, "minloglevel": 2, **options},
    )
    return model.getvalue()


def loaded(folder, content):
    (folder / "spm.model").write_bytes(content)
    return Tokenizer.from_sentencepiece(folder / "spm.model")


@pytest.mark.parametrize("name", MODELS)
def test_pieces_and_texts_are_the_same(tmp_path, name):
    content = learned(**MODELS[name])
    original = sentencepiece.SentencePieceProcessor(model_proto=content)
    tokenizer = loaded(tmp_path, content)
    ids = tokenizer.encode(TEXTS)
    unknown = original.id_to_piece(original.unk_id())
    expected = [[original.id_to_piece(i) for i in original.encode(text)] for text in TEXTS]
    expected = [["<unk>" if each == unknown else each for each in pieces] for pieces in expected]
    assert [tokenizer.pieces(each) for each in ids] == expected
    assert not {PAD, BOS, EOS} & {i for each in ids for i in each}
    assert tokenizer.tf_tokenizer().tokenize(TEXTS).to_list() == ids
    for text, each in zip(TEXTS, ids, strict=True):
        # Without the space before an unknown piece, as always.
        decoded = original.decode(original.encode(text))
        assert tokenizer.decode([each])[0] == decoded.removeprefix(" " if each[:1] == [UNK] else "")
    assert tokenizer.pieces([EOS, UNK]) == ["</s>", "<unk>"]
    assert tokenizer.decode([[BOS, *ids[0], EOS, PAD]]) == tokenizer.decode([ids[0]])
    tokenizer.save(tmp_path / "source.spm")
    assert Tokenizer.load(tmp_path / "source.spm").digest == tokenizer.digest
    assert tokenizer.digest == loaded(tmp_path, tokenizer.model_proto).digest


def test_missing_special_pieces_are_added_and_the_order_of_others_kept(tmp_path):
    content = learned(**MODELS["padding as text"])
    before = [piece.piece for piece in ModelProto.FromString(content).pieces]
    tokenizer = loaded(tmp_path, content)
    after = tokenizer.pieces(range(tokenizer.vocabulary_size))
    assert after[:4] == ["<pad_>", "<s_>", "</s>", "<unk>"]
    assert after[4:] == [piece for piece in before if piece not in ("<unk>", "</s>")]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"treat_whitespace_as_suffix": True}, "white space as a suffix"),
        (
            {"eos_piece": "<eos>", "user_defined_symbols": ["</s>"]},
            "'</s>' is an ordinary or user-defined piece",
        ),
        (
            {"unk_piece": "[UNK]", "user_defined_symbols": ["<unk>"]},
            "'<unk>' is an ordinary or user-defined piece",
        ),
    ],
)
def test_models_that_would_lose_text_are_refused(tmp_path, options, reason):
    with pytest.raises(ValueError, match=rf"spm\.model: .*cannot be used: .*{reason}"):
        loaded(tmp_path, learned(**options))


def test_literal_white_space_is_refused(tmp_path):
    model = ModelProto.FromString(learned())
    model.normalizer_spec.escape_whitespaces = False
    with pytest.raises(ValueError, match="does not escape white space"):
        loaded(tmp_path, model.SerializeToString())


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b'{"version": "1.0"}', r"looks like a tokenizer\.json of Hugging Face"),
        (b"<unk>\t0\n<s>\t0\n", r"looks like the \.vocab file: give the \.model file"),
        (b"", "it is empty"),
    ],
)
def test_other_files_are_explained(tmp_path, content, advice):
    with pytest.raises(ValueError, match=rf"spm\.model: not a SentencePiece model.*{advice}"):
        loaded(tmp_path, content)


@pytest.mark.parametrize("name", ["tags", "tags of bpe", "llama", "phrases"])
def test_sampled_segmentations_keep_symbols_and_text(tmp_path, name):
    subword_sampling = pytest.importorskip("keras_attn_nmt.training.subword_sampling")
    tokenizer = loaded(tmp_path, learned(**MODELS[name]))
    sampler = subword_sampling.SubwordSampler(tokenizer, 0.3)
    generator = random.Random(0)
    text = ">>en<< Im Garten  spielt ein kleiner Junge vor dem Haus <2de>"
    [expected] = tokenizer.decode(tokenizer.encode([text]))
    samples = [sampler(text, generator) for _ in range(30)]
    assert len(set(map(tuple, samples))) > 10
    for ids in samples:
        assert tokenizer.decode([ids]) == [expected]
        if "tags" in name:
            assert {">>en<<", "<2de>"} <= set(tokenizer.pieces(ids))
