#!/usr/bin/env bash
# sentencepiece 0.2.3 and 0.2.1, tensorflow-text 2.21.1 with tensorflow 2.21.0, Python 3.11.
#
# Behaviour: with one and the same unigram model, sentencepiece 0.2.3 gives other ids than the newest
# tensorflow-text, and than sentencepiece 0.2.1, for texts with two best segmentations that consist
# of the same pieces in another order. Sums of float32 scores depend on the order of addition:
# sentencepiece compares them in float32 since 0.2.2, tensorflow-text in double precision.
#
# Output seen (texts out of 5,460 whose ids differ from those of sentencepiece 0.2.3):
#   sentencepiece 0.2.1     22
#   tensorflow-text 2.21.1  22
#   "natetete"  sentencepiece 0.2.3: na tet e te   tensorflow-text: na te tet e
#
# The guess before: a model file fixes the segmentation of every text, in any library that reads it.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for name in new old tf; do python3 -m venv "$folder/$name"; done
install() { "$folder/$1/bin/pip" install --quiet --disable-pip-version-check "${@:2}"; }
install new sentencepiece==0.2.3
install old sentencepiece==0.2.1
install tf tensorflow==2.21.0 tensorflow-text==2.21.1
cd "$folder"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1
cat > learn.py <<'PYTHON'
import random

import sentencepiece

syllables = ["te", "tet", "e", "ta", "tat", "an", "na", "ana", "ban", "ba"]
generator = random.Random(1)


def word(longest):
    return "".join(generator.choices(syllables, k=generator.randint(1, longest)))


sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter([f"{word(5)} {word(4)}" for _ in range(400)]),
    model_prefix="words",
    vocab_size=20,
    model_type="unigram",
    hard_vocab_limit=False,
    minloglevel=2,
    num_threads=1,
)
PYTHON
cat > texts.py <<'PYTHON'
import itertools
import json
import sys

parts = [itertools.product(("te", "tet", "na", "ana"), repeat=count) for count in range(1, 7)]
texts = ["".join(each) for each in itertools.chain(*parts)]
if sys.argv[1] == "tf":
    import tensorflow_text

    model = open("words.model", "rb").read()
    ids = tensorflow_text.SentencepieceTokenizer(model=model).tokenize(texts).to_list()
else:
    import sentencepiece

    ids = sentencepiece.SentencePieceProcessor(model_file="words.model").encode(texts)
with open(f"{sys.argv[1]}.json", "w") as file:
    json.dump(dict(zip(texts, ids)), file)
PYTHON
new/bin/python learn.py
for name in new old tf; do "$name/bin/python" texts.py "$name" 2>/dev/null; done
new/bin/python - <<'PYTHON'
import json

import sentencepiece

new, old, tf = (json.load(open(f"{name}.json")) for name in ("new", "old", "tf"))
differ = {name: sum(ids[text] != new[text] for text in new) for name, ids in (("old", old), ("tf", tf))}
print(f"sentencepiece 0.2.1     {differ['old']} of {len(new)}")
print(f"tensorflow-text 2.21.1  {differ['tf']} of {len(new)}")
pieces = sentencepiece.SentencePieceProcessor(model_file="words.model").id_to_piece
example = next(text for text in new if tf[text] != new[text])
split = {name: ' '.join(pieces(ids[example])[1:]) for name, ids in (("new", new), ("tf", tf))}
print(f'"{example}"  sentencepiece 0.2.3: {split["new"]}   tensorflow-text: {split["tf"]}')
raise SystemExit(not (differ["old"] and differ["tf"]))
PYTHON
