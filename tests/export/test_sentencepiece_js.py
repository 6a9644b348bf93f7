"""sentencepiece.js has the ids, pieces and texts of `Tokenizer` in Python."""

import base64
import gzip
import io
import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest
import sentencepiece
from questions import TEXTS
from sentencepiece.sentencepiece_model_pb2 import ModelProto, TrainerSpec
from texts import ODD_TEXTS, SENTENCES

from keras_attn_nmt.text.tokenizer import Tokenizer

VERSION = tuple(int(part) for part in sentencepiece.__version__.split(".")[:3])
pytestmark = pytest.mark.skipif(
    VERSION < (0, 2, 3),
    reason="SentencePiece before 0.2.3 has other ids for equal scores, unused and control pieces",
)
ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "export" / "web_page" / "sentencepiece.js"
DATA = ROOT.parent / "shared" / "data"
CORPORA = ["multi30k/val.de.gz", "tanaka_enja/dev.en.gz", "tanaka_enja/dev.ja.gz"]
SCRIPTS = [
    "Tiếng Việt có nhiều dấu: ở, ộ, ẵ, Ǘ.",
    "한국어 문장입니다. 한국어를 배웁니다.",
    "これは日本語の文です。東京タワーは高い。",
    "هذه جملة باللغة العربية، وفيها ٣ أرقام.",
    "Ελληνικά, русский язык, हिन्दी में वाक्य।",
    "🙂 👨‍👩‍👧 🇩🇪 ½ ﬁ ① ㌔ Å ｶﾞ １２３",
]
Piece = ModelProto.SentencePiece
SYMBOLS = ["<sep>", "AB", "ABC", "ü", "e\u0301", "a b", "▁im", "<s"]
# The scores of the last one add up to over 100,000, where C++ starts again.
LONG = ["ein Haus am See " * 300, "\U00012345" * 7000]
BLOCKS = [(0, 0x180), (0x300, 0x370), (0x600, 0x700), (0x1100, 0x1200), (0x2000, 0x2070)]
BLOCKS += [(0x3040, 0x3100), (0xAC00, 0xB000), (0x1F300, 0x1F700), (0xE000, 0x110000), (0, 0xD800)]
PARTS = [word for text in [*SENTENCES, *SCRIPTS, *TEXTS] for word in text.split()]
PARTS += [word[1:3] for word in PARTS]
# Of repeated letters, many segmentations have the same score but for rounding.
PARTS += [letters * 7 for letters in PARTS if len(letters) < 4]
PARTS += ["", "", " ", "\t", "\0", "▁", "▁▁", "\u3000", "\u00ad", "\u200b", "\u0301", *SYMBOLS]
LEARNED_FROM = [*SENTENCES, *SCRIPTS, *TEXTS] * 2

# Answers with the ids and pieces of each text, and the text of all ids.
ENCODE_AND_DECODE = """
const { file, texts, sequences } = question;
const tokenizer = new SentencePiece(fs.readFileSync(file));
const ids = texts.map((text) => tokenizer.encode(text));
const pieces = ids.map((each) => tokenizer.pieces(each));
const decoded = [...ids, ...sequences].map((each) => tokenizer.decode(each));
return { size: tokenizer.size, ids, pieces, decoded };
"""
# Answers with the microseconds of CPU time for a text, and for it several times in a row.
TIMES = """
const { file, text, times } = question;
const tokenizer = new SentencePiece(fs.readFileSync(file));
const time = (text) => {
  const start = process.cpuUsage();
  tokenizer.encode(text);
  return process.cpuUsage(start).user;
};
return [text, text, text, text.repeat(times)].map(time).slice(2);
"""
# Answers with the message of each plain Error.
ERRORS = """
return question.map(({ model, text, ids }) => {
  try {
    const tokenizer = new SentencePiece(Buffer.from(model, "base64"));
    if (text) tokenizer.encode(text);
    if (ids) tokenizer.decode(ids);
  } catch (error) {
    return error.constructor === Error ? error.message : `not a plain Error: ${error}`;
  }
  return null;
});
"""


@pytest.fixture(scope="module")
def node():
    path = shutil.which("node")
    try:
        # Playwright brings a Node.js along, without a public name for it.
        from playwright._impl._driver import compute_driver_executable
    except ImportError:
        pass
    else:
        found = compute_driver_executable()
        path = found if isinstance(found, str) else found[0]
    if not path or not Path(path).exists():
        pytest.skip("no Node.js here (pip install playwright, or Debian: apt-get install nodejs)")
    return path


@pytest.fixture(scope="module")
def ask(node):
    """Runs JavaScript with sentencepiece.js and a `question`, and returns its answer."""

    def ask_node(body, question):
        program = (
            f'const fs = require("fs"); require({json.dumps(str(SCRIPT))});'
            f"const answer = (question) => {{ {body} }};"
            'const question = JSON.parse(fs.readFileSync(0, "utf8"));'
            "process.stdout.write(JSON.stringify(answer(question)));"
        )
        done = subprocess.run(
            [node, "-e", program], input=json.dumps(question).encode(), capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return ask_node


@pytest.fixture(scope="module")
def check(ask, tmp_path_factory):
    """Compares JavaScript with Python: a vocabulary, some texts, and many random ones."""
    file = tmp_path_factory.mktemp("vocabulary") / "vocabulary.spm"

    def check_vocabulary(model_proto, texts=()):
        file.write_bytes(model_proto)
        tokenizer = Tokenizer(model_proto)
        generator = random.Random(model_proto)
        texts = [*texts, *SENTENCES, *SCRIPTS, *TEXTS, *ODD_TEXTS]
        texts += [text_of(generator) for text_of in (mixture, random_text) for _ in range(100)]
        sequences = random_ids(generator, tokenizer.vocabulary_size)
        question = {"file": str(file), "texts": texts, "sequences": sequences}
        answer = ask(ENCODE_AND_DECODE, question)
        assert answer["size"] == tokenizer.vocabulary_size
        wanted = tokenizer.encode(texts)
        for text, found, ids in zip(texts, answer["ids"], wanted, strict=True):
            assert found == ids, text
        assert answer["pieces"] == [tokenizer.pieces(ids) for ids in wanted]
        sequences = [*wanted, *sequences]
        decoded = tokenizer.decode(sequences)
        for ids, found, text in zip(sequences, answer["decoded"], decoded, strict=True):
            assert found == text, ids

    return check_vocabulary


def mixture(generator):
    """Words and parts of sentences, doubled spaces, and spaces at both ends."""
    return generator.choice(["", " "]).join(generator.choices(PARTS, k=generator.randrange(15)))


def random_text(generator):
    """Characters of all planes, of scripts that interact, and marks between them."""
    first, end = generator.choice(BLOCKS)
    marks = [*range(0x61, 0x67), 0x20, 0x301, 0x308, 0x323, 0xFF11]
    codes = [generator.choice([generator.randrange(first, end), *marks]) for _ in range(20)]
    return "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)


def random_ids(generator, size):
    """Of the whole vocabulary, mostly of bytes, and mostly special."""
    ends = [size, size, min(size, 265), min(size, 10)]
    return [
        generator.choices(range(generator.choice(ends)), k=generator.randrange(12))
        for _ in range(200)
    ]


def trained(**options):
    """A vocabulary of SentencePiece's own, with the special ids of `Tokenizer`."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNED_FROM),
        model_writer=model,
        **{"vocab_size": 400, "hard_vocab_limit": False, "minloglevel": 2, **options},
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
    )
    return model.getvalue()


def changed(model_proto, change):
    model = ModelProto.FromString(model_proto)
    change(model)
    return model.SerializeToString()


def made(scores, model_type):
    """A vocabulary with just these pieces, and no normalization."""
    model = ModelProto()
    model.trainer_spec.model_type = model_type
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    for name in ("<pad>", "<s>", "</s>", "<unk>"):
        kind = Piece.UNKNOWN if name == "<unk>" else Piece.CONTROL
        model.pieces.add(piece=name, type=kind, score=-1e6)
    for piece, score in scores.items():
        kind = Piece.USER_DEFINED if score is None else Piece.NORMAL
        model.pieces.add(piece=piece, type=kind, score=score or 0)
    return model.SerializeToString()


@pytest.mark.parametrize("byte_fallback", [True, False])
@pytest.mark.parametrize("normalization", ["nfc", "nmt_nfkc", "identity"])
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_vocabularies_of_tokenizer(check, model_type, normalization, byte_fallback):
    tokenizer = Tokenizer.learn(
        LEARNED_FROM,
        700,
        model_type=model_type,
        normalization=normalization,
        byte_fallback=byte_fallback,
    )
    check(tokenizer.model_proto)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize(
    "options",
    [
        {"user_defined_symbols": SYMBOLS, "remove_extra_whitespaces": True},
        {"control_symbols": ["<to>", "e"], "byte_fallback": True, "vocab_size": 600},
        {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "unk_surface": "?"},
        {"add_dummy_prefix": False, "split_by_whitespace": False, "user_defined_symbols": ["▁"]},
        {"normalization_rule_name": "nmt_nfkc_cf", "split_by_unicode_script": False},
    ],
    ids=lambda options: " ".join(options),
)
def test_vocabularies_of_sentencepiece(check, model_type, options):
    check(trained(model_type=model_type, **options))


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        # An unknown character costs 10 more than the lowest score.
        ({"bcdef": 0, "ab": -5, "cd": -5, "ef": -4.5}, "abcdef"),
        ({"bcdefgh": 0, "ab": -5, "cd": -5, "ef": -5, "gh": -5}, "abcdefgh"),
        # Sums are rounded to float32, and of equal ones the longest last piece stays.
        ({"p": -10_000, "x": -0.0001, "y": -0.0007, "xy": -0.0006}, "pxy"),
        ({"p": -100_001, "x": -0.0001, "y": -0.0001, "xy": -0.0003}, "pxy"),
        # None is the score of a user-defined piece.
        (dict.fromkeys(["a", "b", "abc", "cde", "de"]) | {"f": -1}, "abcdef"),
    ],
)
def test_scores_of_unigrams(check, scores, text):
    check(made(scores, TrainerSpec.UNIGRAM), [text])


@pytest.mark.parametrize("byte_fallback", [True, False])
def test_vocabularies_of_characters(check, byte_fallback):
    tokenizer = Tokenizer.learn(LEARNED_FROM, 700, model_type="char", byte_fallback=byte_fallback)
    check(tokenizer.model_proto)


def test_vocabularies_of_words(check):
    tokenizer = Tokenizer.learn(LEARNED_FROM, 700, model_type="word", byte_fallback=False)
    check(tokenizer.model_proto)


@pytest.mark.parametrize("model_type", ["char", "word"])
@pytest.mark.parametrize(
    "options",
    [
        {"user_defined_symbols": SYMBOLS, "remove_extra_whitespaces": True},
        {"control_symbols": ["<to>", "e"], "byte_fallback": True, "vocab_size": 600},
        {"add_dummy_prefix": False, "remove_extra_whitespaces": False, "unk_surface": "?"},
    ],
    ids=lambda options: " ".join(options),
)
def test_characters_and_words_of_sentencepiece(check, model_type, options):
    check(trained(model_type=model_type, **options))


def test_user_defined_pieces_are_not_merged(check):
    scores = {"a": -3, "ab": -1, "b": None, "c": -4, "bc": -2, "ca": -5}
    check(made(scores, TrainerSpec.BPE), ["abc", "cab", "bcca"])


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_unused_pieces_and_equal_scores(check, model_type):
    def change(model):
        pieces = [piece for piece in model.pieces if piece.type == piece.NORMAL]
        for piece in pieces:
            piece.score = round(piece.score / 4)
        for piece in pieces[::3]:
            piece.type = piece.UNUSED

    check(changed(trained(model_type=model_type), change))


def test_unescaped_spaces(check):
    def change(model):
        model.normalizer_spec.escape_whitespaces = False
        for piece in model.pieces:
            piece.piece = piece.piece.replace("▁", " ")

    check(changed(trained(), change))


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_long_texts(check, model_type):
    check(trained(model_type=model_type), LONG)


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_time_grows_with_the_length_of_a_text_and_not_with_its_square(ask, tmp_path, model_type):
    file = tmp_path / "vocabulary.spm"
    file.write_bytes(trained(model_type=model_type))
    short, long = ask(TIMES, {"file": str(file), "text": "ein Haus am See " * 1000, "times": 16})
    assert long < 64 * short


@pytest.mark.parametrize("name", CORPORA)
@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_corpora(check, model_type, name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs {path}")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()[:400]
    tokenizer = Tokenizer.learn(lines, 1000, model_type=model_type, normalization="nmt_nfkc")
    check(tokenizer.model_proto, lines)


def test_what_it_cannot_read(ask):
    def suffix(model):
        model.trainer_spec.treat_whitespace_as_suffix = True

    def denormalizer(model):
        rules = model.normalizer_spec.precompiled_charsmap
        model.denormalizer_spec.precompiled_charsmap = rules

    def swapped(model):
        model.pieces[0].type, model.pieces[3].type = model.pieces[3].type, model.pieces[0].type

    good = trained()
    damaged = [b"<!DOCTYPE html>", good[:-1], good[: len(good) // 2], b"\xff" * 20]
    reasons = {
        changed(good, suffix): "end, rather than begin, with a space",
        changed(good, denormalizer): "decoded texts",
        changed(good, swapped): "special ids",
        b"": "special ids",
        **dict.fromkeys(damaged, "not a SentencePiece model, or a damaged one"),
    }
    questions = [{"model": base64.b64encode(model).decode()} for model in [good, *reasons]]
    questions += [questions[0] | {"text": "a\ud800"}, questions[0] | {"ids": [5, 100_000]}]
    answers = ask(ERRORS, questions)
    assert answers[0] is None
    for answer, reason in zip(
        answers[1:],
        [*reasons.values(), "a lone surrogate", "id 100000 is out of range"],
        strict=True,
    ):
        assert reason in answer
