#!/usr/bin/env bash
# sentencepiece 0.2.3, apache-beam 2.77.0 with protobuf 6.33, Python 3.11.
#
# Behaviour: Beam needs a protobuf below 7, sentencepiece declares no protobuf at all, so that pip installs
# both and `pip check` has no complaint. sentencepiece trains and segments. But its module of messages,
# which is how a program reads or changes a model, was generated with protobuf 7.36 and cannot be
# imported; that of sentencepiece 0.2.1 can.
#
# Output seen:
#   No broken requirements found.
#   0.2.3 segments: ['▁', 'ein', '▁', 'H', 'a', 'u', 's']
#   0.2.3 messages: VersionError
#   0.2.1 messages: 20 pieces
#
# The guess before: versions that pip installs together and calls consistent work together.
#
# Exits with 0 while this is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
pip=("$folder/venv/bin/pip" --disable-pip-version-check)
"${pip[@]}" install --quiet apache-beam==2.77.0 sentencepiece==0.2.3
"${pip[@]}" check
cat >"$folder/try.py" <<'PYTHON'
import io
import sys

import sentencepiece

model = io.BytesIO()
lines = ["ein Haus am See", "ein Haus im Park", "zwei kleine Parks"] * 50
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines),
    model_writer=model,
    vocab_size=20,
    hard_vocab_limit=False,
    minloglevel=2,
)
known = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
version = sentencepiece.__version__
if version == "0.2.3":
    print(f"{version} segments: {known.encode('ein Haus', out_type=str)}")
try:
    from sentencepiece import sentencepiece_model_pb2
except Exception as error:
    found = type(error).__name__
else:
    found = f"{len(sentencepiece_model_pb2.ModelProto.FromString(model.getvalue()).pieces)} pieces"
print(f"{version} messages: {found}")
sys.exit((found == "VersionError") != (sys.argv[1] == "fails"))
PYTHON
"$folder/venv/bin/python" "$folder/try.py" fails
"${pip[@]}" install --quiet sentencepiece==0.2.1
"$folder/venv/bin/python" "$folder/try.py" works
