#!/usr/bin/env bash
# tensorflow-text 2.21.1 with tensorflow 2.21.0, sentencepiece 0.2.3, Python 3.11.
#
# Behaviour: FastSentencepieceTokenizer (the one for TensorFlow Lite) converts the models below without
# a word and ignores some of their settings. It splits texts of a BPE model by the best sum of scores,
# as if it were a unigram model, puts the space in front of a word where the model puts it behind,
# keeps a space before the text that the model removes (add_dummy_prefix=false), and decodes unknown
# pieces as " ⁇ " whatever unk_surface is. SentencepieceTokenizer of the same package does none of it.
#
# Output seen (texts out of 86 whose ids, or whose text decoded from sentencepiece's ids, differ from
# those of sentencepiece):
#                               SentencepieceTokenizer  FastSentencepieceTokenizer
#   model                       ids  text               ids  text
#   unigram                     0    0                  0    0
#   BPE                         0    0                  11   0
#   treat_whitespace_as_suffix  0    0                  86   0
#   add_dummy_prefix=false      0    0                  1    0
#   unk_surface="?"             0    0                  0    1
#   BPE, "nana"  sentencepiece: ▁ n ana   FastSentencepieceTokenizer: ▁na na
#
# The guess before: both give the ids of sentencepiece, or the conversion refuses the model.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    tensorflow==2.21.0 tensorflow-text==2.21.1 sentencepiece==0.2.3
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 PYTHONUTF8=1
venv/bin/python - <<'PYTHON' 2>errors || { cat errors >&2; exit 1; }
import io
import itertools
import random

import sentencepiece
import tensorflow as tf
import tensorflow_text

syllables = ["te", "tet", "e", "ta", "tat", "an", "na", "ana", "ban", "ba"]
parts = [itertools.product(("te", "tet", "na", "ana"), repeat=count) for count in range(1, 4)]
texts = ["".join(each) for each in itertools.chain(*parts)] + [" na te", "na ω te"]


def learned(**settings):
    generator, model = random.Random(1), io.BytesIO()

    def word(longest):
        return "".join(generator.choices(syllables, k=generator.randint(1, longest)))

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{word(5)} {word(4)}" for _ in range(400)]),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
        num_threads=1,
        **settings,
    )
    return model.getvalue()


def differences(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = processor.encode(texts)
    decoded = [processor.decode(each) for each in ids]
    for kind in ("SentencepieceTokenizer", "FastSentencepieceTokenizer"):
        tokenizer = getattr(tensorflow_text, kind)(model)
        found = tokenizer.tokenize(texts).to_list()
        spelt = tokenizer.detokenize(tf.ragged.constant(ids, tf.int32)).numpy()
        yield sum(a != b for a, b in zip(ids, found))
        yield sum(a != b.decode() for a, b in zip(decoded, spelt))
    if differing := [(a, b) for a, b in zip(ids, found) if a != b]:
        split = [" ".join(processor.id_to_piece(each)) for each in differing[0]]
        examples.append((processor.decode(differing[0][0]), *split))


examples = []
models = {
    "unigram": {},
    "BPE": {"model_type": "bpe"},
    "treat_whitespace_as_suffix": {"treat_whitespace_as_suffix": True},
    "add_dummy_prefix=false": {"add_dummy_prefix": False},
    'unk_surface="?"': {"unk_surface": "?"},
}
print(" " * 28 + "SentencepieceTokenizer  FastSentencepieceTokenizer")
print(f"{'model':26}  ids  text               ids  text")
table = {}
for name, settings in models.items():
    a, b, c, d = table[name] = list(differences(learned(**settings)))
    print(f"{name:26}  {a:<3}  {b:<17}  {c:<3}  {d}")
text, right, fast = examples[0]
print(f'BPE, "{text}"  sentencepiece: {right}   FastSentencepieceTokenizer: {fast}')
differ = [[bool(count) for count in counts] for counts in table.values()]
ids, spelt = [False, False, True, False], [False, False, False, True]
raise SystemExit(differ != [[False] * 4, ids, ids, ids, spelt])
PYTHON
